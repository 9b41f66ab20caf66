package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var decisionTitle = regexp.MustCompile(`^# (\d+)\. (.+)\n`)

// TestDecisions_AreListed checks that the index has each decision with its number and title, and that numbers have no gaps.
func TestDecisions_AreListed(t *testing.T) {
	t.Parallel()
	directory := filepath.Join(repository, "docs/decisions")
	files, err := filepath.Glob(filepath.Join(directory, "0*.md"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var want []string
	for i, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		title := decisionTitle.FindStringSubmatch(string(content))
		name := filepath.Base(file)
		if title == nil || title[1] != strconv.Itoa(i+1) || !strings.HasPrefix(name, fmt.Sprintf("%04d-", i+1)) {
			t.Errorf("%s is not the decision with the number %d", name, i+1)
			continue
		}
		want = append(want, fmt.Sprintf("| %s | [%s](%s) |", title[1], title[2], name))
	}
	index, err := os.ReadFile(filepath.Join(directory, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rows, _ := strings.Cut(string(index), "| --- | --- |\n")
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(rows), "\n")); diff != "" {
		t.Errorf("docs/decisions/README.md (-want +got)\n%s", diff)
	}
}
