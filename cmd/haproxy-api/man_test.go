package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// writeMan runs the command man and returns the pages by their file names.
func writeMan(t *testing.T) map[string][]byte {
	t.Helper()
	directory := filepath.Join(t.TempDir(), "man")
	root := newRoot()
	root.SetArgs([]string{"man", directory})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string][]byte{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(directory, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		pages[entry.Name()] = content
	}
	return pages
}

// walk calls visit with cmd and with each command below it that users call.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			walk(sub, visit)
		}
	}
}

func TestMan_HasAPageForEachCommand(t *testing.T) {
	pages := writeMan(t)
	walk(newRoot(), func(cmd *cobra.Command) {
		page := pages[manName(cmd)+".1"]
		for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"} {
			if !bytes.Contains(page, []byte("\n.SH "+section+"\n")) {
				t.Errorf("the page of %q has no section %s", cmd.CommandPath(), section)
			}
		}
	})
	if _, ok := pages["haproxy-api-man.1"]; ok {
		t.Error("a hidden command has a page")
	}
}

func TestMan_IsReproducible(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	first, second := writeMan(t), writeMan(t)
	for name, page := range first {
		if !bytes.Equal(page, second[name]) {
			t.Errorf("%s differs between two runs", name)
		}
		if title, _, _ := strings.Cut(string(page), "\n"); !strings.Contains(title, `"2023-11-14"`) {
			t.Errorf("%s has the title %s", name, title)
		}
	}
}

func TestMan_PassesLint(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for name, page := range writeMan(t) {
		lint := exec.CommandContext(t.Context(), mandoc, "-Tlint")
		lint.Stdin = bytes.NewReader(page)
		if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
