package templates

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestRender_FileNames(t *testing.T) {
	dir := write(t, map[string]string{"views/edge.cfg": "x", "m.tmpl": "m", "a.tmpl": "a"})
	tests := map[string]struct {
		cfg  Config
		want []string
	}{
		"built in":  {Config{}, []string{"haproxy.cfg"}},
		"base name": {Config{Path: dir + "/views/edge.cfg"}, []string{"edge.cfg"}},
		"chosen":    {Config{Path: dir + "/views/edge.cfg", Name: "haproxy.cfg"}, []string{"haproxy.cfg"}},
		"with companions": {
			Config{Files: map[string]string{"routes.map": dir + "/m.tmpl", "a.lst": dir + "/a.tmpl"}},
			[]string{"haproxy.cfg", "a.lst", "routes.map"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			files, _, err := mustLoad(t, New(tt.cfg)).Render(t.Context(), sdk.Snapshot{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range files {
				got = append(got, f.Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRender_CompanionsAndPartials(t *testing.T) {
	dir := write(t, map[string]string{
		"main.cfg":          `[[ template "head" . ]] [[ include "part.tmpl" 1 ]] {{ not ours }}`,
		"routes":            `[[ template "head" . ]] [[ range $k, $_ := .Services ]][[ $k ]] [[ end ]]`,
		"parts/head.tmpl":   `[[ define "head" ]]head of [[ .Cluster ]][[ end ]]`,
		"parts/part.tmpl":   `part [[ . ]]`,
		"parts/.part.tmpl":  `[[ broken, but hidden`,
		"parts/x.tmpl/file": `a directory`,
	})
	set := New(Config{
		Path: dir + "/main.cfg", Files: map[string]string{"routes.map": dir + "/routes"},
		Partials: []string{dir + "/parts/*.tmpl", dir + "/parts/h*"}, Delims: [2]string{"[[", "]]"},
	})
	files, _, err := mustLoad(t, set).Render(t.Context(), snapshot(instance("web", "a", "1", 80)))
	if err != nil {
		t.Fatal(err)
	}
	want := []sdk.File{
		{Name: "main.cfg", Content: []byte("head of demo part 1 {{ not ours }}\n")},
		{Name: "routes.map", Content: []byte("head of demo web \n")},
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
}

// A Template does not change when its files change or are removed.
func TestTemplate_FilesChangeAfterLoad(t *testing.T) {
	path := filepath.Join(write(t, map[string]string{"a": "one"}), "a")
	set := New(Config{Path: path})
	one := mustLoad(t, set)
	save(t, path, "two")
	two := mustLoad(t, set)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for tmpl, want := range map[*Template]string{one: "one", two: "two"} {
		if got, _ := mustRender(t, tmpl, sdk.Snapshot{}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLoad_Errors(t *testing.T) {
	dir := write(t, map[string]string{
		"ok": "x", "bad1": "{{ indnet }}", "bad2": "\n{{ $x }}", "empty": " \n", "sub/ok": "x",
		"def1": `{{ define "x" }}1{{ end }}`, "def2": `{{ define "x" }}2{{ end }}`,
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	tests := map[string]struct {
		cfg  Config
		want []string
	}{
		"missing":   {Config{Path: at("gone")}, []string{"template DIR/gone cannot be read: no such file or directory"}},
		"directory": {Config{Path: at("sub")}, []string{"template DIR/sub cannot be read: is a directory"}},
		"empty":     {Config{Path: at("empty")}, []string{"DIR/empty: the template is empty"}},
		"all at once": {
			Config{Path: at("bad1"), Files: map[string]string{"b": at("bad2")}},
			[]string{
				`DIR/bad1:1:4: function "indnet" not defined; did you mean "indent"?`,
				"DIR/bad2:2:4: undefined variable \"$x\"; declare it first, as in {{ $x := 1 }}",
			},
		},
		"one name twice": {
			Config{Path: at("ok"), Partials: []string{at("sub/*")}},
			[]string{"two files of the template set are called ok: DIR/ok and DIR/sub/ok; rename one"},
		},
		"one definition twice": {
			Config{Path: at("ok"), Partials: []string{at("def*")}},
			[]string{`DIR/def2: template "x" is defined here and in DIR/def1; rename one`},
		},
		"pattern": {
			Config{Path: at("ok"), Partials: []string{"["}},
			[]string{`partials pattern "[" is not a valid pattern: syntax error in pattern`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tmpl, err := New(tt.cfg).Load()
			if err == nil || tmpl != nil {
				t.Fatalf("no error, template %v", tmpl)
			}
			got := strings.Split(strings.ReplaceAll(err.Error(), dir, "DIR"), "\n")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRender_NotesWithError(t *testing.T) {
	_, notes, err := mustLoad(t, setOf(t, `{{ fail "no" }}`)).Render(t.Context(), snapshot(tangled()...))
	if err == nil || len(notes) == 0 {
		t.Errorf("%q, %v", notes, err)
	}
}

func TestRender_Concurrent(t *testing.T) {
	tmpl := mustLoad(t, New(Config{BindIP: "127.0.0.1", Vars: map[string]any{"x": []string{"b", "a"}}, Now: atNoon}))
	snap := readState(t, "testdata/states/state-2-all-alive.json")
	want, _ := mustRender(t, tmpl, snap)
	broken := mustLoad(t, setOf(t, `{{ range .Services }}{{ .Nope }}{{ end }}`))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				files, _, err := tmpl.Render(t.Context(), snap)
				if err != nil || string(files[0].Content) != want {
					t.Errorf("differs: %v", err)
				}
				if _, _, err := broken.Render(t.Context(), snap); err == nil {
					t.Error("no error")
				}
			}
		})
	}
	wg.Wait()
}
