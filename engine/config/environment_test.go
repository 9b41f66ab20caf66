package config_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// value returns the value of key in c as text, and its origin.
func value(t *testing.T, c *config.Config, key string) (text, origin string) {
	t.Helper()
	values := c.Values()
	i := slices.IndexFunc(values, func(v config.Value) bool { return v.Key == key })
	if i < 0 {
		t.Fatalf("no value for %s", key)
	}
	return values[i].Text(), values[i].Origin
}

func TestEnvironment_Names(t *testing.T) {
	for _, test := range []struct{ name, set, key, want string }{
		// Names of haproxy-api 0.9.
		{"HAPROXY_API_FOLLOW", "a:1", "sidecar.follow", `"a:1"`},
		{"HAPROXYAPI_LOGGING_LEVEL", "warn", "haproxy_api.logging_level", `"warn"`},
		{"HAPROXY_API_HAPROXY_API_BIND_IP", "127.0.0.1", "haproxy_api.bind_ip", `"127.0.0.1"`},
		{"HAPROXY_API_HAPROXY_API_BIND_PORT", "80", "haproxy_api.bind_port", "80"},
		{"HAPROXY_API_HAPROXY_API_LOGGING_LEVEL", "WARNING", "haproxy_api.logging_level", `"WARNING"`},
		{"HAPROXY_API_SIDECAR_STATE_URL", "http://a/", "sidecar.state_url", `"http://a/"`},
		{"HAPROXY_API_HAPROXY_BINDIP", "127.0.0.1", "haproxy.bind_ip", `"127.0.0.1"`},
		{"HAPROXY_API_HAPROXY_RELOADCMD", "r a,b", "haproxy.reload_cmd", `"r a,b"`},
		{"HAPROXY_API_HAPROXY_VERIFYCMD", "v", "haproxy.verify_cmd", `"v"`},
		{"HAPROXY_API_HAPROXY_TEMPLATE", "t", "haproxy.template", `"t"`},
		{"HAPROXY_API_HAPROXY_CONFIGFILE", "c", "haproxy.config_file", `"c"`},
		{"HAPROXY_API_HAPROXY_PIDFILE", "p", "haproxy.pid_file", `"p"`},
		{"HAPROXY_API_HAPROXY_USER", "99", "haproxy.user", `"99"`},
		{"HAPROXY_API_HAPROXY_GROUP", "g", "haproxy.group", `"g"`},
		{"HAPROXY_API_HAPROXY_USEHOSTNAMES", "1", "haproxy.use_hostnames", "true"},
		// The same with underscores, and newer keys.
		{"HAPROXY_API_HAPROXY_BIND_IP", "127.0.0.1", "haproxy.bind_ip", `"127.0.0.1"`},
		{"HAPROXY_API_HAPROXY_RELOAD_CMD", "r", "haproxy.reload_cmd", `"r"`},
		{"HAPROXY_API_HAPROXY_VERIFY_CMD", "v", "haproxy.verify_cmd", `"v"`},
		{"HAPROXY_API_HAPROXY_CONFIG_FILE", "c", "haproxy.config_file", `"c"`},
		{"HAPROXY_API_HAPROXY_PID_FILE", "p", "haproxy.pid_file", `"p"`},
		{"HAPROXY_API_HAPROXY_USE_HOSTNAMES", "true", "haproxy.use_hostnames", "true"},
		{"HAPROXY_API_HAPROXY_RELOAD_INTERVAL", "1s", "haproxy.reload_interval", `"1s"`},
		{"HAPROXY_API_HAPROXY_API_ALLOW_FROM", "10.0.0.0/8, ::1,", "haproxy_api.allow_from", `["10.0.0.0/8","::1"]`},
		{"HAPROXY_API_HAPROXY_API_CORS_ORIGINS", `["*"]`, "haproxy_api.cors_origins", `["*"]`},
		{"HAPROXY_API_HAPROXY_API_MAX_BODY", "1024", "haproxy_api.max_body", "1024"},
		{"HAPROXY_API_SIDECAR_FOLLOW", "a:1", "sidecar.follow", `"a:1"`},
		{"HAPROXY_API_SIDECAR_SUBSCRIPTIONS", "web,chat", "sidecar.subscriptions", `["web","chat"]`},
		{"HAPROXY_API_SIDECAR_MAX_DROP", "0.75", "sidecar.max_drop", "0.75"},
		// Keys of the table haproxy_api without the table.
		{"HAPROXY_API_BIND_IP", "127.0.0.1", "haproxy_api.bind_ip", `"127.0.0.1"`},
		{"HAPROXY_API_BIND_PORT", "80", "haproxy_api.bind_port", "80"},
		{"HAPROXY_API_UPDATE_TOKEN", "s", "haproxy_api.update_token", `"***"`},
		{"HAPROXY_API_ALLOW_FROM", "::1", "haproxy_api.allow_from", `["::1"]`},
		{"HAPROXY_API_STATE_DIR", "d", "haproxy_api.state_dir", `"d"`},
		// The general form.
		{"HAPROXY_API_PLUGIN_DIR", "d", "plugin_dir", `"d"`},
		{"HAPROXY_API_HAPROXY_API__BIND_PORT", "0", "haproxy_api.bind_port", "0"},
		{"HAPROXY_API_SIDECAR__FOLLOW", "a:1", "sidecar.follow", `"a:1"`},
		{"HAPROXY_API_HAPROXY__MODE", "command", "haproxy.mode", `"command"`},
		{"HAPROXY_API_SINKS__EDGE__CONFIG_FILE", "c", "sinks.edge.config_file", `"c"`},
		{"HAPROXY_API_SINKS__EDGE__PORT", "3", "sinks.edge.port", `"3"`},
		{"HAPROXY_API_SINKS__EDGE__TAGS", `["c"]`, "sinks.edge.tags", `["c"]`},
		{"HAPROXY_API_SINKS__EDGE__NESTED__DEEP__ON", "c", "sinks.edge.nested.deep.on", `"c"`},
		{"HAPROXY_API_SINKS__MY_SPARE__PATH", "p", "sinks.My-Spare.path", `"p"`},
		{"HAPROXY_API_PLUGINS__NGINX__ARGS", "-a,-b", "plugins.nginx.args", `["-a","-b"]`},
		{"HAPROXY_API_PLUGINS__NGINX__ENV", `{"A":"b"}`, "plugins.nginx.env.A", `"***"`},
		{"HAPROXY_API_PLUGINS__NGINX__ENV__OTHER__KEY", "b", "plugins.nginx.env.OTHER__KEY", `"***"`},
		{"HAPROXY_API_PLUGINS__NGINX__ENV__MIXED__CASE", "b", "plugins.nginx.env.Mixed__Case", `"***"`},
		{"HAPROXY_API_PIPELINES__EDGE__TEMPLATE", "t", "pipelines.edge.template", `"t"`},
		{"HAPROXY_API_PIPELINES__EDGE__FILES__ROUTES__MAP", "t", `pipelines.edge.files."routes.map"`, `"t"`},
		{"HAPROXY_API_PIPELINES__EDGE__FILES__NEW__MAP", "t", `pipelines.edge.files."new.map"`, `"t"`},
		{"HAPROXY_API_PIPELINES__EDGE__FILES", `{"new.map":"t"}`, `pipelines.edge.files."new.map"`, `"t"`},
		{"HAPROXY_API_PIPELINES__EDGE__DELIMS", "[[,]]", "pipelines.edge.delims", ""},
		{"HAPROXY_API_PIPELINES__EDGE__DELIMS", "<<,>>", "pipelines.edge.delims", `["<<",">>"]`},
		{"HAPROXY_API_PIPELINES__EDGE__VARS__LIMIT", "7", "pipelines.edge.vars.limit", "7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			extra := "\n[sources.z]\ntype='file'\n[sinks.My-Spare]\ntype='file'\n"
			c, err := config.Load(config.Options{
				File:    write(t, "general.toml", read(t, "testdata/general.toml")+extra),
				Environ: []string{test.name + "=" + test.set},
			})
			if test.want == "" {
				if err == nil {
					t.Error("no fault")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, origin := value(t, c, test.key)
			if got != test.want || origin != "environment "+test.name {
				t.Errorf("%s = %s from %s", test.key, got, origin)
			}
		})
	}
}

func TestEnvironment_Precedence(t *testing.T) {
	names := []string{"HAPROXY_API_HAPROXY_PIDFILE", "HAPROXY_API_HAPROXY_PID_FILE", "HAPROXY_API_HAPROXY__PID_FILE"}
	for i := range names {
		var environ []string
		for _, name := range slices.Backward(names[:i+1]) {
			environ = append(environ, name+"="+name)
		}
		got, origin := value(t, load(t, config.Options{Environ: environ}), "haproxy.pid_file")
		if got != `"`+names[i]+`"` || origin != "environment "+names[i] {
			t.Errorf("with %q: %s from %s", environ, got, origin)
		}
	}
	environ := []string{
		"HAPROXY_API_SOURCES__S__NEST__A=changed", `HAPROXY_API_SOURCES__S={"type": "file", "nest": {"a": "b", "c": "d"}}`,
	}
	c := load(t, config.Options{Environ: environ})
	a, origin := value(t, c, "sources.s.nest.a")
	if a != `"changed"` || origin != "environment HAPROXY_API_SOURCES__S__NEST__A" {
		t.Errorf("a key that is set in addition to its table: %s from %s", a, origin)
	}
	if a, origin := value(t, c, "sources.s.nest.c"); a != `"d"` || origin != "environment HAPROXY_API_SOURCES__S" {
		t.Errorf("a key of a table that is set as a whole: %s from %s", a, origin)
	}
}

func TestEnvironment_IgnoresVariablesOfOthers(t *testing.T) {
	environ := []string{
		"PATH=/bin", "HAPROXY_VERSION=2.6.12", "HAPROXY_API_CONFIG_FILE=x.toml", "odd", "HAPROXY_API_", "HAPROXY_API_FOO=",
		"HAPROXY_API_ADDRESS=http://a:1",
		// Set by Kubernetes for the services haproxy-api, haproxy-api-haproxy and haproxy-api-sidecar.
		"HAPROXY_API_SERVICE_HOST=10.0.0.1", "HAPROXY_API_SERVICE_PORT=7778", "HAPROXY_API_SERVICE_PORT_HTTP=7778",
		"HAPROXY_API_PORT=tcp://10.0.0.1:7778", "HAPROXY_API_PORT_7778_TCP=tcp://10.0.0.1:7778",
		"HAPROXY_API_PORT_7778_TCP_PROTO=tcp",
		"HAPROXY_API_PORT_7778_TCP_PORT=7778", "HAPROXY_API_PORT_7778_TCP_ADDR=10.0.0.1",
		"HAPROXY_API_HAPROXY_SERVICE_HOST=10.0.0.1", "HAPROXY_API_HAPROXY_PORT_80_UDP=x",
		"HAPROXY_API_SIDECAR_SERVICE_PORT=1", "HAPROXY_API_EDGE_PORT=udp://10.0.0.1:1", "HAPROXYAPI_SERVICE_HOST=10.0.0.1",
		// Set by Docker for a link named haproxy-api.
		"HAPROXY_API_NAME=/web/haproxy_api", "HAPROXY_API_ENV_FOLLOW=a:1", "HAPROXY_API_ENV_HAPROXY_API_SINKS__EDGE__TYPE=x",
	}
	c := load(t, config.Options{Environ: environ})
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
	for _, v := range c.Values() {
		if v.Origin != "default" {
			t.Errorf("%s is from %s", v.Key, v.Origin)
		}
	}
}

func TestEnvironment_UnknownVariablesAreFaults(t *testing.T) {
	for name, nearest := range map[string]string{
		"HAPROXY_API_FOLOW":                "HAPROXY_API_FOLLOW",
		"HAPROXY_API_CONFIGFILE":           "HAPROXY_API_CONFIG_FILE",
		"HAPROXY_API_HAPROXY_USE_HOSTNAME": "HAPROXY_API_HAPROXY_USE_HOSTNAMES",
		"HAPROXY_API_HAPROXY_API_BINDPORT": "HAPROXY_API_HAPROXY_API_BIND_PORT",
		"HAPROXYAPI_LOGGINGLEVEL":          "HAPROXYAPI_LOGGING_LEVEL",
		"HAPROXY_API_UPDATE_TOKN":          "HAPROXY_API_UPDATE_TOKEN",
		"HAPROXY_API_PORT":                 "HAPROXY_API_BIND_PORT",
		"HAPROXY_API_SOMETHING_ELSE":       "HAPROXY_API_",
	} {
		_, err := config.Load(config.Options{Environ: []string{name + "=30s"}})
		faults, _ := errors.AsType[config.Faults](err)
		if len(faults) != 1 || faults[0].Origin != "environment "+name || !strings.Contains(faults[0].Problem, nearest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := config.Load(config.Options{Environ: []string{"HAPROXY_API_SIDECAR_RESYNC_INTERVAL=30s"}}); err != nil {
		t.Error(err)
	}
}

func TestSet(t *testing.T) {
	for _, test := range []struct{ set, key, want string }{
		{"haproxy.pid_file=a=b", "haproxy.pid_file", `"a=b"`},
		{"haproxy.bind_ip=", "haproxy.bind_ip", `""`},
		{" haproxy.user =me", "haproxy.user", `"me"`},
		{"haproxy_api.bind_port=80", "haproxy_api.bind_port", "80"},
		{"haproxy_api.allow_from=::1,10.0.0.0/8", "haproxy_api.allow_from", `["::1","10.0.0.0/8"]`},
		{"sinks.edge.workers=5", "sinks.edge.workers", `"5"`},
		{`sinks."edge"."dotted.name"=5`, `sinks.edge."dotted.name"`, `"5"`},
		{"pipelines.edge.files.routes.map=r", `pipelines.edge.files."routes.map"`, `"r"`},
		{`pipelines.edge.files."routes.map"=r`, `pipelines.edge.files."routes.map"`, `"r"`},
		{`pipelines.edge.vars.list=["x", 1.5]`, "pipelines.edge.vars.list", `["x",1.5]`},
		{`pipelines.edge.vars={"limit": 9}`, "pipelines.edge.vars.limit", "9"},
	} {
		t.Run(test.set, func(t *testing.T) {
			c := load(t, config.Options{File: "testdata/general.toml", Set: []string{test.set}})
			if got, origin := value(t, c, test.key); got != test.want || origin != "flag --set" {
				t.Errorf("%s = %s from %s", test.key, got, origin)
			}
		})
	}
	for _, key := range []string{"", ".", "a.", ".a", `"a`, `"a"b`, `a."b\q"`, `""`, "a\x00b"} {
		_, err := config.Load(config.Options{Set: []string{key + "=1"}})
		if err == nil || !strings.Contains(err.Error(), "is not a key") {
			t.Errorf("--set %q: %v", key+"=1", err)
		}
	}
}
