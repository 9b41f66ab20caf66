package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// A gate is a file that holds up a program of the site's for as long as it is there.
type barrier struct {
	env     *testEnv
	waiting string // the name of a file that is there once somebody has come to the gate
	block   func()
	release func()
}

func (env *testEnv) newBarrier() *barrier {
	path := env.path("gate")
	return &barrier{
		env: env, waiting: "waiting",
		block:   func() { env.write("gate", "") },
		release: sync.OnceFunc(func() { _ = os.Remove(path) }),
	}
}

// reached waits until somebody is held up.
func (b *barrier) waitReached() {
	b.env.t.Helper()
	b.env.eventually("somebody waits at the gate", func() bool {
		_, err := os.Stat(b.env.path(b.waiting))
		return err == nil
	})
}

// program is a HAProxy whose checks are held up. It returns the setting for it.
func (b *barrier) haproxyOption() string {
	b.env.t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		b.env.t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/bash\nwhile [ \"$1\" = -c ] && [ -e %q ]; do touch %q; sleep 0.02; done\nexec %q \"$@\"\n",
		b.env.path("gate"), b.env.path(b.waiting), program)
	b.env.write("gated-haproxy", script)
	if err := os.Chmod(b.env.path("gated-haproxy"), 0o755); err != nil {
		b.env.t.Fatal(err)
	}
	return "haproxy.binary=" + b.env.path("gated-haproxy")
}

// script is Lua for HAProxy, whose loading is held up.
func (b *barrier) luaLoad() string {
	b.env.t.Helper()
	b.env.write("slow.lua", fmt.Sprintf("local function there() local f = io.open(%q); if f then f:close() end; return f end\n"+
		"while there() do os.execute(\"touch %s; sleep 0.05\") end\n", b.env.path("gate"), b.env.path(b.waiting)))
	return "lua-load " + b.env.path("slow.lua")
}
