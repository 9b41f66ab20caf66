package process

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The error of a program that cannot be run says whether it is missing, and names its path once.
func TestFindBinary(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, nil, mode))
		return path
	}
	runnable := write("runnable", 0o700)
	if path, err := FindBinary(runnable); path != runnable || err != nil {
		t.Errorf("got %s, %v", path, err)
	}
	for _, test := range []struct {
		name    string
		want    error
		missing bool
	}{
		{filepath.Join(dir, "missing"), fs.ErrNotExist, true},
		{"haproxy-that-nobody-has", exec.ErrNotFound, true},
		{write("plain", 0o600), fs.ErrPermission, false},
		{filepath.Join(runnable, "below"), nil, false},
		{dir, nil, false},
	} {
		_, err := FindBinary(test.name)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
			continue
		}
		text := err.Error()
		if strings.Contains(text, "not installed") != test.missing || strings.Count(text, test.name) != 1 {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
}
