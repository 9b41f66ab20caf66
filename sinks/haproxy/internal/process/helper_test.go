package process

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig returns a configuration with files in a directory of its own, whose path is short because that of a socket has to
// be.
func testConfig(t *testing.T) Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "hp")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	paths, err := PathsOf(filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "haproxy.pid"), true)
	check(t, err)
	return Config{Paths: paths, Binary: "haproxy", DrainTimeout: time.Second}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for cond, for as long as a busy machine may need.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := poll(ctx, func() (bool, error) { return cond(), nil }); err != nil {
		t.Fatalf("never: %s", what)
	}
}
