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
		{name: "haproxy_api", kind: c.API.schema()},
		{name: "sidecar", kind: c.Sidecar.schema()},
		{name: "haproxy", kind: c.HAProxy.schema()},
		{name: "tracing", kind: c.Tracing.schema()},
		{name: "sources", kind: namedTable[Source]{c.Sources, source}},
		{name: "sinks", kind: namedTable[Component]{c.Sinks, sink}},
		{name: "plugins", kind: namedTable[Plugin]{c.Plugins, plugin}},
		{"plugin_dir", "/usr/lib/haproxy-api/plugins", readPath(&c.PluginDir)},
		{name: "pipelines", kind: namedTable[Pipeline]{c.Pipelines, pipeline}},
	}
}

func (a *API) schema() table {
	return table{
		{"bind_ip", "0.0.0.0", word(&a.BindIP, "an IP address or a host name")},
		{"bind_port", int64(7778), port(&a.BindPort)},
		{"logging_level", "info", logLevel(&a.LoggingLevel)},
		{"logging_format", "text", oneOf(&a.LoggingFormat, "text", "json")},
		{"state_dir", "", writeFolder(&a.StateDir)},
		{"update_token", "", anyString(&a.UpdateToken)},
		{"update_token_file", "", readPath(&a.UpdateTokenFile)},
		{"allow_from", []any{}, networks(&a.AllowFrom)},
		{"tls_cert", "", readPath(&a.TLSCert)},
		{"tls_key", "", readPath(&a.TLSKey)},
		{"client_ca", "", readPath(&a.ClientCA)},
		{"max_body", "64MiB", size(&a.MaxBody)},
		{"cors_origins", []any{}, stringList(&a.CORSOrigins, `a list of origins such as ["https://example.com"]`, isOrigin)},
		{"protect_reads", false, boolean(&a.ProtectReads)},
		{"allowed_hosts", []any{}, stringList(&a.AllowedHosts,
			`a list of host names such as ["edge.example.com", "*.internal"]`, hostPattern.MatchString)},
	}
}

func (s *Sidecar) schema() table {
	return append(table{
		{"state_url", "http://localhost:7777/state.json", httpURL(&s.StateURL, "http://localhost:7777/state.json")},
		{"state_url_file", "", readPath(&s.StateURLFile)},
		{"follow", "", hostPort(&s.Follow)},
		{"resync_interval", "1m", duration(&s.ResyncInterval)},
		{"redirect_hosts", []any{}, stringList(&s.RedirectHosts, `a list of hosts such as ["sidecar.internal:7777"]`, notEmpty)},
		{"subscriptions", []any{}, stringList(&s.Subscriptions, "a list of service names", notEmpty)},
	}, s.Guard.schema()...)
}

func (g *Guard) schema() table {
	return table{
		{"max_drop", 0.5, fraction(&g.MaxDrop)},
		{"min_instances", int64(10), integer(&g.MinInstances, 0, math.MaxInt32, "a number of instances, at least 0")},
		{"hold", "30s", duration(&g.Hold)},
	}
}

// schema returns the keys of the table haproxy. The default of bind_ip means the same as in haproxy-api 0.9, which left the
// address out. haproxy-api 0.9 had no defaults for the files: ours are in a directory of their own, so that a distribution's
// /etc/haproxy/haproxy.cfg is replaced only if the user asks for it. The default of mode depends on reload_cmd: see
// defaultValues.
func (h *HAProxy) schema() table {
	return table{
		{"bind_ip", "0.0.0.0", word(&h.BindIP, "an IP address")},
		{"template", "", readPath(&h.Template)},
		{"config_file", "/var/run/haproxy-api/haproxy.cfg", writePath(&h.ConfigFile)},
		{"pid_file", "/var/run/haproxy-api/haproxy.pid", writePath(&h.PIDFile)},
		{"reload_cmd", "", anyString(&h.ReloadCmd)},
		{"verify_cmd", "", anyString(&h.VerifyCmd)},
		{"user", "", word(&h.User, "the name of a user")},
		{"group", "", word(&h.Group, "the name of a group")},
		{"use_hostnames", false, boolean(&h.UseHostnames)},
		{"binary", "haproxy", readProgram(&h.Binary)},
		{"mode", nil, oneOf(&h.Mode, modeManaged, modeCommand)},
		{"reload_interval", "5s", duration(&h.ReloadInterval)},
		{"drain_timeout", "30s", duration(&h.DrainTimeout)},
		{"max_old_workers", int64(10), integer(&h.MaxOldWorkers, 0, math.MaxInt32, "a number of workers, at least 0")},
		{"on_exit", "leave", oneOf(&h.OnExit, "leave", "stop")},
		{"runtime", true, boolean(&h.Runtime)},
		{"watch", []any{}, readPatterns(&h.Watch)},
	}
}

func (t *Tracing) schema() table {
	return table{
		{"enabled", false, boolean(&t.Enabled)},
		{"endpoint", "", httpURL(&t.Endpoint, "http://localhost:4318")},
		{"sample", 1.0, fraction(&t.Sample)},
	}
}

const (
	modeManaged = "managed"
	modeCommand = "command"
)

func (p *Plugin) schema() table {
	return table{
		{"path", nil, readPath(&p.Path)},
		{"sha256", nil, stringLike(&p.SHA256, "a SHA-256 of 64 hexadecimal digits", sha256Pattern.MatchString)},
		{"args", nil, stringList(&p.Args, "a list of strings", func(string) bool { return true })},
		{"env", nil, stringTable{
			into:    &p.Env,
			want:    "a table of environment variables",
			item:    "a string, under the name of an environment variable",
			valid:   func(name, _ string) bool { return name != "" && !strings.Contains(name, "=") },
			fromEnv: func(parts []string) string { return strings.Join(parts, "__") },
		}},
	}
}

func (p *Pipeline) schema() table {
	return table{
		{"source", nil, anyString(&p.Source)},
		{"sink", nil, anyString(&p.Sink)},
		{"template", "", readPath(&p.Template)},
		{"files", nil, stringTable{
			into:    &p.Files,
			want:    "a table of companion files and their templates",
			item:    `the path of a template, under a relative file name without ".."`,
			valid:   func(name, template string) bool { return filepath.IsLocal(name) && template != "" },
			fromEnv: func(parts []string) string { return strings.ToLower(strings.Join(parts, ".")) },
			use:     ReadsFile,
		}},
		{"partials", []any{}, stringList(&p.Partials, "a list of file patterns", notEmpty).used(ReadsPattern)},
		{"watch", []any{}, readPatterns(&p.Watch)},
		{"delims", []any{"{{", "}}"}, delimiters(&p.Delims)},
		{"vars", nil, variables{&p.Vars}},
		// The defaults of the inheritedKeys are the values of the table haproxy: see defaultValues.
		{"bind_ip", nil, word(&p.BindIP, "an IP address")},
		{"use_hostnames", nil, boolean(&p.UseHostnames)},
		{"user", nil, word(&p.User, "the name of a user")},
		{"group", nil, word(&p.Group, "the name of a group")},
	}
}

// inheritedKeys are the keys whose values a pipeline inherits from the table haproxy.
var inheritedKeys = []string{"bind_ip", "use_hostnames", "user", "group"}
