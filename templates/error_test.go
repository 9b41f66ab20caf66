package templates

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// mistakes returns the templates of testdata/mistakes by path. Each file has a template with a mistake, a line of dashes, and the
// error.
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

func TestError_Mistakes(t *testing.T) {
	snap := snapshot(instance("web", "node-1", "a", 80), instance("web", "node-2", "b", 80))
	for path, text := range mistakes(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			e := mistake(t, text, snap)
			shown := strings.ReplaceAll(e.Error()+"\n\n"+e.Detail()+"\n", e.File, "main.cfg")
			golden(t, path, text+dashes+shown)
			if e.Line < 1 || e.Column < 1 {
				t.Errorf("no position: %v", e)
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

// Every parse error has a position in the file and a message.
func FuzzParseError(f *testing.F) {
	for _, text := range mistakes(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg := Config{Path: "main.cfg", Name: "main.cfg"}
		_, err := compile(cfg, []source{{name: "main.cfg", path: "dir/main.cfg", text: text}})
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

func TestRender_RecursionThatEnds(t *testing.T) {
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
	v := newServices(snap, nil)
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

func TestLoad_ErrorHasPositionAndHint(t *testing.T) {
	_, err := setOf(t, "a\n\tb {{ indnet }} c\n").Load()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	want := &Error{
		File: e.File, Line: 2, Column: 7, Snippet: "\tb {{ indnet }} c", Message: `function "indnet" not defined`,
		Hint: `did you mean "indent"?`,
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
}

func TestRender_ErrorInCompanionOrPartial(t *testing.T) {
	dir := write(t, map[string]string{"main": "x", "map": "\n{{ .Vars.x }}", "part": `{{ define "p" }}{{ .Nope }}{{ end }}`})
	set := New(Config{
		Path: dir + "/main", Files: map[string]string{"routes:1.map": dir + "/map"}, Partials: []string{dir + "/part"},
	})
	_, _, err := mustLoad(t, set).Render(t.Context(), sdk.Snapshot{})
	if err == nil || !strings.HasPrefix(err.Error(), dir+"/map:2:4: ") {
		t.Error(err)
	}
	save(t, dir+"/map", `{{ include "p" . }}`)
	_, _, err = mustLoad(t, set).Render(t.Context(), sdk.Snapshot{})
	if err == nil || !strings.HasPrefix(err.Error(), dir+"/part:1:20: ") {
		t.Error(err)
	}
}

// The owner of an error is what the failing iteration rendered.
func TestError_Owner(t *testing.T) {
	snap := snapshot(instance("api", "h", "1", 80), instance("web", "h", "2", 81))
	for name, tt := range map[string]struct{ text, service, id string }{
		"instance": {`{{ range .Services }}{{ range . }}{{ if eq .ID "2" }}` +
			`{{ index (splitList ":" .ID) 1 }}{{ end }}{{ end }}{{ end }}`, "web", "2"},
		"service": {`{{ range $name, $list := .Services }}{{ if eq $name "web" }}{{ fail "no" }}{{ end }}{{ end }}`, "web", ""},
		"included": {`{{ define "s" }}{{ index (splitList ":" .ID) 1 }}{{ end }}` +
			`{{ range .Services.web }}{{ include "s" . }}{{ end }}`, "web", "2"},
		"before": {`{{ range .Services }}{{ range . }}{{ .ID }}{{ end }}{{ end }}{{ fail "no" }}`, "", ""},
		"none":   {`{{ range $i, $n := list 1 2 }}{{ fail "no" }}{{ end }}`, "", ""},
	} {
		_, _, err := mustLoad(t, setOf(t, tt.text)).Render(t.Context(), snap)
		failed, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		service, inst := failed.Owner()
		if service != tt.service || (inst != nil) != (tt.id != "") || inst != nil && inst.ID != tt.id {
			t.Errorf("%s: %q, %v", name, service, inst)
		}
	}
}
