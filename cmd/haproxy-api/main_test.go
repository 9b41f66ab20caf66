package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain puts two programs that this test binary implements into PATH. The end-to-end tests of haproxy-api are in test/e2e.
func TestMain(m *testing.M) {
	// By default, a program with the race detector takes a second to exit.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"haproxy-api": main, "inherit-orphans": inheritOrphans})
}
