package sdk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCreateStateDir(t *testing.T) {
	if _, err := (Env{}).CreateStateDir(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without a state directory the error is %v", err)
	}
	env := Env{StateDir: filepath.Join(t.TempDir(), "plugins", "sink-edge")}
	for range 2 {
		dir, err := env.CreateStateDir()
		if err != nil || dir != env.StateDir {
			t.Fatalf("got %q, %v", dir, err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode() != os.ModeDir|0o700 {
			t.Errorf("got %v, %v", info, err)
		}
	}
}
