package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/internal/trust"
)

func TestFind_Order(t *testing.T) {
	directory, path := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path)
	if _, err := Find("sink", "x", "", directory); err == nil || !strings.Contains(err.Error(), "haproxy-api-sink-x") {
		t.Errorf("got %v", err)
	}
	for _, place := range []string{path, directory} { // each hides the one before
		want := filepath.Join(place, "haproxy-api-sink-x")
		if err := os.WriteFile(want, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if got, err := Find("sink", "x", "", directory); err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
	if got, err := Find("sink", "x", "/else/where", directory); err != nil || got != "/else/where" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestVerify_HashAndMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("text"), 0o755); err != nil {
		t.Fatal(err)
	}
	const sum = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
	if err := verify(path, strings.ToUpper(sum)); err != nil {
		t.Error(err)
	}
	if err := verify(path, strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), sum) {
		t.Errorf("got %v", err)
	}
	if err := os.Chmod(path, 0o757); err != nil {
		t.Fatal(err)
	}
	if err := verify(path, ""); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("got %v", err)
	}
}

func TestList(t *testing.T) {
	directory, path := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path)
	for _, name := range []string{
		directory + "/haproxy-api-sink-a", path + "/haproxy-api-sink-a",
		path + "/haproxy-api-source-b-c", path + "/haproxy-api-sync-d",
	} {
		if err := os.WriteFile(name, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := []Installed{
		{"sink", "a", directory + "/haproxy-api-sink-a"},
		{"source", "b-c", path + "/haproxy-api-source-b-c"},
	}
	if diff := cmp.Diff(want, List(directory)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Root does not run a program that another user could replace, directly or through a directory above it.
func TestVerify_ProgramOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else can give files away
	}
	const stranger = 54321
	directory := filepath.Join(t.TempDir(), "plugins")
	path := filepath.Join(directory, "haproxy-api-sink-x")
	if err := errors.Join(os.Mkdir(directory, 0o755), os.WriteFile(path, nil, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := verify(path, ""); err != nil {
		t.Errorf("our own: %v", err)
	}
	for _, at := range []string{path, directory} {
		if err := os.Chown(at, stranger, stranger); err != nil {
			t.Fatal(err)
		}
		if err := verify(path, ""); !errors.Is(err, trust.ErrOwner) {
			t.Errorf("%s of another user: %v", at, err)
		}
		if err := os.Chown(at, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(directory, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := verify(path, ""); err == nil {
		t.Error("in a directory of everybody")
	}
}
