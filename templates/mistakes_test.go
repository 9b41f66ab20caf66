package templates

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// mistakes are templates as people get them wrong, a file each: the template, a line of dashes, and what they are told.
func mistakes(t testing.TB) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/mistakes/*.txt")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d mistakes: %v", len(paths), err)
	}
	all := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path], _, _ = strings.Cut(string(text), dashes)
	}
	return all
}

const dashes = "----------\n"

func TestMistakes(t *testing.T) {
	snap := snapshot(instance("web", "node-1", "a", 80), instance("web", "node-2", "b", 80))
	for path, text := range mistakes(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			e := mistake(t, text, snap)
			told := strings.ReplaceAll(e.Error()+"\n\n"+e.Detail()+"\n", e.File, "main.cfg")
			golden(t, path, text+dashes+told)
			if e.Line < 1 || e.Column < 1 {
				t.Errorf("no place: %v", e)
			}
			lines := strings.Split(strings.ReplaceAll(text, "\r", ""), "\n")
			if e.Line > len(lines) || e.Snippet != lines[e.Line-1] {
				t.Errorf("snippet %q: %v", e.Snippet, e)
			}
		})
	}
}

func mistake(t *testing.T, text string, snap sdk.Snapshot) *Error {
	t.Helper()
	set := setOf(t, text)
	set.cfg.User = "haproxy"
	set.cfg.Vars = map[string]any{"maxconn": 4096}
	tmpl, err := set.Load()
	if err == nil {
		tmpl.bounds = bounds{output: 1 << 20, steps: 100_000, time: never}
		_, _, err = tmpl.Render(t.Context(), snap)
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%q: %T %v", text, err, err)
	}
	return e
}

// Mistakes are found wherever they are, and nothing that a parser may say is lost or makes us fall over.
func FuzzMistakes(f *testing.F) {
	for _, text := range mistakes(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg := Config{Path: "main.cfg", Name: "main.cfg"}
		_, err := compile(cfg, []source{{name: "main.cfg", path: "dir/main.cfg", text: text}}, false)
		if err == nil {
			return
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Message == "" || e.Line < 1 || e.Column < 1 {
			t.Fatalf("%q: %#v", text, err)
		}
		if line := strings.Count(text, "\n") + 1; e.Line > line {
			t.Fatalf("%q: line %d of %d", text, e.Line, line)
		}
	})
}

// A recursion that ends is not a mistake.
func TestRecursionThatEnds(t *testing.T) {
	text := `{{ define "count" }}{{ if . }}{{ len . }}{{ template "count" (rest .) }}{{ end }}{{ end }}` +
		`{{ range until 300 }}{{ template "count" (list 1 2 3) }}{{ end }}{{ include "count" (list 1) }}`
	if got, want := rendered(t, text, sdk.Snapshot{}), strings.Repeat("321", 300)+"1"; got != want {
		t.Error(got)
	}
	deep := `{{ define "d" }}{{ if gt . 0 }}{{ template "d" (sub . 1 | int) }}{{ else }}end{{ end }}{{ end }}` +
		`{{ template "d" 190 }}`
	if got := rendered(t, deep, sdk.Snapshot{}); got != "end" {
		t.Error(got)
	}
}

// A nondeterministic template may succeed when it is rendered again to find the position of an error.
func TestExplain_FailureThatDoesNotRepeat(t *testing.T) {
	snap := sdk.Snapshot{}
	tmpl := mustLoad(t, setOf(t, "a\n{{ .Vars.x }}"))
	v := newView(snap, nil)
	x := tmpl.newExecution(tmpl.set)
	defer x.begin(t.Context(), v)()
	_, err := x.files()
	if err == nil {
		t.Fatal("no error")
	}
	tmpl.sources[0].text = "mended"
	if e := tmpl.explain(t.Context(), v, err); !strings.Contains(e.Error(), "does not exist") {
		t.Error(e)
	}
}
