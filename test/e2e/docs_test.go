package e2e_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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

// TestSecurityClaimsHaveTests checks that each claim in docs/security.md, a row of a table with the column "shown by", names
// tests that exist.
func TestSecurityClaimsHaveTests(t *testing.T) {
	t.Parallel()
	root := "../.."
	content, err := os.ReadFile(filepath.Join(root, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)`)
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range function.FindAllSubmatch(source, -1) {
			known[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	rows, shows := 0, false
	for line := range strings.Lines(string(content)) {
		shows = strings.Contains(line, "| shown by |") || shows && strings.HasPrefix(line, "| ")
		if !shows || strings.Contains(line, "| shown by |") || strings.HasPrefix(line, "| ---") {
			continue
		}
		rows++
		tests := named.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test is named in: %s", line)
		}
		for _, test := range tests {
			if !known[test[1]] {
				t.Errorf("there is no test %s", test[1])
			}
		}
	}
	if rows < 10 {
		t.Errorf("%d claims", rows)
	}
}
