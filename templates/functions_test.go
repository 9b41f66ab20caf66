package templates

import (
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestFunctions_Results(t *testing.T) {
	dead := with(instance("web", "node-2", "2", 80), status(sdk.Tombstone))
	ported := with(instance("web", "node-1", "1", 80, 443), func(i *sdk.Instance) { i.Ports[1].Port = 30443 })
	clash := instance("we_b", "node-1", "3", 90)
	snap := snapshot(ported, dead, clash, instance("we.b", "node-1", "4", 91))
	tests := map[string]struct{ template, want string }{
		"all instances": {
			`{{ range allInstances "web" }}{{ .ID }}{{ .StatusString }} {{ end }}`, "1Alive 2Tombstone ",
		},
		"instances of an unknown one": {`{{ len (allInstances "nobody") }}`, "0"},
		"source":                      {`{{ range $name, $_ := source "sidecar" }}{{ $name }} {{ end }}`, "we.b we_b web "},
		"root":                        {`{{ .Source }} {{ .Cluster }}`, "sidecar demo"},
		"service port as int":         {`{{ range .Services.web }}{{ portFor 443 . }}{{ end }}`, "30443"},
		"as int64":                    {`{{ range .Services.web }}{{ portFor (int64 443) . }}{{ end }}`, "30443"},
		"as float":                    {`{{ range .Services.web }}{{ portFor 443.0 . }}{{ end }}`, "30443"},
		"from a port": {
			`{{ range $i := .Services.web }}{{ range .Ports }}{{ portFor .ServicePort $i }} {{ end }}{{ end }}`, "30000 30443 ",
		},
		"owned ports": {
			`{{ ownsPort "web" 80 }} {{ ownsPort "we.b" "80" }} {{ ownsPort "nobody" 1 }}`, "true false false",
		},
		"server name":        {`{{ range .Services.web }}{{ serverName . }}{{ end }}`, "node-1-1"},
		"name of no service": {`{{ sanitizeName "Some_Thing" }}`, "some-thing"},
		"different names":    {`{{ eq (sanitizeName "we.b") (sanitizeName "we_b") }}`, "false"},
		"include":            {`{{ define "x" }}<{{ . }}>{{ end }}{{ include "x" 7 | upper | quote }}`, `"<7>"`},
		"keys in order":      {`{{ keys (dict "b" 1 "a" 2 "d" 3 "c" 4 "f" 5 "e" 6) | join "" }}`, "abcdef"},
		"values in order":    {`{{ values (dict "b" 1 "a" 2 "d" 3 "c" 4 "f" 5 "e" 6) | join "" }}`, "214365"},
		"keys of ports":      {`{{ keys (getPorts "web") | first }} {{ values (getPorts "web") | last }}`, "443 30000"},
		"sprig": {
			`{{ list 1 2 | join "-" | b64enc }} {{ "x" | default "y" }} {{ ternary 1 2 true }}`, "MS0y x 1",
		},
		"time in UTC":     {`{{ now | date "2006" }} {{ now.Location }}`, "2026 UTC"},
		"a missing value": {`{{ if .Vars.x }}a{{ end }}{{ .Vars.x | default "b" }}{{ with .Vars.y }}c{{ end }}`, "b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := rendered(t, tt.template, snap); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNow_UTC(t *testing.T) {
	set := setOf(t, `{{ now }}`)
	set.cfg.Now = func() time.Time { return time.Now().In(time.FixedZone("far", 3600)) }
	out, _ := mustRender(t, mustLoad(t, set), sdk.Snapshot{})
	if !strings.HasSuffix(out, " +0000 UTC") {
		t.Error(out)
	}
}

// A port over TCP is preferred to a port over UDP that is listed before it.
func TestPortFor_PrefersTCP(t *testing.T) {
	dns := with(instance("dns", "node-1", "1", 53, 53), func(i *sdk.Instance) { i.Ports[0].Type = "udp" })
	if got := rendered(t, `{{ range .Services.dns }}{{ portFor 53 . }}{{ end }}`, snapshot(dns)); got != "30001" {
		t.Error(got)
	}
}

func TestPortOf_InstanceOrPointer(t *testing.T) {
	inst := instance("web", "node-1", "1", 80)
	for _, v := range []any{inst, &inst} {
		if port, got, err := portOf("80", v); err != nil || port.Port != 30000 || got.ID != "1" {
			t.Errorf("%T: %v %v %v", v, port, got, err)
		}
	}
	for _, v := range []any{nil, (*sdk.Instance)(nil), "web", 7} {
		if _, _, err := portOf("80", v); err == nil || !strings.HasPrefix(err.Error(), "an instance is expected here") {
			t.Errorf("%T: %v", v, err)
		}
	}
}

func TestPortNumber_Types(t *testing.T) {
	type port int32
	for _, v := range []any{"80", " 80 ", 80, int64(80), uint16(80), 80.0, port(80)} {
		if n, err := portNumber(v); n != 80 || err != nil {
			t.Errorf("%T %v: %v, %v", v, v, n, err)
		}
	}
	for _, v := range []any{nil, "", "http", "80a", 80.5, uint64(1 << 63), true, []int{80}} {
		if n, err := portNumber(v); err == nil {
			t.Errorf("%T %v: %v", v, v, n)
		}
	}
}

// The older haproxy-api wrote -1 for a missing port, which HAProxy takes for an offset.
func TestPortFor_MissingPort(t *testing.T) {
	for _, call := range []string{`portFor 81 .`, `ipFor "81" .`, `portFor 0 .`} {
		tmpl := mustLoad(t, setOf(t, `{{ range .Services.web }}{{ `+call+` }}{{ end }}`))
		inst := instance("web", "node-1", "1", 80, 0)
		files, _, err := tmpl.Render(t.Context(), snapshot(inst))
		want := `instance 1 of service "web" on node-1 has no service port`
		if err == nil || files != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestIPFor_NoAddress(t *testing.T) {
	tmpl := mustLoad(t, setOf(t, `{{ range .Services.web }}{{ ipFor 80 . }}{{ end }}`))
	inst := with(instance("web", "", "1", 80), func(i *sdk.Instance) { i.Ports[0].IP = "" })
	if _, _, err := tmpl.Render(t.Context(), snapshot(inst)); err == nil || !strings.Contains(err.Error(), "has no address") {
		t.Error(err)
	}
}

func TestRender_VarsAreCopied(t *testing.T) {
	vars := map[string]any{
		"list": []string{"b", "a"}, "map": map[string]any{"x": 1}, "none": nil, "deep": []any{map[string]any{"x": 1}},
	}
	text := `{{ $_ := set .Vars "new" 1 }}{{ $_ := set .Vars.map "x" 2 }}{{ $_ := set (first .Vars.deep) "x" 2 }}` +
		`{{ sortAlpha .Vars.list | join "" }}{{ len .Vars }}{{ .Vars.map.x }}`
	dir := write(t, map[string]string{"main": text, "other": text})
	tmpl := mustLoad(t, New(Config{Path: dir + "/main", Files: map[string]string{"other": dir + "/other"}, Vars: vars}))
	for range 2 {
		files, _, err := tmpl.Render(t.Context(), sdk.Snapshot{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if string(f.Content) != "ab52\n" {
				t.Errorf("%s: %s", f.Name, f.Content)
			}
		}
	}
	if vars["list"].([]string)[0] != "b" || len(vars) != 4 || vars["map"].(map[string]any)["x"] != 1 {
		t.Errorf("changed: %v", vars)
	}
}
