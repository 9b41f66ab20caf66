package scaffold_test

import (
	"bytes"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/scaffold"
)

// TestWrite_PassesConformance builds what is written, with the module of this repository, and runs its tests.
func TestWrite_PassesConformance(t *testing.T) {
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range scaffold.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			directory := filepath.Join(t.TempDir(), "new", kind)
			written, err := scaffold.Plugin{Kind: kind, Name: "my-own", Version: "v0.0.0"}.Write(directory)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range written {
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if filepath.Ext(path) != ".go" {
					continue
				}
				if formatted, err := format.Source(content); err != nil || !bytes.Equal(formatted, content) {
					t.Errorf("%s is not formatted: %v", path, err)
				}
			}
			for _, args := range [][]string{
				{"mod", "edit", "-replace=github.com/haproxy-api/haproxy-api=" + root},
				{"mod", "tidy"},
				{"vet", "./..."},
				{"test", "./..."},
			} {
				cmd := exec.CommandContext(t.Context(), "go", args...)
				cmd.Dir = directory
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("go %q: %v\n%s", args, err, out)
				}
			}
		})
	}
}

func TestWrite_LeavesOtherFilesAlone(t *testing.T) {
	directory := t.TempDir()
	other := filepath.Join(directory, "main.go")
	if err := os.WriteFile(other, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (scaffold.Plugin{Kind: "sink", Name: "note"}).Write(directory); err == nil {
		t.Error("a directory with files was accepted")
	}
	if content, err := os.ReadFile(other); err != nil || string(content) != "mine" {
		t.Errorf("the file was changed: %q, %v", content, err)
	}
}

func TestValidate(t *testing.T) {
	for _, p := range []scaffold.Plugin{
		{Kind: "filter", Name: "note"}, {Kind: "sink"}, {Kind: "sink", Name: "Note"}, {Kind: "sink", Name: "a/b"},
		{Kind: "sink", Name: "-a"},
	} {
		if p.Validate() == nil {
			t.Errorf("%+v is valid", p)
		}
	}
	if err := (scaffold.Plugin{Kind: "source", Name: "my-registry"}).Validate(); err != nil {
		t.Error(err)
	}
}
