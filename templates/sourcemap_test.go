package templates

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// mapped returns each line of the main file with its origin before it.
func mapped(t *testing.T, tmpl *Template, snap sdk.Snapshot) string {
	t.Helper()
	files, origins, err := tmpl.SourceMap(t.Context(), snap)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for i, text := range strings.Split(string(files[0].Content), "\n") {
		o := origins[0][i]
		position := ""
		if o.Template != "" {
			position = fmt.Sprintf("%s:%d", filepath.Base(o.Template), o.Line)
		}
		owner := o.Service
		if o.Instance != nil {
			owner += " " + o.Instance.ID
		}
		fmt.Fprintf(&out, "%s|%s|%s\n", position, owner, text)
	}
	return out.String()
}

func TestSourceMap_Origins(t *testing.T) {
	snap := snapshot(instance("chat", "h", "c", 81), instance("web", "h", "a", 80), instance("web", "h", "b", 80))
	for _, test := range []struct{ name, text, want string }{
		{"plain", "a\n\n  b {{ .User }}\n", "main.cfg:1||a\n||\nmain.cfg:3||  b \n||\n"},
		{
			"services and instances",
			"{{ range $name, $instances := .Services }}\n{{ range $port, $_ := getPorts $name }}\nbackend {{ $name }}" +
				"{{- range $instances }}\n  server {{ .ID }} x:{{ portFor $port . }}\n{{- end }}{{ end }}{{ end }}\nend\n",
			"||\n||\nmain.cfg:3|chat|backend chat\nmain.cfg:4|chat c|  server c x:30000\n" +
				"||\nmain.cfg:3|web|backend web\nmain.cfg:4|web a|  server a x:30000\nmain.cfg:4|web b|  server b x:30000\n" +
				"main.cfg:6||end\n||\n",
		},
		{
			"trimmed text has the lines of the template",
			"a\n{{- /* b */ -}}\n\n\n c\n{{ if true -}}\n\n d\n{{ end -}}\ne",
			"main.cfg:5||ac\nmain.cfg:8||d\nmain.cfg:10||e\n||\n",
		},
		{
			"a line about one instance, several, and several services",
			"one {{ range .Services.chat }}{{ .ID }}{{ end }}\nfew {{ range .Services.web }}{{ .ID }}{{ end }}\n" +
				"all {{ range .Services }}{{ range . }}{{ .ID }}{{ end }}{{ end }} of them",
			"main.cfg:1|chat c|one c\nmain.cfg:2|web|few ab\nmain.cfg:3||all cab of them\n||\n",
		},
		{
			"templates",
			"{{ define \"s\" }}server {{ .ID }}\n\n{{ end }}{{ range .Services.web }}{{ template \"s\" . }}{{ end }}",
			"main.cfg:1|web a|server a\n||\nmain.cfg:1|web b|server b\n||\n||\n",
		},
		{
			"includes",
			"{{ define \"s\" }}{{ range . }}\nserver\n{{ .ID }}{{ end }}{{ end }}" +
				"{{ range .Services }}{{ include \"s\" . | indent 1 }}{{ end }}\n{{ include \"s\" .Services.web | trim }}!",
			"|| \nmain.cfg:2|chat c| server\nmain.cfg:3|chat c| c \nmain.cfg:2|web a| server\nmain.cfg:3|web a| a\n" +
				"main.cfg:2|web b| server\nmain.cfg:3|web b| b\n" +
				"main.cfg:4||server\nmain.cfg:4||a\nmain.cfg:4||server\nmain.cfg:4||b!\n||\n", // trim removed a line
		},
		{"text of several lines", "{{ \"a\\n\\nb\" }}\nc", "main.cfg:1||a\n||\nmain.cfg:1||b\nmain.cfg:2||c\n||\n"},
		{"no range", "{{ (index .Services.web 0).ID }}", "main.cfg:1||a\n||\n"},
		{"break", "{{ range .Services.web }}{{ .ID }}\n{{ break }}{{ end }}x", "main.cfg:1|web a|a\nmain.cfg:2||x\n||\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, mapped(t, mustLoad(t, setOf(t, test.text)), snap)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSourceMap_PartialsAndCompanions(t *testing.T) {
	dir := write(t, map[string]string{
		"main.cfg": "{{ range .Services }}{{ template \"section\" . }}{{ end }}",
		"s.tmpl":   "\n{{ define \"section\" }}{{ range . }}\n  server {{ .ID }}\n{{ end }}{{ end }}",
		"map.tmpl": "{{ range $name, $_ := .Services }}{{ $name }}\n{{ end }}",
	})
	tmpl := mustLoad(t, New(Config{
		Path: filepath.Join(dir, "main.cfg"), Partials: []string{filepath.Join(dir, "s.*")},
		Files: map[string]string{"a.map": filepath.Join(dir, "map.tmpl")},
	}))
	snap := snapshot(instance("web", "h", "a", 80))
	if got, want := mapped(t, tmpl, snap), "||\ns.tmpl:3|web a|  server a\n||\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	files, origins, err := tmpl.SourceMap(t.Context(), snap)
	if err != nil {
		t.Fatal(err)
	}
	want := Origin{Template: filepath.Join(dir, "map.tmpl"), Line: 1, Service: "web"}
	if got := origins[1][0]; got != want || files[1].Name != "a.map" {
		t.Errorf("%s: got %+v, want %+v", files[1].Name, got, want)
	}
}

// The files have the content of the document, and every visible line has an origin.
func TestSourceMap_EqualsRender(t *testing.T) {
	tmpl := mustLoad(t, New(Config{Now: atNoon}))
	for name, snap := range states(t) {
		want, _ := mustRender(t, tmpl, snap)
		files, origins, err := tmpl.SourceMap(t.Context(), snap)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(files[0].Content)); diff != "" {
			t.Errorf("%s (-rendered +mapped)\n%s", name, diff)
		}
		source := strings.Split(string(Builtin()), "\n")
		for i, text := range strings.Split(want, "\n") {
			o := origins[0][i]
			if (o.Template == "") != (strings.TrimSpace(text) == "") {
				t.Errorf("%s:%d %q comes from %+v", name, i+1, text, o)
			}
			if words := strings.Fields(text); len(words) > 0 && !strings.Contains(source[o.Line-1], words[0]) {
				t.Errorf("%s:%d %q does not come from %q", name, i+1, text, source[o.Line-1])
			}
			if strings.HasPrefix(text, "\tserver ") != (o.Instance != nil) {
				t.Errorf("%s:%d %q is of %+v", name, i+1, text, o)
			}
		}
	}
}

func TestSourceMap_FailureHasPosition(t *testing.T) {
	_, _, err := mustLoad(t, setOf(t, "a\n{{ fail \"no luck\" }}")).SourceMap(t.Context(), sdk.Snapshot{})
	if err == nil || !strings.HasSuffix(err.Error(), "main.cfg:2:4: no luck") {
		t.Errorf("got %v", err)
	}
}
