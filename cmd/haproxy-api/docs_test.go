package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPluginAuthorsGuide does what docs/plugin-authors.md says, to the letter, but for the place that the module comes from.
func TestPluginAuthorsGuide(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile(filepath.Join(root, "docs/plugin-authors.md"))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "haproxy-api-sink-note")
	ran := 0
	for _, block := range fenced(string(guide)) {
		language, name, _ := strings.Cut(block.info, " ")
		switch {
		case language == "go" && name != "":
			if err := os.WriteFile(filepath.Join(folder, name), []byte(block.text), 0o644); err != nil {
				t.Fatal(err)
			}
		case language == "sh":
			const ours = "github.com/haproxy-api/haproxy-api"
			script := strings.ReplaceAll(block.text, "go get "+ours+"@latest",
				"go mod edit -require="+ours+"@v0.0.0 -replace="+ours+"="+root)
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
			if cmd.Dir = folder; ran == 0 {
				cmd.Dir = filepath.Dir(folder)
			}
			out, err := cmd.CombinedOutput()
			t.Logf("%s%s", block.text, out)
			if err != nil {
				t.Fatal(err)
			}
			ran++
		}
	}
	if ran != 3 {
		t.Errorf("ran %d blocks of the guide, want 3", ran)
	}
}

type fencedBlock struct{ info, text string }

// fenced returns the code blocks of a Markdown document.
func fenced(document string) []fencedBlock {
	var blocks []fencedBlock
	for i, part := range strings.Split("\n"+document, "\n```") {
		if i%2 == 1 {
			info, text, _ := strings.Cut(part, "\n")
			blocks = append(blocks, fencedBlock{info, text + "\n"})
		}
	}
	return blocks
}
