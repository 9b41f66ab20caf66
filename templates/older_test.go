package templates

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The default template of haproxy-api 0.9 renders as it did there.
func TestOlderDefaultTemplate_RecordedStates(t *testing.T) {
	set := New(Config{
		Path: "testdata/older-default.cfg", BindIP: "192.168.168.168", User: "nobody", Group: "nogroup", Now: atNoon,
	})
	tmpl := mustLoad(t, set)
	for name, snap := range states(t) {
		t.Run(name, func(t *testing.T) {
			out, notes := mustRender(t, tmpl, snap)
			if len(notes) > 0 {
				t.Errorf("notes: %q", notes)
			}
			golden(t, "testdata/older/"+name+".cfg", out)
			checkHAProxy(t, out)
		})
	}
}

// With the renaming that the error of HAProxy 3.3 suggests, HAProxy accepts the default template of 0.9, with only the warning
// that all versions give.
func TestOlderDefaultTemplate_RenamedFrontends(t *testing.T) {
	content, err := os.ReadFile("testdata/older-default.cfg")
	if err != nil {
		t.Fatal(err)
	}
	renamed := regexp.MustCompile(`(?m)^frontend (.+)$`).ReplaceAllString(string(content), "frontend $1-in")
	path := write(t, map[string]string{"a": renamed}) + "/a"
	tmpl := mustLoad(t, New(Config{Path: path, BindIP: "127.0.0.1", User: "nobody", Group: "nogroup"}))
	for name, snap := range states(t) {
		out, _ := mustRender(t, tmpl, snap)
		for warning := range strings.Lines(checkHAProxy(t, out)) {
			if strings.HasPrefix(warning, "[WARNING]") && !strings.Contains(warning, "ignoring cookie for server") {
				t.Errorf("%s: %s", name, warning)
			}
		}
	}
}

func TestOlderTemplates_Functions(t *testing.T) {
	ws := instance("chat", "node-1", "1", 9000)
	ws.ProxyMode = "ws"
	dead := instance("dead", "node-1", "1", 7000)
	dead.Status, dead.ProxyMode = 2, "tcp"
	half := instance("half", "node-1", "1", 8000)
	sick := instance("half", "node-2", "2", 8000)
	sick.Status = 4
	bare := instance("bare", "node-1", "1")
	hidden := instance("hidden", "node-1", "1", 0)
	udp := instance("udp", "node-1", "1", 53)
	udp.Ports[0].Type = "udp"
	noIP := instance("noip", "node-9", "1", 80)
	noIP.Ports[0].IP = ""
	snap := snapshot(ws, dead, half, sick, bare, hidden, udp, noIP)

	tests := map[string]struct{ template, want string }{
		"services with ports and living instances": {
			`{{ range $name, $list := .Services }}{{ $name }}={{ len $list }} {{ end }}`, "chat=1 half=1 hidden=1 noip=1 udp=1 ",
		},
		"ws is http":                 {`{{ getMode "chat" }}`, "http"},
		"mode of a dead service":     {`{{ getMode "dead" }}`, "tcp"},
		"mode of an unknown service": {`<{{ getMode "nobody" }}>`, "<>"},
		"ports are strings": {
			`{{ range $k, $v := getPorts "chat" }}{{ printf "%q %q" $k $v }}{{ end }}`, `"9000" "30000"`,
		},
		"ports of UDP":                {`{{ len (getPorts "udp") }}`, "0"},
		"ports without a ServicePort": {`{{ len (getPorts "hidden") }}`, "0"},
		"ports of a dead service":     {`{{ len (getPorts "dead") }}`, "0"},
		"ports of an unknown service": {`{{ len (getPorts "nobody") }}`, "0"},
		"address": {
			`{{ range .Services.chat }}{{ ipFor "9000" . }}:{{ portFor "9000" . }}{{ end }}`, "10.0.0.1:30000",
		},
		"address without an IP": {`{{ range .Services.noip }}{{ ipFor 80 . }}{{ end }}`, "node-9"},
		"UDP by number":         {`{{ range .Services.udp }}{{ portFor 53 . }}{{ end }}`, "30000"},
		"now":                   {`{{ now }}`, "2026-11-22 12:00:00 +0000 UTC"},
		"name":                  {`{{ sanitizeName "Foo_Bär.x-1" }}`, "foo-b-r-x-1"},
		"methods": {
			`{{ with index .Services.chat 0 }}{{ .IsAlive }} {{ .IsTombstone }} {{ .IsDraining }} ` +
				`{{ .StatusString }} {{ .Version }}{{ end }}`,
			"true false false Alive 1",
		},
		"status in a condition": {`{{ range .Services.chat }}{{ if eq .Status 0 }}up{{ end }}{{ end }}`, "up"},
		"status with a verb":    {`{{ range .Services.chat }}{{ printf "%d" .Status }}{{ end }}`, "0"},
		"status as it is":       {`{{ range .Services.chat }}{{ .Status }}{{ end }}`, "0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := rendered(t, tt.template, snap); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestIPFor_UseHostnames(t *testing.T) {
	path := write(t, map[string]string{"a": `{{ range .Services.web }}{{ ipFor "80" . }}{{ end }}`}) + "/a"
	tmpl := mustLoad(t, New(Config{Path: path, UseHostnames: true}))
	out, _ := mustRender(t, tmpl, snapshot(instance("web", "node-1", "1", 80)))
	if out != "node-1" {
		t.Error(out)
	}
}
