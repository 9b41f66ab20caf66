package display

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// now is the time of every page.
var now = time.Date(2026, time.January, 2, 15, 4, 5, 0, time.UTC)

// ago returns the time that is so much before now.
func ago(d time.Duration) time.Time { return now.Add(-d) }

func agoPointer(d time.Duration) *time.Time { t := ago(d); return &t }

// wantGolden compares the page that show writes at 80 columns with the golden file of that name.
func wantGolden(t *testing.T, name string, show func(*terminal.Page)) {
	t.Helper()
	page := terminal.NewPlainPage(80)
	show(page)
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), page.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
