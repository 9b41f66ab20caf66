package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

func TestFaults_Values(t *testing.T) {
	const at = "haproxy-api.toml: "
	for _, test := range []struct{ name, content, want string }{
		{"unknown key", "[haproxy]\npidfile='x'", at +
			"haproxy.pidfile is not a known key; did you mean haproxy.pid_file?"},
		{"unknown table", "[pipeline.x]", at + "pipeline is not a known key; did you mean pipelines?"},
		{"key of another table", "[haproxy_api]\ntemplate='x'", at +
			"haproxy_api.template is not a known key; did you mean haproxy.template?"},
		{"key without its table", "pid_file='x'", at + "pid_file is not a known key; did you mean haproxy.pid_file?"},
		{"unlike any key", "[sidecar]\nqqqqqqqq=1", at +
			"sidecar.qqqqqqqq is not a known key; the nearest known one is sidecar.follow"},
		{"unknown in pipeline", general + "bindip='x'", at +
			"pipelines.web.bindip is not a known key; did you mean pipelines.web.bind_ip?"},
		{"unknown in plugin", "[plugins.x]\nsha='1'", at +
			"plugins.x.sha is not a known key; did you mean plugins.x.sha256?"},
		{"quoted name", `"a.b" = 1`, at + `"a.b" is not a known key; the nearest known one is sinks`},

		{"string", "[haproxy]\ntemplate=3", at + "haproxy.template must be a string, not 3"},
		{"bool", "[haproxy]\nruntime='on'", at + `haproxy.runtime must be true or false, not "on"`},
		{"port too large", "[haproxy_api]\nbind_port=65536", at +
			"haproxy_api.bind_port must be a port from 1 to 65535, or 0 for any free port, not 65536"},
		{"port below 0", "[haproxy_api]\nbind_port=-1", at +
			"haproxy_api.bind_port must be a port from 1 to 65535, or 0 for any free port, not -1"},
		{"port as string", "[haproxy_api]\nbind_port='http'", at +
			`haproxy_api.bind_port must be a port from 1 to 65535, or 0 for any free port, not "http"`},
		{"level", "[haproxy_api]\nlogging_level='loud'", at +
			`haproxy_api.logging_level must be debug, info, warn or error, not "loud"`},
		{"format", "[haproxy_api]\nlogging_format='xml'", at +
			`haproxy_api.logging_format must be "text" or "json", not "xml"`},
		{"duration without unit", "[sidecar]\nhold=30", at +
			`sidecar.hold must be a duration such as "30s", "5m" or "0s", not 30`},
		{"duration below 0", "[sidecar]\nhold='-1s'", at +
			`sidecar.hold must be a duration such as "30s", "5m" or "0s", not "-1s"`},
		{"fraction", "[sidecar]\nmax_drop=1.5", at +
			"sidecar.max_drop must be a number from 0 to 1, such as 0.5, not 1.5"},
		{"not a number", "[sidecar]\nmax_drop=nan", at +
			"sidecar.max_drop must be a number from 0 to 1, such as 0.5, not NaN"},
		{"count", "[sidecar]\nmin_instances=-1", at +
			"sidecar.min_instances must be a number of instances, at least 0, not -1"},
		{"network", "[haproxy_api]\nallow_from=['10.0.0.0/33', '::1']", at +
			`haproxy_api.allow_from must be a list of networks such as ["10.0.0.0/8", "::1"], not ["10.0.0.0/33","::1"]`},
		{"size", "[haproxy_api]\nmax_body='64 apples'", at +
			`haproxy_api.max_body must be a number of bytes, at least 1, or a string such as "64MiB", not "64 apples"`},
		{"size 0", "[haproxy_api]\nmax_body=0", at +
			`haproxy_api.max_body must be a number of bytes, at least 1, or a string such as "64MiB", not 0`},
		{"size too large", "[haproxy_api]\nmax_body='20000000000 GiB'", at +
			`haproxy_api.max_body must be a number of bytes, at least 1, or a string such as "64MiB", not "20000000000 GiB"`},
		{"origin", "[haproxy_api]\ncors_origins=['https://a/b']", at +
			`haproxy_api.cors_origins must be a list of origins such as ["https://example.com"], not ["https://a/b"]`},
		{"host with a port", "[haproxy_api]\nallowed_hosts=['a.example:80']", at +
			`haproxy_api.allowed_hosts must be a list of host names such as ["edge.example.com", "*.internal"], ` +
			`not ["a.example:80"]`},
		{"protected reads without credentials", "[haproxy_api]\nprotect_reads=true", at + "haproxy_api.protect_reads needs " +
			"haproxy_api.update_token or haproxy_api.client_ca; otherwise nobody could read"},
		{"URL", "[sidecar]\nstate_url='localhost:7777'", at +
			`sidecar.state_url must be a URL such as "http://localhost:7777/state.json", not "localhost:7777"`},
		{"address", "[sidecar]\nfollow='http://a:1'", at +
			`sidecar.follow must be an address such as "sidecar.example.com:7777", not "http://a:1"`},
		{"address without port", "[sidecar]\nfollow='a'", at +
			`sidecar.follow must be an address such as "sidecar.example.com:7777", not "a"`},
		{"address with port 0", "[sidecar]\nfollow='a:0'", at +
			`sidecar.follow must be an address such as "sidecar.example.com:7777", not "a:0"`},
		{"empty service name", "[sidecar]\nsubscriptions=['']", at +
			`sidecar.subscriptions must be a list of service names, not [""]`},
		{"white space", "[haproxy]\nuser='a b'", at + `haproxy.user must be the name of a user, not "a b"`},
		{"line break", "[haproxy]\nbind_ip=\"0.0.0.0\\nglobal\"", at +
			`haproxy.bind_ip must be an IP address, not "0.0.0.0\nglobal"`},
		{"no file", "[haproxy]\nconfig_file=''", at + `haproxy.config_file must be the path of a file, not ""`},
		{"mode", "[haproxy]\nmode='auto'", at + `haproxy.mode must be "managed" or "command", not "auto"`},
		{"table", "haproxy=3", at + "haproxy must be a table, not 3"},
		{"named tables", "plugins='x'", at + `plugins must be a table of named tables, not "x"`},
		{"component", "sources.s='x'", at + `sources.s must be a table, not "x"`},
		{"array of tables", "[[sinks.k]]", at + "sinks.k must be a table, not [{}]"},
		{"long value", "[haproxy]\nmode='" + strings.Repeat("é", 100) + "'", at +
			`haproxy.mode must be "managed" or "command", not "` + strings.Repeat("é", 80) + `…"`},
		{"secret of a wrong type", "[haproxy_api]\nupdate_token=1234", at +
			"haproxy_api.update_token must be a string, not \"***\""},
		{"secret in an address", "[sidecar]\nstate_url='ftp://me:hush@host'", at +
			`sidecar.state_url must be a URL such as "http://localhost:7777/state.json", not "ftp://***@host"`},

		{"name", "[sources.'../s']\ntype='file'", at +
			`sources."../s" is not a valid name: 1 to 64 letters, ` +
			"digits, dots, dashes and underscores, starting with a letter or a digit"},
		{"type", "[sources.s]\ntype='../x'", at + `sources.s.type must be a valid name: 1 to 64 letters, ` +
			`digits, dots, dashes and underscores, starting with a letter or a digit, not "../x"`},
		{"type that is no string", "[sinks.k]\ntype=1", at +
			`sinks.k.type must be a valid name: 1 to 64 letters, ` +
			`digits, dots, dashes and underscores, starting with a letter or a digit, not 1`},
		{"no type", "[sinks.k]\npath='x'", at + `sinks.k needs a type, such as "file"`},
		{"checksum", "[plugins.x]\nsha256='abc'", at +
			`plugins.x.sha256 must be a SHA-256 of 64 hexadecimal digits, not "abc"`},
		{"arguments", "[plugins.x]\nargs=[1]", at + `plugins.x.args must be a list of strings, not [1]`},
		{"environment", "[plugins.x]\nenv={A=1}", at +
			`plugins.x.env.A must be a string, under the name of an environment variable, not "***"`},

		{"certificate without key", "[haproxy_api]\ntls_cert='c'", at +
			"haproxy_api.tls_cert is set without haproxy_api.tls_key"},
		{"key without certificate", "[haproxy_api]\ntls_key='k'", at +
			"haproxy_api.tls_key is set without haproxy_api.tls_cert"},
		{"authority without certificate", "[haproxy_api]\nclient_ca='c'", at +
			"haproxy_api.client_ca is set without haproxy_api.tls_cert and haproxy_api.tls_key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, clean := inFile(t, test.content)
			_, err := config.Load(o)
			if err == nil || clean(err.Error()) != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if _, ok := errors.AsType[config.Faults](err); !ok {
				t.Errorf("the error is %T", err)
			}
		})
	}
}

func TestFaults_Pipelines(t *testing.T) {
	const at = "haproxy-api.toml: "
	for _, test := range []struct{ name, old, new, want string }{
		{"no source", `source = "s"`, "", at + "pipelines.web needs a source"},
		{"no sink", `sink = "k"`, "", at + "pipelines.web needs a sink"},
		{"unknown source", `source = "s"`, `source = "z"`, at +
			`pipelines.web.source is "z", which is not one of the sources; did you mean "s"?`},
		{"unknown sink", "[sinks.k]\ntype = \"file\"", "", at +
			`pipelines.web.sink is "k", which is not one of the sinks`},
		{"source that is no string", `source = "s"`, "source = 1", at + "pipelines.web.source must be a string, not 1"},
		{"source that is no table", "[sources.s]\ntype = \"file\"", "[sources]\ns = 1", at +
			"sources.s must be a table, not 1"},
		{"one sink for two", "[pipelines.web]", "[pipelines.api]\nsource='s'\nsink='k'\n[pipelines.web]", at +
			`pipelines.web.sink is "k", which pipelines.api already uses; ` +
			`two pipelines would overwrite each other's documents`},
		{"sink of the shorthand", `sink = "k"`, "sink = 'haproxy'\n[haproxy]\nuser='me'", at +
			`pipelines.web.sink is "haproxy", which the table haproxy already uses; ` +
			`two pipelines would overwrite each other's documents`},
		{"source of the shorthand", "[sources.s]",
			"[sidecar]\nfollow='a:1'\n[sources.sidecar]\ntype='file'\n[sources.s]", at +
				"sources.sidecar has the name that the table sidecar defines; choose another name"},
		{"names of the shorthand", "[sinks.k]", "[haproxy]\nuser='me'\n[sinks.haproxy]\ntype='file'\n[sinks.k]", at +
			"sinks.haproxy has the name that the table haproxy defines; choose another name"},
		{"pipeline of the shorthand", "[pipelines.web]", "[haproxy]\nuser='me'\n[pipelines.haproxy]", at +
			"pipelines.haproxy has the name that the table haproxy defines; choose another name"},
		{"one delimiter", `sink = "k"`, "sink = 'k'\ndelims=['<%']", at +
			`pipelines.web.delims must be two strings that are not empty, such as ["{{", "}}"], not ["<%"]`},
		{"empty delimiter", `sink = "k"`, "sink = 'k'\ndelims=['<%', '']", at +
			`pipelines.web.delims must be two strings that are not empty, such as ["{{", "}}"], not ["<%",""]`},
		{"malformed pattern", `sink = "k"`, "sink = 'k'\nwatch=['/certs/[']", at +
			`pipelines.web.watch must be a list of file patterns such as ["/etc/haproxy/certs/*.pem"], not ["/certs/["]`},
		{"empty pattern", `sink = "k"`, "sink = 'k'\npartials=['']", at +
			`pipelines.web.partials must be a list of file patterns, not [""]`},
		{"empty companion", `sink = "k"`, "sink = 'k'\nfiles={'a.map'=''}", at +
			`pipelines.web.files."a.map" must be the path of a template, under a relative file name without "..", not ""`},
		{"companion file outside the directory", `sink = "k"`, "sink = 'k'\nfiles={'../a'='b'}", at +
			`pipelines.web.files."../a" must be the path of a template, under a relative file name without "..", not "b"`},
		{"variables", `sink = "k"`, "sink = 'k'\nvars=[1]", at + "pipelines.web.vars must be a table, not [1]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, clean := inFile(t, strings.Replace(general, test.old, test.new, 1))
			if _, err := config.Load(o); err == nil || clean(err.Error()) != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestFaults_Syntax(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"a.toml", "[haproxy]\nuser = 'a' b\n", "a.toml:2:12: cannot be read as TOML: expected newline but got U+0062 'b'"},
		{"twice.toml", "[haproxy]\nuser = 'a'\nuser = 'b'\n",
			"twice.toml: cannot be read as TOML: key user is already defined"},
		{"a.yaml", "haproxy:\n  user: 'a\n", "a.yaml: cannot be read as YAML: line 2: found unexpected end of stream"},
		{"list.yaml", "- a\n", "list.yaml: cannot be read as YAML: " +
			"unmarshal errors: line 1: cannot unmarshal !!seq into map[string]interface {}"},
		{"a.json", "{\n \"haproxy\": {,}\n}", "a.json:2:14: cannot be read as JSON: " +
			"invalid character ',' looking for beginning of object key string"},
		{"short.json", "{", "short.json:1:1: cannot be read as JSON: unexpected end of JSON input"},
		{"list.json", "[]", "list.json: must be a single JSON object"},
		{"a.ini", "", `a.ini: has the extension ".ini"; a configuration is TOML (.toml), YAML (.yaml) or JSON (.json)`},
		{"large.toml", strings.Repeat("#", 256<<10+1), "large.toml: is larger than 256 KiB"},
		{"nul.json", `{"haproxy\u0000user": 1}`, `nul.json: contains a control character in the key "haproxy\x00user"`},
		{"deep.toml", strings.Repeat("a.", 100) + "a=1", "deep.toml: is nested more than 64 levels deep"},
		{"brackets.toml", "a=" + strings.Repeat("[", 256<<10-2),
			"brackets.toml:1:262145: cannot be read as TOML: expected character ] but the document ended here"},
		{"braces.toml", "a=" + strings.Repeat("{a=", 87_000),
			"braces.toml:1:261003: cannot be read as TOML: expected value, not eof"},
		{"many.json", `{"vars":[` + strings.Repeat("0,", 100_000) + `0]}`, "many.json: contains more than 100000 values"},
		{"huge.yaml", "sources: {s: {type: file, n: 18446744073709551615}}",
			"huge.yaml: contains 18446744073709551615, which is out of range"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := write(t, test.name, test.content)
			_, err := config.Load(config.Options{File: file})
			if err == nil || strings.TrimPrefix(err.Error(), filepath.Dir(file)+string(filepath.Separator)) != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

// The origin of a missing key is the place that sets the rest of its table.
func TestFaults_MissingKeys(t *testing.T) {
	o, clean := inFile(t, "[sinks.k]\npath='x'\n")
	o.Environ = []string{"HAPROXY_API_SINKS__K__PATH=y", "HAPROXY_API_SOURCES__S__PATH=z"}
	want := "environment HAPROXY_API_SOURCES__S__PATH: sources.s needs a type, such as \"file\"\n" +
		"haproxy-api.toml: sinks.k needs a type, such as \"file\""
	if _, err := config.Load(o); err == nil || clean(err.Error()) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestFaults_MissingFile(t *testing.T) {
	for file, want := range map[string]string{
		"absent.toml":  "absent.toml: does not exist; create it, or name another file with --config-file",
		"testdata":     `testdata: has the extension ""; a configuration is TOML (.toml), YAML (.yaml) or JSON (.json)`,
		"dir.toml":     "dir.toml: is not a regular file",
		"a.toml/b.yml": "a.toml/b.yml: cannot be read: not a directory",
	} {
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			if err := errors.Join(os.Mkdir("dir.toml", 0o700), os.WriteFile("a.toml", nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(config.Options{File: file, Named: true}); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// A YAML file whose aliases multiply is a fault and does not take gigabytes of memory.
func TestFaults_AliasBomb(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "*" + string(c-1) + "]\n"
	}
	if _, err := config.Load(config.Options{File: write(t, "bomb.yaml", bomb)}); err == nil {
		t.Error("no fault")
	}
}

func TestFaults_EnvironmentValues(t *testing.T) {
	for name, want := range map[string]string{
		"HAPROXY_API_HAPROXY_RUNTIME=maybe":         "haproxy.runtime must be true or false, not \"maybe\"",
		"HAPROXY_API_SIDECAR_MIN_INSTANCES=x":       `sidecar.min_instances must be a number of instances, at least 0, not "x"`,
		"HAPROXY_API_PIPELINES__P={":                "pipelines.p must be a table, not \"{\"",
		"HAPROXY_API_PLUGINS__P__ENV=a":             `plugins.p.env must be a table of environment variables, not "***"`,
		"HAPROXY_API_HAPROXY__TEMPLATE__X=a":        "haproxy.template must be a string, not a table",
		"HAPROXY_API_HAPROXY=[1":                    "is not a known variable; the nearest known one is HAPROXY_API_HAPROXY_MODE",
		"HAPROXY_API_SIDECAR__SUBSCRIPTIONS=[\"a\"": "sidecar.subscriptions must be a list of service names, not \"[\\\"a\\\"\"",
	} {
		got := ""
		if _, err := config.Load(config.Options{Environ: []string{name}}); err != nil {
			got = err.Error()
		}
		variable, _, _ := strings.Cut(name, "=")
		if want = "environment " + variable + ": " + want; got != want {
			t.Errorf("%s\ngot  %s\nwant %s", name, got, want)
		}
	}
}

func TestFaults_AreAllReported(t *testing.T) {
	o, clean := inFile(t, "[haproxy]\npidfile='x'\nruntime='no'\n[sinks.k]\n[pipelines.web]\nsource='s'\nsink='k'\n")
	// Values that another place overrides are reported too.
	o.Environ = []string{"HAPROXY_API_HAPROXY__RUNTIME=true", "HAPROXY_API_HAPROXY_BIND_IP=a b", "HAPROXY_API_FOO__BAR=1"}
	o.Set = []string{"nonsense", "a..b=1", "haproxy.usr=me", "sidecar=3"}
	o.Flags = flags(t, "--log-level", "loud")
	want := `haproxy-api.toml: haproxy.pidfile is not a known key; did you mean haproxy.pid_file?
haproxy-api.toml: haproxy.runtime must be true or false, not "no"
environment HAPROXY_API_FOO__BAR: foo is not a known key; the nearest known one is sinks
environment HAPROXY_API_HAPROXY_BIND_IP: haproxy.bind_ip must be an IP address, not "a b"
flag --set: "nonsense" is not key=value
flag --set: "a..b" is not a key: write table.key, with quotes around parts that contain dots
flag --set: haproxy.usr is not a known key; did you mean haproxy.user?
flag --set: sidecar must be a table, not 3
flag --log-level: haproxy_api.logging_level must be debug, info, warn or error, not "loud"
haproxy-api.toml: sinks.k needs a type, such as "file"
haproxy-api.toml: pipelines.web.source is "s", which is not one of the sources; did you mean "sidecar"?`
	_, err := config.Load(o)
	if err == nil || clean(err.Error()) != want {
		t.Errorf("got\n%v\nwant\n%s", clean(err.Error()), want)
	}
}
