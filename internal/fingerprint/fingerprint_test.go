package fingerprint

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func write(t *testing.T, path, content string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func of(t *testing.T, path string, before File) File {
	t.Helper()
	f, ok := Of(path, before)
	if !ok {
		t.Fatalf("%s is not there", path)
	}
	return f
}

func TestOf_ComparesContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	now := time.Now()
	write(t, path, "one", now.Add(-time.Hour))
	one := of(t, path, File{})
	write(t, path, "one", now.Add(-time.Minute))
	if touched := of(t, path, one); !touched.Same(one) {
		t.Errorf("%+v and %+v differ", touched, one)
	}
	write(t, path, "two", now.Add(-time.Minute))
	if two := of(t, path, one); two.Same(one) {
		t.Errorf("%+v and %+v are the same", two, one)
	}
}

// A file that was changed a moment ago may be changed again within the resolution of its time stamp.
func TestOf_ReadsRecentFilesAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	now := time.Now()
	write(t, path, "one", now)
	one := of(t, path, File{})
	write(t, path, "two", now)
	if two := of(t, path, one); two.Same(one) {
		t.Errorf("%+v and %+v are the same", two, one)
	}
}

// A file that looks as before is not read.
func TestOf_DoesNotReadUnchangedFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	at := time.Now().Add(-time.Hour)
	write(t, path, "one", at)
	one := of(t, path, File{})
	write(t, path, "two", at)
	if two := of(t, path, one); two != one {
		t.Errorf("%+v became %+v", one, two)
	}
}

// Neither a directory nor a pipe, which would block, is a file.
func TestOf_OnlyRegularFiles(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe, filepath.Join(dir, "missing")} {
		if f, ok := Of(path, File{}); ok {
			t.Errorf("%s is a file: %+v", path, f)
		}
	}
}
