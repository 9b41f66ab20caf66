package migrate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// findIn returns the findings for a configuration of 0.9 with a template, each as "file:line severity name", without notes.
func findIn(t *testing.T, settings, template string, environ []string, all ...states.State) []string {
	t.Helper()
	directory := t.TempDir()
	file := filepath.Join(directory, "old.toml")
	for name, content := range map[string]string{"old.toml": settings, "t.cfg": template} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	findings, err := Find(t.Context(), file, environ, all)
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, f := range findings {
		if f.What == "" || f.Change == "" || strings.ContainsFunc(f.What+f.Change, func(r rune) bool { return r >= firstMask }) {
			t.Errorf("incomplete: %+v", f)
		}
		if f.Severity != Note {
			place := strings.TrimPrefix(f.Place(), directory+string(filepath.Separator))
			found = append(found, strings.TrimSpace(fmt.Sprintf("%s %s %s", place, f.Severity, f.name)))
		}
	}
	return found
}

// settings is a configuration of 0.9 without anything that differs, except that HAProxy is managed.
const (
	settings = "[haproxy]\ntemplate = \"t.cfg\"\nconfig_file = \"haproxy.cfg\"\npid_file = \"haproxy.pid\"\n"
	managed  = "old.toml:1 changed"
)

func TestFind_Configuration(t *testing.T) {
	for name, test := range map[string]struct {
		settings string
		environ  []string
		want     []string
	}{
		"nothing": {settings, nil, []string{managed}},
		"unknown keys": {
			settings + "config_fiel = \"x\"\n[other]\nkey = 1\n", nil, []string{managed, "old.toml:5 error", "old.toml:6 error"},
		},
		"commands": {
			settings + "reload_cmd = \"r\"\nverify_cmd = \"v haproxy.cfg\"\n", nil,
			[]string{"old.toml:5 changed", "old.toml:6 changed"},
		},
		"a value of the wrong type": {
			settings + "[haproxy_api]\nbind_port = \"many\"\n", nil, []string{managed, "old.toml:6 error"},
		},
		"an unknown variable": {
			settings, []string{"HAPROXY_API_HAPROXY_CONFIGFIEL=x"},
			[]string{managed, "environment HAPROXY_API_HAPROXY_CONFIGFIEL error"},
		},
		"variables of 0.9": {
			settings, []string{"HAPROXY_API_HAPROXY_CONFIGFILE=x.cfg", "HAPROXY_API_FOLLOW=there:7777"}, []string{managed},
		},
		"a file that cannot be parsed": {
			"[haproxy\ntemplate = \"t.cfg\"\n", nil, []string{"old.toml error", "old.toml changed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, findIn(t, test.settings, "# nothing\n", test.environ)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFind_Templates(t *testing.T) {
	for name, test := range map[string]struct {
		template string
		want     []string
	}{
		"names that depend on actions": {
			"frontend {{ index . \"a # b\" }}-x\n\nbackend {{ index . \"a # b\" }}-x\nbackend {{ index . \"other\" }}-x\n",
			[]string{"t.cfg:1 error shared name"},
		},
		"a frontend behind an action": {
			"{{ if .User }}frontend web{{ else }}frontend other{{ end }}\nbackend web\n", []string{"t.cfg:1 error shared name"},
		},
		"keywords in actions and comments": {
			"frontend a\n# reqadd x\n{{/*\nreqadd x\n*/}}\n\tbind :80 {{ \"reqadd\" }}\n", []string{},
		},
		"removed keywords": {
			"global\n\tnbproc 2\ndefaults\n\toption forceclose\n" +
				"frontend a\n\treqadd X:\\ {{ .User }}\n\trspadd a\n\tblock if x\n",
			[]string{
				"t.cfg:2 error nbproc", "t.cfg:4 error option forceclose", "t.cfg:6 error reqadd", "t.cfg:7 error rspadd",
				"t.cfg:8 error block",
			},
		},
		"functions": {
			"{{ range $n, $s := .Services }}\n{{ sanitizeName $n }}\n{{ range $s }}{{ portFor \"1\" . }}{{ end }}{{ end }}",
			[]string{"t.cfg:2 changed", "t.cfg:3 changed"},
		},
		"a template that cannot be parsed": {"frontend a\n{{ nosuchfunction }}\n", []string{"t.cfg:2 error"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(append([]string{managed}, test.want...), findIn(t, settings, test.template, nil)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// With a state, what depends on it is found too. The places are lines of the template.
func TestFind_State(t *testing.T) {
	web := sdk.Instance{
		ID: "1", Name: "web", Hostname: "node-1", ProxyMode: "http",
		Ports: []sdk.Port{{Type: "tcp", Port: 31000, ServicePort: 8000, IP: "127.0.0.1"}},
	}
	state := states.New("state", "", sdk.Snapshot{Services: sdk.GroupByName([]sdk.Instance{web})})
	for name, test := range map[string]struct {
		template string
		want     []string
	}{
		"names that only the document shows": {
			"frontend web\n{{ range $name, $_ := .Services }}\n\nbackend {{ $name }}\n{{ end }}",
			[]string{"t.cfg:1 error shared name"},
		},
		"what both show": {
			"frontend a\n\treqadd x\n", []string{"t.cfg:2 error reqadd"},
		},
		"an error of the rendering": {
			"# nothing\n\n{{ range .Services.web }}{{ portFor \"9000\" . }}{{ end }}\n",
			[]string{"t.cfg:3 changed", "t.cfg:3 error"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := append([]string{managed}, test.want...)
			if diff := cmp.Diff(want, findIn(t, settings, test.template, nil, state)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
