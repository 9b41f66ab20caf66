package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGuide_PluginAuthors follows docs/plugin-authors.md, with the module of this repository.
func TestGuide_PluginAuthors(t *testing.T) {
	t.Parallel()
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

// TestGuide_QueryingTheDaemon runs the commands of that section of docs/operations.md, and compares its samples of output with
// the golden files of the package that writes the output.
func TestGuide_QueryingTheDaemon(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(guide), "\n## Querying the daemon\n")
	section, _, _ = strings.Cut(section, "\n## ")
	env := newStartedEnv(t)
	ran, compared := 0, 0
	for _, block := range fenced(section) {
		language, name, _ := strings.Cut(block.info, " ")
		switch language {
		case "sh":
			ran++
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", block.text)
			cmd.Env = append(os.Environ(), "HAPROXY_API_ADDRESS=http://"+env.apiAddress)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) == 0 {
				t.Errorf("%s: %v\n%s", block.text, err, out)
			}
		case "text":
			compared++
			want, err := os.ReadFile("../../cmd/haproxy-api/internal/display/testdata/" + name + ".golden")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), block.text); diff != "" {
				t.Errorf("the sample %s (-golden +guide):\n%s", name, diff)
			}
		}
	}
	if ran != 2 || compared != 3 {
		t.Errorf("ran %d blocks and compared %d of\n%s", ran, compared, section)
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
