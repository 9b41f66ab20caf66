package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecurityClaims_NameTests checks that each claim in docs/security.md, a row of a table with the column "shown by", names a
// test. TestNames checks that the tests exist.
func TestSecurityClaims_NameTests(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(repository, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	claims, shows := 0, false
	for line := range strings.Lines(string(content)) {
		isHeader := strings.Contains(line, "| shown by |")
		shows = isHeader || shows && strings.HasPrefix(line, "| ")
		if !shows || isHeader || strings.HasPrefix(line, "| ---") {
			continue
		}
		claims++
		if !strings.Contains(line, "`Test") && !strings.Contains(line, "`Fuzz") {
			t.Errorf("no test is named in: %s", line)
		}
	}
	if claims < 10 {
		t.Errorf("%d claims", claims)
	}
}
