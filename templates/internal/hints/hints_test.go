package hints

import (
	"reflect"
	"strings"
	"testing"
	"text/template"
)

func context() Context {
	return Context{
		Before: "{{ $name := 1 }}", Rest: ".Services.wbe }}", Services: []string{"web"}, Vars: map[string]any{"maxconn": 1},
		Templates: []string{"backend"}, Functions: map[string]string{"portFor": "portFor SVCPORT INSTANCE"},
		Root: reflect.TypeFor[struct{ Services, User string }](),
	}
}

// Every hint below contains a name that only the context has.
func TestForMessage_UsesContext(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		`function "portFro" not defined`:                         `"portFor"`,
		`undefined variable "$nam"`:                              `"$name"`,
		`undefined variable "$name"`:                             "{{ end }}",
		`template "bakend" not defined`:                          `"backend"`,
		"wrong number of args for portFor: want 2 got 1":         "portFor SVCPORT INSTANCE",
		"can't evaluate field User in type sdk.Instance":         "$.User",
		"can't evaluate field hostname in type sdk.Instance":     `"Hostname"`,
		"nil pointer evaluating interface {}.x":                  `"web"`,
		"error calling index: index of untyped nil":              `"web"`,
		"can't evaluate field User in type string":               "$.User",
		"can't evaluate field Hostname in type []sdk.Instance":   "first",
		"error calling len: reflect: call of Len on zero Value":  `"web"`,
		`missing value for range`:                                "{{ range .Services }}",
		`a message of a later version of text/template or sprig`: "",
	} {
		if got := ForMessage(message, context()); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q, want %q in it", message, got, want)
		}
	}
}

func TestForMissingValue_KnownValuesHaveNoHint(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string]bool{
		".Services.web }}": false, ".Services.wbe }}": true, `.Services "api" }}`: true,
		".Vars.maxconn }}": false, ".Vars.maxcon }}": true, ".User }}": false,
	} {
		c := context()
		c.Rest = rest
		if got := ForMissingValue(c); (got != "") != want {
			t.Errorf("%s: %q", rest, got)
		}
	}
}

func TestForUnclosed_InnermostBlock(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{{ if 1 }}":                                               "{{ if }} in line 1",
		"{{ if 1 }}\n{{ with 1 }}{{ end }}":                        "{{ if }} in line 1",
		"{{ if 1 }}\n{{ range .x }}":                               "{{ range }} in line 2",
		"{{ if 1 }}a{{ else }}\n{{ with 1 }}":                      "{{ with }} in line 2",
		`{{ define "x" }}`:                                         `{{ define "x" }}`,
		"{{ if }}" + strings.Repeat("{{ if 1 }}", 2) + "{{ end }}": "",
	} {
		got := ForUnclosed("main", text, "{{end}}", template.New("main").Parse)
		if !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q, want %q in it", text, got, want)
		}
	}
}
