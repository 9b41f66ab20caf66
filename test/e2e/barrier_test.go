package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// A gate is a file that holds up a program of the site's for as long as it is there.
type gate struct {
	s       *site
	waiting string // the name of a file that is there once somebody has come to the gate
	close   func()
	open    func()
}

func (s *site) newGate() *gate {
	path := s.path("gate")
	return &gate{
		s: s, waiting: "waiting",
		close: func() { s.write("gate", "") },
		open:  sync.OnceFunc(func() { _ = os.Remove(path) }),
	}
}

// reached waits until somebody is held up.
func (g *gate) reached() {
	g.s.t.Helper()
	g.s.eventually("somebody waits at the gate", func() bool {
		_, err := os.Stat(g.s.path(g.waiting))
		return err == nil
	})
}

// program is a HAProxy whose checks are held up. It returns the setting for it.
func (g *gate) program() string {
	g.s.t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		g.s.t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/bash\nwhile [ \"$1\" = -c ] && [ -e %q ]; do touch %q; sleep 0.02; done\nexec %q \"$@\"\n",
		g.s.path("gate"), g.s.path(g.waiting), program)
	g.s.write("gated-haproxy", script)
	if err := os.Chmod(g.s.path("gated-haproxy"), 0o755); err != nil {
		g.s.t.Fatal(err)
	}
	return "haproxy.binary=" + g.s.path("gated-haproxy")
}

// script is Lua for HAProxy, whose loading is held up.
func (g *gate) script() string {
	g.s.t.Helper()
	g.s.write("slow.lua", fmt.Sprintf("local function there() local f = io.open(%q); if f then f:close() end; return f end\n"+
		"while there() do os.execute(\"touch %s; sleep 0.05\") end\n", g.s.path("gate"), g.s.path(g.waiting)))
	return "lua-load " + g.s.path("slow.lua")
}
