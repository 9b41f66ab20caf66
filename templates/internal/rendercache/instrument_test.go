package rendercache

import (
	"strings"
	"testing"
	"text/template"
)

func TestInstrument(t *testing.T) {
	t.Parallel()
	functions := template.FuncMap{"random": func() int { return 0 }, "include": func(string) string { return "" }}
	for _, name := range []string{FuncBegin, FuncEnd, FuncAssigned} {
		functions[name] = func() string { return "" }
	}
	const unchanged = ""
	for text, want := range map[string]string{
		`{{range $n, $l := .Services}}{{$n}}{{end}}`: `{{range $n, $l := .Services}}` +
			`{{if _begin 0 $ .}}{{$n}}{{_end}}{{else}}{{end}}{{end}}`,
		`{{$x := 1}}{{$y := 2}}{{range $.Services}}{{$x = $y}}{{end}}`: `{{$x := 1}}{{$y := 2}}{{range $.Services}}` +
			`{{if _begin 0 $ . $x $y}}{{$x = $y}}{{_end $x}}{{else}}{{$x = _assigned 0}}{{end}}{{end}}`,
		`{{range .Services}}a{{end}}{{range .Services}}b{{end}}`: `{{range .Services}}` +
			`{{if _begin 0 $ .}}a{{_end}}{{else}}{{end}}{{end}}` +
			`{{range .Services}}{{if _begin 1 $ .}}b{{_end}}{{else}}{{end}}{{end}}`,
		`{{range .Services}}{{random}}{{end}}`:                   unchanged,
		`{{range .Services}}{{$.Services}}{{end}}`:               unchanged,
		`{{range .Services}}{{$}}{{end}}`:                        unchanged,
		`{{range .Services}}{{break}}{{end}}`:                    unchanged,
		`{{range .Services.web}}a{{end}}`:                        unchanged,
		`{{with .Vars}}{{range .Services}}a{{end}}{{end}}`:       unchanged,
		`{{range .Vars}}{{range $.Services}}a{{end}}{{end}}`:     unchanged,
		`{{$x := 1}}{{range .Services}}{{$x := 2}}{{$x}}{{end}}`: unchanged,
		`{{random}}{{range .Services}}{{include "x"}}{{end}}`:    unchanged,
		`{{define "x"}}{{range .Services}}a{{end}}{{end}}`:       unchanged,
	} {
		set := template.Must(template.New("main").Funcs(functions).Parse(text))
		Instrument(set, []string{"main"}, func(function string) bool { return function != "random" })
		got := set.Lookup("main").Root.String()
		if want == unchanged {
			want = template.Must(template.New("main").Funcs(functions).Parse(text)).Root.String()
		}
		if strings.ReplaceAll(got, " }}", "}}") != strings.ReplaceAll(want, " }}", "}}") {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
}
