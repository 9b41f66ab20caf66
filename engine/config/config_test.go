package config_test

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// same compares configurations without the origins of their values.
var same = cmp.Options{
	cmpopts.IgnoreUnexported(config.Config{}), cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty(),
}

func load(t *testing.T, o config.Options) *config.Config {
	t.Helper()
	c, err := config.Load(o)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

// write writes content to a file with that name in a temporary directory and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// inFile returns options with a TOML file of that content, and a function that removes the file's directory from a text.
func inFile(t *testing.T, content string) (config.Options, func(string) string) {
	t.Helper()
	file := write(t, "haproxy-api.toml", content)
	return config.Options{File: file, Named: true}, func(s string) string {
		return strings.ReplaceAll(s, filepath.Dir(file)+string(filepath.Separator), "")
	}
}

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	set := pflag.NewFlagSet("haproxy-api", pflag.ContinueOnError)
	set.StringP("config-file", "f", "haproxy-api.toml", "")
	set.StringP("follow", "F", "", "")
	set.String("log-level", "info", "")
	set.String("log-format", "text", "")
	set.StringArray("set", nil, "")
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return set
}

func defaults() *config.Config {
	return &config.Config{
		API: config.API{
			BindIP: "0.0.0.0", BindPort: 7778, LoggingLevel: slog.LevelInfo, LoggingFormat: "text", MaxBody: 64 << 20,
		},
		Sidecar: config.Sidecar{
			StateURL: "http://localhost:7777/state.json", ResyncInterval: time.Minute,
			Guard: config.Guard{MaxDrop: 0.5, MinInstances: 10, Hold: 30 * time.Second},
		},
		HAProxy: config.HAProxy{
			BindIP: "0.0.0.0", ConfigFile: "/var/run/haproxy-api/haproxy.cfg", PIDFile: "/var/run/haproxy-api/haproxy.pid",
			Binary: "haproxy", Mode: "managed", ReloadInterval: 5 * time.Second, DrainTimeout: 30 * time.Second,
			MaxOldWorkers: 10, OnExit: "leave", Runtime: true,
		},
		Tracing:   config.Tracing{Sample: 1},
		PluginDir: "/usr/lib/haproxy-api/plugins",
		Sources: map[string]config.Source{"sidecar": {
			Component: config.Component{Type: "sidecar-push", Block: map[string]any{
				"state_url": "http://localhost:7777/state.json", "resync_interval": "1m0s", "subscriptions": []any{},
				"redirect_hosts": []any{}, "max_body": int64(64 << 20),
			}},
			Guard: config.Guard{MaxDrop: 0.5, MinInstances: 10, Hold: 30 * time.Second},
		}},
		Sinks: map[string]config.Component{"haproxy": {Type: "haproxy", Block: map[string]any{
			"binary": "haproxy", "mode": "managed", "config_file": "/var/run/haproxy-api/haproxy.cfg",
			"pid_file": "/var/run/haproxy-api/haproxy.pid", "reload_interval": "5s", "drain_timeout": "30s",
			"max_old_workers": int64(10), "on_exit": "leave", "runtime": true,
		}}},
		Pipelines: map[string]config.Pipeline{"haproxy": {
			Source: "sidecar", Sink: "haproxy", Delims: []string{"{{", "}}"}, BindIP: "0.0.0.0",
		}},
	}
}

func TestLoad_Defaults(t *testing.T) {
	for name, o := range map[string]config.Options{
		"no place":                 {},
		"missing default file":     {File: filepath.Join(t.TempDir(), config.DefaultFile)},
		"empty file":               {File: write(t, "empty.toml", "")},
		"empty YAML":               {File: write(t, "empty.yaml", "")},
		"YAML without values":      {File: write(t, "empty.yml", "haproxy:\nsources:\npipelines: {}\n")},
		"JSON null":                {File: write(t, "empty.json", "null")},
		"flags that are not given": {Flags: flags(t)},
		"empty variables":          {Environ: []string{"HAPROXY_API_FOLLOW=", "HAPROXY_API_HAPROXY__RUNTIME="}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(defaults(), load(t, o), same); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoad_FileOfVersion09(t *testing.T) {
	reload := "haproxy -f /etc/haproxy.cfg -p /var/run/haproxy.pid -sf $(cat /var/run/haproxy.pid)"
	want := defaults()
	want.HAProxy.BindIP, want.HAProxy.Template = "192.168.168.168", "views/haproxy.cfg"
	want.HAProxy.ConfigFile, want.HAProxy.PIDFile = "/etc/haproxy.cfg", "/var/run/haproxy.pid"
	want.HAProxy.ReloadCmd, want.HAProxy.VerifyCmd = reload, "haproxy -c -f /etc/haproxy.cfg"
	want.HAProxy.User, want.HAProxy.Group, want.HAProxy.Mode = "haproxy", "haproxy", "command"
	want.Sinks["haproxy"] = config.Component{Type: "haproxy", Block: map[string]any{
		"binary": "haproxy", "mode": "command", "config_file": "/etc/haproxy.cfg", "pid_file": "/var/run/haproxy.pid",
		"reload_cmd": reload, "verify_cmd": "haproxy -c -f /etc/haproxy.cfg",
		"reload_interval": "5s", "drain_timeout": "30s", "max_old_workers": int64(10), "on_exit": "leave", "runtime": true,
	}}
	want.Pipelines["haproxy"] = config.Pipeline{
		Source: "sidecar", Sink: "haproxy", Template: "views/haproxy.cfg", Delims: []string{"{{", "}}"},
		BindIP: "192.168.168.168", User: "haproxy", Group: "haproxy",
	}
	t.Chdir("testdata")
	got := load(t, config.Options{File: "older.toml", Named: true})
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Error(diff)
	}
}

func TestLoad_GeneralForm(t *testing.T) {
	want := defaults()
	want.PluginDir = "plugins"
	want.Tracing = config.Tracing{Enabled: true, Endpoint: "http://me:hush@collector.example.com:4318", Sample: 0.1}
	want.API = config.API{
		BindIP: "0.0.0.0", LoggingLevel: slog.LevelDebug, LoggingFormat: "json", StateDir: "/var/lib/haproxy-api",
		UpdateToken: "s3cret",
		AllowFrom:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		TLSCert:     "cert.pem", TLSKey: "key.pem", ClientCA: "ca.pem", MaxBody: 8 << 20,
		CORSOrigins:  []string{"https://status.example.com"},
		ProtectReads: true, AllowedHosts: []string{"edge.example.com", "*.internal"},
	}
	want.Sidecar = config.Sidecar{
		StateURL: "https://me:hush@sidecar.example.com/api/state.json", ResyncInterval: 2 * time.Minute,
		Subscriptions: []string{"web", "chat"},
		Guard:         config.Guard{MaxDrop: 0.25, MinInstances: 3, Hold: 90 * time.Second},
	}
	want.Sources = map[string]config.Source{
		"catalogue": {
			Component: config.Component{Type: "file", Block: map[string]any{"path": "services.yaml"}},
			Guard:     config.Guard{MaxDrop: 0.5, MinInstances: 10, Hold: 5 * time.Second},
		},
		"sidecar": {
			Component: config.Component{Type: "sidecar-push", Block: map[string]any{
				"state_url": "https://me:hush@sidecar.example.com/api/state.json", "resync_interval": "2m0s",
				"redirect_hosts": []any{}, "subscriptions": []any{"web", "chat"}, "max_body": int64(8 << 20),
			}},
			Guard: config.Guard{MaxDrop: 0.25, MinInstances: 3, Hold: 90 * time.Second},
		},
	}
	want.Sinks = map[string]config.Component{
		"edge": {Type: "nginx", Block: map[string]any{
			"config_file": "/etc/nginx/conf.d/edge.conf", "workers": int64(4), "ratio": 2.5, "tags": []any{"a", "b"},
			"nested": map[string]any{"api_token": "hush", "deep": map[string]any{"on": true}},
		}},
		"logs": {Type: "file", Block: map[string]any{
			"path": "out/services.json", "check_cmd": "curl http://me:hush@localhost/check",
		}},
	}
	want.Plugins = map[string]config.Plugin{"nginx": {
		Path: "/opt/haproxy-api-sink-nginx", SHA256: strings.Repeat("0123456789abcdef", 4), Args: []string{"--verbose"},
		Env: map[string]string{"NGINX_LICENSE": "hush", "Mixed__Case": "hush"},
	}}
	want.Pipelines = map[string]config.Pipeline{
		"edge": {
			Source: "catalogue", Sink: "edge", Template: "nginx.tmpl", BindIP: "127.0.0.1", User: "nginx",
			Files:    map[string]string{"routes.map": "routes.tmpl", "errors/503.http": "503.tmpl"},
			Partials: []string{"parts/*.tmpl"}, Delims: []string{"<%", "%>"},
			Vars: map[string]any{
				"limit": int64(3), "share": 0.5, "name": "edge", "on": true, "since": "2026-03-01",
				"list": []any{int64(1), "two"},
			},
		},
		"logs": {
			Source: "sidecar", Sink: "logs", Template: "logs.tmpl", BindIP: "0.0.0.0", Delims: []string{"{{", "}}"},
		},
	}
	t.Chdir("testdata")
	for _, extension := range []string{"toml", "yaml", "json"} {
		t.Run(extension, func(t *testing.T) {
			got := load(t, config.Options{File: "general." + extension, Named: true})
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoad_TypesOfValues(t *testing.T) {
	for name, content := range map[string]string{
		"vars.toml": `pipelines.web.vars = { n = 3, big = 9007199254740993, x = 3.5 }`,
		"vars.yaml": `pipelines: {web: {vars: {n: 3, big: 9007199254740993, x: 3.5}}}`,
		"vars.json": `{"pipelines": {"web": {"vars": {"n": 3, "big": 9007199254740000, "x": 3.5}}}}`,
	} {
		o := config.Options{
			File: write(t, name, content), Named: true,
			Set: []string{
				"pipelines.web.source=s", "pipelines.web.sink=k", "sources.s.type=file", "sinks.k.type=file",
				"pipelines.web.vars.text=3", `pipelines.web.vars.quoted="3"`, "pipelines.web.vars.free=3 and a half",
			},
		}
		got := load(t, o).Pipelines["web"].Vars
		if got["n"] != int64(3) || got["x"] != 3.5 {
			t.Errorf("%s: n is %T, x is %T", name, got["n"], got["x"])
		}
		if big, ok := got["big"].(int64); !ok || big < 9007199254740000 || name != "vars.json" && big != 9007199254740993 {
			t.Errorf("%s: big is %v", name, got["big"])
		}
		if got["text"] != int64(3) || got["quoted"] != "3" || got["free"] != "3 and a half" {
			t.Errorf("%s: from --set: %#v", name, got)
		}
	}
	keys := load(t, config.Options{File: write(t, "x.yaml", "sources: {s: {type: file, x: {1: a, true: b, c: d}}}")})
	want := map[string]any{"1": "a", "true": "b", "c": "d"}
	if diff := cmp.Diff(want, keys.Sources["s"].Block["x"]); diff != "" {
		t.Error(diff)
	}
	whole := load(t, config.Options{File: write(t, "x.toml", "[sources.s]\ntype='file'\nx = 3.0\n"), Named: true})
	if x := whole.Sources["s"].Block["x"]; x != 3.0 {
		t.Errorf("TOML's 3.0 became %T %v", x, x)
	}
}

func TestLoad_FilesOfOtherEditors(t *testing.T) {
	for name, content := range map[string]string{
		"a.toml": "\ufeff[haproxy_api]\r\nbind_port = 7779\r\n",
		"a.yaml": "\ufeffhaproxy_api:\r\n  bind_port: 7779\r\n",
		"a.json": "\ufeff{\"haproxy_api\":\r\n{\"bind_port\": 7779}}",
	} {
		if c := load(t, config.Options{File: write(t, name, content), Named: true}); c.API.BindPort != 7779 {
			t.Errorf("%s: bind_port is %d", name, c.API.BindPort)
		}
	}
}
