package templates

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// mistakes are templates as people get them wrong. The golden file shows what they are told.
var mistakes = []string{
	"global\n\tuser {{ nope .User }}\n",
	"global\n\tuser {{ .User | nope }}\n",
	"{{ if .User }}\nx\n",
	"{{ if }}\nx\n{{ end }}",
	"a\n{{ .User \n",
	"a\n  {{ .User }\n",
	"a\n{{ .User | \"abc }}\n",
	"a\nb {{ end }}\n",
	"a\nb {{ else }}\n",
	"a\nb {{ $x }}\n",
	"a\nü {{ .User == 1 }}\n",
	"a\nü {{ if eq .User, 1 }}x{{ end }}\n",
	"{{ range $a, $b, $c := .Services }}{{ end }}\n",
	"{{ template nope }}\n",
	"a\n{{/* comment }}\n",
	"a\n{{ 'ab' }}\n",
	"a\n{{ 12x }}\n",
	"a\n{{ (.User }}\n",
	"a\n{{ .User) }}\n",
	"a\n{{ define \"x\" }}\n",
	"a\n{{ break }}\n",
	"a\r\n{{ .Nope }}\r\n",
	"a\n  {{ .Vars.nope }}\n",
	"a\n  {{ .User.nope }}\n",
	"{{ range .Services }}\n{{ range . }}\n\tserver {{ .Nope }}\n{{ end }}{{ end }}\n",
	"{{ range .Services }}{{ range . }}\n\t{{ .ID }} {{ .Labels.nope }}\n{{ end }}{{ end }}\n",
	"{{ range .Services }}{{ range . }}\n\t{{ ipFor 80 . }}:{{ portFor 9999 . }}\n{{ end }}{{ end }}\n",
	"{{ range .Services }}\n\t{{ portFor \"80\" . }}\n{{ end }}\n",
	"{{ range .Services }}{{ range . }}{{ break }}{{ end }}{{ fail \"after\" }}{{ end }}\n",
	"{{ range .Services }}{{ end }}{{ fail \"after\" }}\n",
	"{{ range .Services }}{{ range $p, $_ := getPorts \"web\" }}\n{{ fail $p }}{{ end }}{{ end }}\n",
	"a\n{{ portFor \"80\" }}\n",
	"a\n{{ portFor \"http\" 7 }}\n",
	"a\n{{ template \"nope\" . }}\n",
	"a\n {{ include \"nope\" . }}\n",
	"{{ define \"x\" }}\n  {{ fail \"no luck\" }}{{ end }}\n {{ include \"x\" . }}\n",
	"{{ define \"x\" }}\n  {{ include \"x\" . }}{{ end }}\n {{ include \"x\" . }}\n",
	"{{ define \"x\" }}\n  {{ range .Services }}{{ template \"y\" $ }}{{ end }}{{ end }}" +
		"{{ define \"y\" }}{{ template \"x\" . }}{{ end }}\n {{ template \"x\" . }}\n",
	"{{ define \"x\" }}{{ template \"x\" . }}{{ end }}\n {{ template \"x\" . }}\n",
	"a\n {{ index (list 1 2) 7 }}\n",
	"a\n {{ div 1 0 }}\n",
	"a\n {{ add 1 | upper }}\n",
	"a\n {{ semver \"x>: y\" }}\n",
	"a\n {{ if eq .User 1 }}{{ end }}\n",
	"a\n {{ source \"etcd\" }}\n",
	"a\n {{ first list }}\n",
	"a\n {{ \"%d\" | printf }} {{ fail \"%s 100%\" }}\n",
	"{{ range until 100 }}\n{{ repeat 65536 \"x\" }}{{ end }}\n",
}

func TestMistakes(t *testing.T) {
	snap := snapshot(instance("web", "node-1", "a", 80), instance("web", "node-2", "b", 80))
	var told strings.Builder
	for _, text := range mistakes {
		e := mistake(t, text, snap)
		fmt.Fprintf(&told, "%s\n%s\n\n", strings.TrimRight(text, "\r\n"), strings.ReplaceAll(e.Error(), e.File, "main.cfg"))
		if e.Line < 1 || e.Column < 1 {
			t.Errorf("no place: %v", e)
		}
		lines := strings.Split(strings.ReplaceAll(text, "\r", ""), "\n")
		if e.Line > len(lines) || e.Snippet != lines[e.Line-1] {
			t.Errorf("snippet %q: %v", e.Snippet, e)
		}
	}
	golden(t, "testdata/mistakes.txt", told.String())
}

func mistake(t *testing.T, text string, snap sdk.Snapshot) *Error {
	t.Helper()
	tmpl, err := setOf(t, text).Load()
	if err == nil {
		tmpl.bound = 1 << 20
		_, _, err = tmpl.Render(snap)
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%q: %T %v", text, err, err)
	}
	return e
}

// Mistakes are found wherever they are, and nothing that a parser may say is lost or makes us fall over.
func FuzzMistakes(f *testing.F) {
	for _, text := range mistakes {
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

// A template with chance in it may succeed when it is rendered again to find the place.
func TestFleetingError(t *testing.T) {
	snap := sdk.Snapshot{}
	tmpl := mustLoad(t, setOf(t, "a\n{{ .Vars.x }}"))
	v := newView(snap)
	_, err := tmpl.newRun(v, tmpl.set).files()
	if err == nil {
		t.Fatal("no error")
	}
	tmpl.sources[0].text = "mended"
	if e := tmpl.explain(v, err); !strings.Contains(e.Error(), "does not exist") {
		t.Error(e)
	}
}
