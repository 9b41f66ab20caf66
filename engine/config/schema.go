package config

import (
	"math"
	"path/filepath"
	"strings"
)

// schema returns every key with its default and its kind, which stores the key's value in c.
func (c *Config) schema() table {
	c.Sources, c.Sinks = map[string]Source{}, map[string]Component{}
	c.Plugins, c.Pipelines = map[string]Plugin{}, map[string]Pipeline{}
	source := func(s *Source) kind { return block{&s.Component, s.Guard.schema()} }
	sink := func(s *Component) kind { return block{s, nil} }
	plugin := func(p *Plugin) kind { return p.schema() }
	pipeline := func(p *Pipeline) kind { return p.schema() }
	return table{
		{"haproxy_api", nil, c.API.schema(),
			"The daemon itself: its address, who may send requests, and its log."},
		{"sidecar", nil, c.Sidecar.schema(),
			"The Sidecar that haproxy-api gets the state from. The table is shorthand for a source with the name `sidecar`."},
		{"haproxy", nil, c.HAProxy.schema(),
			"The HAProxy that haproxy-api manages, and its template. The table is shorthand for a sink and a pipeline with " +
				"the name `haproxy`."},
		{"tracing", nil, c.Tracing.schema(),
			"Traces of the changes for OpenTelemetry."},
		{"sources", nil, namedTable[Source]{c.Sources, source},
			"Where snapshots come from, by name."},
		{"sinks", nil, namedTable[Component]{c.Sinks, sink},
			"What documents are applied to, by name."},
		{"plugins", nil, namedTable[Plugin]{c.Plugins, plugin},
			"How to start the programs of types that are not built in, by type. A table is needed only if the program is not " +
				"found by its name."},
		{"plugin_dir", "/usr/lib/haproxy-api/plugins", readPath(&c.PluginDir),
			"The directory in which the programs of plugins are searched first."},
		{"pipelines", nil, namedTable[Pipeline]{c.Pipelines, pipeline},
			"What connects a source, a template and a sink, by name."},
	}
}

func (a *API) schema() table {
	return table{
		{"bind_ip", "0.0.0.0", word(&a.BindIP, "an IP address or a host name"),
			"The address at which the daemon listens for pushes, probes and the API."},
		{"bind_port", int64(7778), port(&a.BindPort),
			"The port at which the daemon listens."},
		{"logging_level", "info", logLevel(&a.LoggingLevel),
			"The least important level that is logged. The levels of haproxy-api 0.9 are accepted too: trace, warning, fatal " +
				"and panic."},
		{"logging_format", "text", oneOf(&a.LoggingFormat, "text", "json"),
			"The format of the log on standard error. A change takes effect after a restart."},
		{"state_dir", "", writeDirectory(&a.StateDir),
			"The directory for the last good snapshot, the last applied document and the history, so that they survive a " +
				"restart. Empty keeps them in memory only. A change takes effect after a restart."},
		{"update_token", "", anyString(&a.UpdateToken),
			"The secret that requests which change something have to present, as a password or as a bearer token. Empty " +
				"requires none."},
		{"update_token_file", "", readPath(&a.UpdateTokenFile),
			"The file that contains the value of `update_token`. Only one of the two keys may be set."},
		{"allow_from", []any{}, networks(&a.AllowFrom),
			"The networks and addresses from which requests that change something are accepted. An empty list accepts all."},
		{"tls_cert", "", readPath(&a.TLSCert),
			"The PEM file of the certificate of the daemon, followed by the intermediate certificates. With it and `tls_key` " +
				"the daemon serves HTTPS only."},
		{"tls_key", "", readPath(&a.TLSKey),
			"The PEM file of the private key of `tls_cert`."},
		{"client_ca", "", readPath(&a.ClientCA),
			"The PEM file of the authorities whose client certificates are accepted. With it, requests that change something " +
				"need one."},
		{"max_body", "64MiB", size(&a.MaxBody),
			"The maximum length of a push."},
		{"cors_origins", []any{}, stringList(&a.CORSOrigins, `a list of origins such as ["https://example.com"]`, isOrigin),
			"The origins whose pages may read the API in a browser. `*` stands for all."},
		{"protect_reads", false, boolean(&a.ProtectReads),
			"Whether reads need the token or a client certificate too, except those of `/live`, `/ready` and `/health`. It " +
				"needs `update_token` or `client_ca`."},
		{"allowed_hosts", []any{}, stringList(&a.AllowedHosts,
			`a list of host names such as ["edge.example.com", "*.internal"]`, hostPattern.MatchString),
			"The host names that requests may use for the daemon, in addition to addresses, names without a dot and the name " +
				"of the machine. `*` stands for all, and `*.` at the beginning for any labels."},
	}
}

func (s *Sidecar) schema() table {
	return append(table{
		{"state_url", "http://localhost:7777/state.json", httpURL(&s.StateURL, "http://localhost:7777/state.json"),
			"The URL from which the whole state is fetched at the start and after lost pushes. Empty disables that. It is not " +
				"used with `follow`."},
		{"state_url_file", "", readPath(&s.StateURLFile),
			"The file that contains the value of `state_url`. Only one of the two keys may be set."},
		{"follow", "", hostPort(&s.Follow),
			"The address of a Sidecar whose changes haproxy-api follows instead of waiting for pushes. Empty waits for " +
				"pushes."},
		{"resync_interval", "1m", duration(&s.ResyncInterval),
			"How long after the last push, or the last change that was followed, the whole state is fetched, in case a change " +
				"was lost. `0s` disables that; it is not valid with `follow`."},
		{"redirect_hosts", []any{}, stringList(&s.RedirectHosts, `a list of hosts such as ["sidecar.internal:7777"]`, notEmpty),
			"The hosts to which `state_url` may redirect, in addition to its own. Each has its port, unless it is the default " +
				"port of the scheme."},
		{"subscriptions", []any{}, stringList(&s.Subscriptions, "a list of service names", notEmpty),
			"The names of the services to use. An empty list uses all."},
	}, s.Guard.schema()...)
}

func (g *Guard) schema() table {
	return table{
		{"max_drop", 0.5, fraction(&g.MaxDrop),
			"The fraction of the live instances that may go away within `hold`. A snapshot that lacks more is held."},
		{"min_instances", int64(10), integer(&g.MinInstances, 0, math.MaxInt32, "a number of instances, at least 0"),
			"The number of live instances below which only the last one is guarded."},
		{"hold", "30s", duration(&g.Hold),
			"How long a snapshot that lacks too many instances is held before it is used. `0s` disables the guard."},
	}
}

// schema returns the keys of the table haproxy. The default of bind_ip means the same as in haproxy-api 0.9, which left the
// address out. haproxy-api 0.9 had no defaults for the files: ours are in a directory of their own, so that a distribution's
// /etc/haproxy/haproxy.cfg is replaced only if the user asks for it. The default of mode depends on reload_cmd: see
// defaultValues.
func (h *HAProxy) schema() table {
	return table{
		{"bind_ip", "0.0.0.0", word(&h.BindIP, "an IP address"),
			"The address at which HAProxy listens: the value of `bindIP` in templates."},
		{"template", "", readPath(&h.Template),
			"The file of the template. Empty uses the built-in template."},
		{"config_file", "/var/run/haproxy-api/haproxy.cfg", writePath(&h.ConfigFile),
			"The configuration file of HAProxy, which haproxy-api writes. Companion files are written to its directory."},
		{"pid_file", "/var/run/haproxy-api/haproxy.pid", writePath(&h.PIDFile),
			"The file to which HAProxy writes its process ID. HAProxy's sockets are in the same directory."},
		{"reload_cmd", "", anyString(&h.ReloadCmd),
			"The command that starts and reloads HAProxy, for bash. Empty lets haproxy-api start and reload HAProxy itself."},
		{"verify_cmd", "", anyString(&h.VerifyCmd),
			"The command that checks the configuration, for bash, instead of `haproxy -c`."},
		{"user", "", word(&h.User, "the name of a user"),
			"The user as which HAProxy runs: the value of `.User` in templates."},
		{"group", "", word(&h.Group, "the name of a group"),
			"The group as which HAProxy runs: the value of `.Group` in templates."},
		{"use_hostnames", false, boolean(&h.UseHostnames),
			"Whether servers have the host names of their instances instead of their addresses."},
		{"binary", "haproxy", readProgram(&h.Binary),
			"The HAProxy program: a name that is searched in `PATH`, or a path."},
		{"mode", nil, oneOf(&h.Mode, modeManaged, modeCommand),
			"Whether haproxy-api runs HAProxy itself, as a master process with workers, or a command does. By default a " +
				"command does if `reload_cmd` is set."},
		{"reload_interval", "5s", duration(&h.ReloadInterval),
			"The least time between two reloads. Changes that need no reload do not wait."},
		{"drain_timeout", "30s", duration(&h.DrainTimeout),
			"How long removed servers, and workers that a reload has replaced, may finish their connections."},
		{"max_old_workers", int64(10), integer(&h.MaxOldWorkers, 0, math.MaxInt32, "a number of workers, at least 0"),
			"How many workers that reloads have replaced may finish their connections at the same time. 0 does not limit " +
				"them."},
		{"on_exit", "leave", oneOf(&h.OnExit, "leave", "stop"),
			"What happens to HAProxy when haproxy-api is stopped: it continues, or it is stopped too. It always stops with a " +
				"haproxy-api that is process 1 of a container."},
		{"runtime", true, boolean(&h.Runtime),
			"Whether servers are changed in the running HAProxy where no reload is needed."},
		{"watch", []any{}, readPatterns(&h.Watch),
			"Patterns of files that HAProxy reads in addition to the configuration, such as certificates. HAProxy is reloaded " +
				"when one of them changes."},
	}
}

func (t *Tracing) schema() table {
	return table{
		{"enabled", false, boolean(&t.Enabled),
			"Whether traces of the changes are sent to an OpenTelemetry collector."},
		{"endpoint", "", httpURL(&t.Endpoint, "http://localhost:4318"),
			"The URL of the collector; `/v1/traces` is appended. Empty uses the one in OpenTelemetry's environment variables, " +
				"or `http://localhost:4318`."},
		{"sample", 1.0, fraction(&t.Sample),
			"The fraction of the changes that are traced."},
	}
}

const (
	modeManaged = "managed"
	modeCommand = "command"
)

func (p *Plugin) schema() table {
	return table{
		{"path", nil, readPath(&p.Path),
			"The program of the plugin. Without it, haproxy-api searches `haproxy-api-sink-TYPE` or `haproxy-api-source-TYPE` " +
				"in `plugin_dir` and then in `PATH`."},
		{"sha256", nil, stringLike(&p.SHA256, "a SHA-256 of 64 hexadecimal digits", sha256Pattern.MatchString),
			"The SHA-256 of the program. A program with another one is not started."},
		{"args", nil, stringList(&p.Args, "a list of strings", func(string) bool { return true }),
			"The arguments of the program."},
		{"env", nil, stringTable{
			into:    &p.Env,
			want:    "a table of environment variables",
			item:    "a string, under the name of an environment variable",
			valid:   func(name, _ string) bool { return name != "" && !strings.Contains(name, "=") },
			fromEnv: func(parts []string) string { return strings.Join(parts, "__") },
		},
			"Environment variables for the program, in addition to those of haproxy-api. Their values are masked like " +
				"secrets."},
	}
}

func (p *Pipeline) schema() table {
	return table{
		{"source", nil, anyString(&p.Source),
			"The name of the source, which is required. One source may feed several pipelines."},
		{"sink", nil, anyString(&p.Sink),
			"The name of the sink, which is required. Each sink belongs to one pipeline."},
		{"template", "", readPath(&p.Template),
			"The file of the template. Empty uses the built-in template."},
		{"files", nil, stringTable{
			into:    &p.Files,
			want:    "a table of companion files and their templates",
			item:    `the path of a template, under a relative file name without ".."`,
			valid:   func(name, template string) bool { return filepath.IsLocal(name) && template != "" },
			fromEnv: func(parts []string) string { return strings.ToLower(strings.Join(parts, ".")) },
			use:     ReadsFile,
		},
			"The templates of companion files, such as maps, by the names that the files get beside the document."},
		{"partials", []any{}, stringList(&p.Partials, "a list of file patterns", notEmpty).used(ReadsPattern),
			"Patterns of files with further templates, which the template can include."},
		{"watch", []any{}, readPatterns(&p.Watch),
			"Patterns of files that the program of the sink reads in addition to the document. The program loads them again " +
				"when one of them changes."},
		{"delims", []any{"{{", "}}"}, delimiters(&p.Delims),
			"The delimiters of the actions in the templates."},
		{"vars", nil, variables{&p.Vars},
			"Values for the templates, where they are `.Vars`. They may have any type."},
		// The defaults of the inheritedKeys are the values of the table haproxy: see defaultValues.
		{"bind_ip", nil, word(&p.BindIP, "an IP address"),
			"As in `[haproxy]`, for the template of this pipeline. The default is the value there."},
		{"use_hostnames", nil, boolean(&p.UseHostnames),
			"As in `[haproxy]`, for the template of this pipeline. The default is the value there."},
		{"user", nil, word(&p.User, "the name of a user"),
			"As in `[haproxy]`, for the template of this pipeline. The default is the value there."},
		{"group", nil, word(&p.Group, "the name of a group"),
			"As in `[haproxy]`, for the template of this pipeline. The default is the value there."},
	}
}

// inheritedKeys are the keys whose values a pipeline inherits from the table haproxy.
var inheritedKeys = []string{"bind_ip", "use_hostnames", "user", "group"}
