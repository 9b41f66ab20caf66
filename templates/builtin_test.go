package templates

import (
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestBuiltin_RecordedStates(t *testing.T) {
	tmpl := mustLoad(t, New(Config{BindIP: "127.0.0.1", Now: atNoon}))
	for name, snap := range states(t) {
		t.Run(name, func(t *testing.T) {
			out, notes := mustRender(t, tmpl, snap)
			if len(notes) > 0 {
				t.Errorf("notes: %q", notes)
			}
			golden(t, "testdata/builtin/"+name+".cfg", out)
			checkClean(t, out)
		})
	}
}

func TestBuiltin_AcceptedByHAProxy(t *testing.T) {
	v6 := instance("web", "node-6", "f", 8080)
	v6.Ports[0].IP = "fd00::a:1"
	v4 := instance("web", "node-4", "e", 8080)
	linkLocal := instance("web", "node-7", "g", 8080)
	linkLocal.Ports[0].IP = "::1"
	odd := instance("Größe/web_app", "node 1\"", "a#b", 9090)
	twin := instance("Größe/web_app", "node 1'", "a#b", 9090)
	tcp := instance("redis", "node-1", "r", 6379)
	tcp.ProxyMode = "tcp"
	unexported := instance("dns", "node-1", "d", 0)

	tests := map[string]struct {
		cfg  Config
		snap sdk.Snapshot
		want []string // lines
	}{
		"nothing at all": {
			cfg: Config{BindIP: "127.0.0.1"}, want: []string{"\tbind abns@haproxy-api-idle-127.0.0.1"},
		},
		"nothing exported": {
			cfg: Config{BindIP: "127.0.0.1"}, snap: snapshot(unexported), want: []string{"frontend haproxy-idle"},
		},
		"IPv6 instances": {
			cfg: Config{BindIP: "127.0.0.1"}, snap: snapshot(v4, v6, linkLocal),
			want: []string{"\tserver node-6-f fd00::a:1:30000", "\tserver node-7-g ::1:30000"},
		},
		"IPv6 bind": {cfg: Config{BindIP: "::1"}, snap: snapshot(v4), want: []string{"\tbind ::1:8080"}},
		"IPv6 idle": {cfg: Config{BindIP: "::"}},
		"mixed modes": {
			cfg: Config{BindIP: "127.0.0.1"}, snap: snapshot(v4, tcp), want: []string{"frontend redis-6379-in", "\tmode tcp"},
		},
		"odd names": {
			cfg: Config{BindIP: "127.0.0.1"}, snap: snapshot(odd, twin), want: []string{"frontend gr--e-web-app-9090-in"},
		},
		"every variable": {
			cfg: Config{BindIP: "127.0.0.1", User: "nobody", Group: "nogroup", Vars: map[string]any{
				"maxconn": float64(2000000), "retries": "2", "balance": "leastconn", "log": "127.0.0.1:514 local0",
				"timeout_connect": "1s", "timeout_request": "1s", "timeout_client": "1s", "timeout_server": "1s",
				"timeout_tunnel": "1s", "stats_bind": "127.0.0.1:3212", "stats_socket": "/tmp/haproxy-api-test.sock",
			}},
			snap: snapshot(v4),
			want: []string{
				"\tmaxconn 2000000", "\tuser nobody", "\tgroup nogroup", "\tretries 2", "\tbalance leastconn",
				"\tstats socket /tmp/haproxy-api-test.sock mode 600 level admin expose-fd listeners",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, _ := mustRender(t, mustLoad(t, New(tt.cfg)), tt.snap)
			for _, line := range tt.want {
				if !strings.Contains("\n"+out, "\n"+line+"\n") {
					t.Errorf("no line %q in\n%s", line, out)
				}
			}
			checkClean(t, out)
		})
	}
}

func TestBuiltin_SafeByDefault(t *testing.T) {
	out, _ := mustRender(t, mustLoad(t, New(Config{BindIP: "127.0.0.1"})), readState(t, "testdata/states/state-2-all-alive.json"))
	for _, word := range []string{"stats", "socket", "0.0.0.0", "666", "cookie"} {
		if strings.Contains(out, word) {
			t.Errorf("%q in\n%s", word, out)
		}
	}
}

func TestBuiltin_PortConflict(t *testing.T) {
	older := instance("zebra", "node-1", "z", 8080)
	older.Created = noon.AddDate(0, 0, -2)
	out, notes := mustRender(t, mustLoad(t, New(Config{BindIP: "127.0.0.1"})),
		snapshot(older, instance("ant", "node-1", "a", 8080, 9090)))
	if strings.Contains(out, "ant-8080") || !strings.Contains(out, "zebra-8080") || !strings.Contains(out, "ant-9090") {
		t.Error(out)
	}
	if len(notes) != 1 || !strings.HasPrefix(notes[0], `service "ant" claims service port 8080`) {
		t.Errorf("notes: %q", notes)
	}
	checkClean(t, out)
}

func TestBuiltin_ReturnsCopy(t *testing.T) {
	Builtin()[0] = 'X'
	if Builtin()[0] == 'X' {
		t.Error("the built-in template can be changed")
	}
}

// checkClean fails the test if HAProxy rejects the configuration or warns about it.
func checkClean(t *testing.T, config string) {
	t.Helper()
	if warnings := checkHAProxy(t, config); warnings != "" {
		t.Errorf("haproxy -c warns:\n%s", warnings)
	}
}
