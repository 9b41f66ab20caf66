package haproxyapi_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// architectureDoc returns docs/architecture.md and the words in it that are set as code.
func architectureDoc(t *testing.T) (content string, code []string) {
	t.Helper()
	bytes, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(string(bytes), -1) {
		code = append(code, match[1])
	}
	return string(bytes), code
}

func TestArchitectureDoc_ListsEveryPackage(t *testing.T) {
	_, code := architectureDoc(t)
	for _, p := range listPackages(t, "./...") {
		if name, found := strings.CutPrefix(p.ImportPath, module+"/"); found && !slices.Contains(code, name) {
			t.Errorf("docs/architecture.md lacks the package %s", name)
		}
	}
}

func TestArchitectureDoc_NamesExistingFiles(t *testing.T) {
	_, code := architectureDoc(t)
	isPath := regexp.MustCompile(`^(cmd|engine|internal|plugins|sinks|sources|templates|test|docs)/[\w./-]+$|^[\w-]+\.go$`)
	var checked int
	for _, path := range code {
		if !isPath.MatchString(path) || path == "main.go" {
			continue
		}
		checked++
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if checked < 50 {
		t.Errorf("only %d paths were found", checked)
	}
}

// TestArchitectureDoc_NamesExistingFunctions checks the table of questions: the last file of a row has the function.
func TestArchitectureDoc_NamesExistingFunctions(t *testing.T) {
	content, _ := architectureDoc(t)
	row := regexp.MustCompile("(?m)^\\| [^|]*\\?[^|]* \\| .*`([^`]+\\.go)` \\| `(\\w+)` \\|$")
	rows := row.FindAllStringSubmatch(content, -1)
	if len(rows) < 10 {
		t.Fatalf("only %d rows with a function were found", len(rows))
	}
	for _, r := range rows {
		source, err := os.ReadFile(r[1])
		if err != nil {
			t.Error(err)
			continue
		}
		if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + r[2] + `[\[(]`).Match(source) {
			t.Errorf("%s has no function %s", r[1], r[2])
		}
	}
}
