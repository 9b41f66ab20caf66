package docs_test

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// The rules of comparing output with the text of a document. What differs each time is replaced by the name of its kind, in the
// output and in the text. Nothing else may differ, except that in the text
//
//   - a line that consists of "..." stands for any number of lines,
//   - "…" stands for any characters of a line.
var volatile = []struct {
	pattern *regexp.Regexp
	kind    string
}{
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?`), "TIME"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "TIME"},
	{regexp.MustCompile(`\b\d+(\.\d+)?( ms| s|d|h|m|s|ms|µs)((\d+)(h|m|s))*\b`), "DURATION"},
	{regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+(:\d+)?\b`), "ADDRESS"},
	{regexp.MustCompile(`\bv?\d+\.\d+\.\d+(-[\w.+~]+)*\b`), "VERSION"},
	{regexp.MustCompile(`\bpid([ =])\d+`), "pid${1}N"},
	{regexp.MustCompile(`[ \t]+`), " "}, // the widths of columns depend on their values
}

// compareOutput returns an error if the output is not what the text of a document says.
func compareOutput(text, output string) error {
	text, output = normalized(text), normalized(output)
	pattern := regexp.QuoteMeta(text)
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	pattern = regexp.MustCompile(`(?m)^\\\.\\\.\\\.\n`).ReplaceAllString(pattern, `(?:.*\n)*`)
	if regexp.MustCompile(`\A` + pattern + `\z`).MatchString(output) {
		return nil
	}
	return fmt.Errorf("the output differs from the document (-document +output):\n%s", cmp.Diff(text, output))
}

func normalized(text string) string {
	for _, rule := range volatile {
		text = rule.pattern.ReplaceAllString(text, rule.kind)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for n, line := range lines {
		lines[n] = strings.TrimRight(line, " \r")
	}
	return strings.Join(lines, "\n") + "\n"
}
