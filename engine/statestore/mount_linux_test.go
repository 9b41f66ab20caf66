package statestore

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The directory is private: there is no reason to mount a file in it, so saving to a mount point fails and leaves nothing behind.
func TestSave_MountPoint(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, sourceFile("sidecar"))
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer mounttest.Bind(t, path)()
	if err := save(path, sdk.Snapshot{}); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("got %v, want EBUSY", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "old" {
		t.Errorf("the file has %q, %v", content, err)
	}
}
