package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// A barrier holds up programs of the test environment while a file exists.
type barrier struct {
	env     *testEnv
	waiting string // the name of a file that exists once a program is held up
	block   func()
	release func()
}

func (env *testEnv) newBarrier() *barrier {
	path := env.path("barrier")
	return &barrier{
		env: env, waiting: "waiting",
		block:   func() { env.write("barrier", "") },
		release: sync.OnceFunc(func() { _ = os.Remove(path) }),
	}
}

// waitReached waits until a program is held up.
func (b *barrier) waitReached() {
	b.env.t.Helper()
	b.env.eventually("a program is held up", func() bool {
		_, err := os.Stat(b.env.path(b.waiting))
		return err == nil
	})
}

// haproxyOption writes a wrapper of HAProxy whose checks the barrier holds up, and returns the option for it.
func (b *barrier) haproxyOption() string {
	b.env.t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		b.env.t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/bash\nwhile [ \"$1\" = -c ] && [ -e %q ]; do touch %q; sleep 0.02; done\nexec %q \"$@\"\n",
		b.env.path("barrier"), b.env.path(b.waiting), program)
	b.env.writeProgram("held-haproxy", script)
	return "haproxy.binary=" + b.env.path("held-haproxy")
}

// luaLoad returns the line that loads a Lua script in HAProxy. The barrier holds up the loading.
func (b *barrier) luaLoad() string {
	b.env.t.Helper()
	b.env.write("slow.lua", fmt.Sprintf("local function there() local f = io.open(%q); if f then f:close() end; return f end\n"+
		"while there() do os.execute(\"touch %s; sleep 0.05\") end\n", b.env.path("barrier"), b.env.path(b.waiting)))
	return "lua-load " + b.env.path("slow.lua")
}
