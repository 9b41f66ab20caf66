package config

import (
	"math"
	"path/filepath"
	"strings"
)

// Names that the tables sidecar and haproxy stand for in the general form.
const (
	shortSource   = "sidecar"
	shortSink     = "haproxy"
	shortPipeline = "haproxy"
)

// schema lists every key, and where in c its value goes.
func (c *Config) schema() table {
	c.Sources, c.Sinks = map[string]Source{}, map[string]Component{}
	c.Plugins, c.Pipelines = map[string]Plugin{}, map[string]Pipeline{}
	source := func(one *Source) kind { return block{&one.Component, one.Guard.keys()} }
	sink := func(one *Component) kind { return block{one, nil} }
	plugin := func(one *Plugin) kind { return one.keys() }
	pipeline := func(one *Pipeline) kind { return one.keys() }
	return table{
		{name: "haproxy_api", kind: c.API.keys()},
		{name: "sidecar", kind: c.Sidecar.keys()},
		{name: "haproxy", kind: c.HAProxy.keys()},
		{name: "sources", kind: named[Source]{c.Sources, source}},
		{name: "sinks", kind: named[Component]{c.Sinks, sink}},
		{name: "plugins", kind: named[Plugin]{c.Plugins, plugin}},
		{name: "plugin_dir", fallback: "/usr/lib/haproxy-api/plugins", kind: text(&c.PluginDir)},
		{name: "pipelines", kind: named[Pipeline]{c.Pipelines, pipeline}},
	}
}

func (a *API) keys() table {
	return table{
		{"bind_ip", "0.0.0.0", word(&a.BindIP, "an IP address or a host name")},
		{"bind_port", int64(7778), port(&a.BindPort)},
		{"logging_level", "info", level(&a.LoggingLevel)},
		{"logging_format", "text", oneOf(&a.LoggingFormat, "text", "json")},
		{"state_dir", "", text(&a.StateDir)},
		{"update_token", "", text(&a.UpdateToken)},
		{"update_token_file", "", text(&a.UpdateTokenFile)},
		{"allow_from", []any{}, networks(&a.AllowFrom)},
		{"tls_cert", "", text(&a.TLSCert)},
		{"tls_key", "", text(&a.TLSKey)},
		{"client_ca", "", text(&a.ClientCA)},
		{"max_body", "64MiB", size(&a.MaxBody)},
		{"cors_origins", []any{}, list(&a.CORSOrigins, `a list of origins such as ["https://example.com"]`, isOrigin)},
		{"protect_reads", false, yesNo(&a.ProtectReads)},
		{"allowed_hosts", []any{}, list(&a.AllowedHosts,
			`a list of host names such as ["edge.example.com", "*.internal"]`, isHostPattern)},
	}
}

func (s *Sidecar) keys() table {
	return append(table{
		{"state_url", "http://localhost:7777/state.json", webAddress(&s.StateURL)},
		{"state_url_file", "", text(&s.StateURLFile)},
		{"follow", "", address(&s.Follow)},
		{"resync_interval", "1m", span(&s.ResyncInterval)},
		{"redirect_hosts", []any{}, list(&s.RedirectHosts, `a list of hosts such as ["sidecar.internal:7777"]`, notEmpty)},
		{"subscriptions", []any{}, list(&s.Subscriptions, "a list of service names", notEmpty)},
	}, s.Guard.keys()...)
}

func (g *Guard) keys() table {
	return table{
		{"max_drop", 0.5, fraction(&g.MaxDrop)},
		{"min_instances", int64(10), number(&g.MinInstances, 0, math.MaxInt32, "a number of instances from 0 on")},
		{"hold", "30s", span(&g.Hold)},
	}
}

// keys lists the table haproxy. Without bind_ip the older haproxy-api let HAProxy listen on all addresses by leaving
// the address out, which "0.0.0.0" says aloud. It had no defaults for the files: ours are in a folder of our own, so
// that a distribution's /etc/haproxy/haproxy.cfg is only replaced where somebody asks for it. The default of mode
// depends on reload_cmd: see derive.
func (h *HAProxy) keys() table {
	return table{
		{"bind_ip", "0.0.0.0", word(&h.BindIP, "an IP address")},
		{"template", "", text(&h.Template)},
		{"config_file", "/var/run/haproxy-api/haproxy.cfg", like(&h.ConfigFile, "the path of a file", notEmpty)},
		{"pid_file", "/var/run/haproxy-api/haproxy.pid", like(&h.PIDFile, "the path of a file", notEmpty)},
		{"reload_cmd", "", text(&h.ReloadCmd)},
		{"verify_cmd", "", text(&h.VerifyCmd)},
		{"user", "", word(&h.User, "the name of a user")},
		{"group", "", word(&h.Group, "the name of a group")},
		{"use_hostnames", false, yesNo(&h.UseHostnames)},
		{"binary", "haproxy", like(&h.Binary, "the name or path of a program", notEmpty)},
		{"mode", nil, oneOf(&h.Mode, modeManaged, modeCommand)},
		{"reload_interval", "5s", span(&h.ReloadInterval)},
		{"drain_timeout", "30s", span(&h.DrainTimeout)},
		{"max_old_workers", int64(10), number(&h.MaxOldWorkers, 0, math.MaxInt32, "a number of workers from 0 on")},
		{"on_exit", "leave", oneOf(&h.OnExit, "leave", "stop")},
		{"runtime", true, yesNo(&h.Runtime)},
		{"watch", []any{}, patterns(&h.Watch)},
	}
}

const (
	modeManaged = "managed"
	modeCommand = "command"
)

func (p *Plugin) keys() table {
	return table{
		{"path", nil, text(&p.Path)},
		{"sha256", nil, sha256Sum(&p.SHA256)},
		{"args", nil, list(&p.Args, "a list of texts", func(string) bool { return true })},
		{"env", nil, texts{
			into:    &p.Env,
			want:    "a table of environment variables",
			item:    "a text, under the name of an environment variable",
			valid:   func(name, _ string) bool { return name != "" && !strings.Contains(name, "=") },
			fromEnv: func(parts []string) string { return strings.Join(parts, "__") },
		}},
	}
}

func (p *Pipeline) keys() table {
	return table{
		{"source", nil, text(&p.Source)},
		{"sink", nil, text(&p.Sink)},
		{"template", "", text(&p.Template)},
		{"files", nil, texts{
			into:    &p.Files,
			want:    "a table of companion files and their templates",
			item:    "the path of a template, under a file name that leads nowhere else",
			valid:   func(name, template string) bool { return filepath.IsLocal(name) && template != "" },
			fromEnv: func(parts []string) string { return strings.ToLower(strings.Join(parts, ".")) },
		}},
		{"partials", []any{}, list(&p.Partials, "a list of file patterns", notEmpty)},
		{"watch", []any{}, patterns(&p.Watch)},
		{"delims", []any{"{{", "}}"}, pair(&p.Delims, `two texts that are not empty, such as ["{{", "}}"]`)},
		{"vars", nil, variables{&p.Vars}},
		// These four fall back to the table haproxy: see derive.
		{"bind_ip", nil, word(&p.BindIP, "an IP address")},
		{"use_hostnames", nil, yesNo(&p.UseHostnames)},
		{"user", nil, word(&p.User, "the name of a user")},
		{"group", nil, word(&p.Group, "the name of a group")},
	}
}

func patterns(into *[]string) kind {
	return list(into, `a list of file patterns such as ["/etc/haproxy/certs/*.pem"]`, func(pattern string) bool {
		_, err := filepath.Match(pattern, "")
		return pattern != "" && err == nil
	})
}

// inherited are the keys that a pipeline takes from the table haproxy.
func inherited() []string { return []string{"bind_ip", "use_hostnames", "user", "group"} }

// knownPaths lists the keys that have a fixed place.
func (t table) knownPaths(at path) []path {
	var known []path
	for _, f := range t {
		if inner, ok := f.kind.(table); ok {
			known = append(known, inner.knownPaths(at.with(f.name))...)
		} else {
			known = append(known, at.with(f.name))
		}
	}
	return known
}

// fallbacks returns the defaults of t's own keys.
func (t table) fallbacks() map[string]any {
	defaults := map[string]any{}
	for _, f := range t {
		if inner, ok := f.kind.(table); ok {
			defaults[f.name] = inner.fallbacks()
		} else if f.fallback != nil {
			defaults[f.name] = f.fallback
		}
	}
	return defaults
}
