package config

// The names of what the tables sidecar and haproxy define in the general form.
const (
	ShorthandSource   = "sidecar"
	ShorthandSink     = "haproxy"
	shorthandPipeline = "haproxy"
)

// expandShorthand adds the source, sink and pipeline that the tables sidecar and haproxy define: see [Load].
func (c *Config) expandShorthand(l *loader) {
	pipeline := len(l.names("pipelines")) == 0 || l.sets("haproxy")
	if pipeline || l.sets("sidecar") {
		define(l, c.Sources, path{"sources", ShorthandSource}, "sidecar", c.shorthandSource())
	}
	if pipeline {
		define(l, c.Sinks, path{"sinks", ShorthandSink}, "haproxy", c.shorthandSink())
		define(l, c.Pipelines, path{"pipelines", shorthandPipeline}, "haproxy", c.shorthandPipeline())
	}
}

// define stores v under its name, and reports it if the general form defines the same name.
func define[T any](l *loader, into map[string]T, at path, table string, v T) {
	if _, taken := into[at[1]]; taken {
		l.addFaultAt(at, "has the name that the table "+table+" defines; choose another name")
	}
	into[at[1]] = v
}

func (c *Config) shorthandSource() Source {
	s := c.Sidecar
	content := map[string]any{
		"resync_interval": s.ResyncInterval.String(),
		"subscriptions":   anyList(s.Subscriptions),
	}
	if s.Follow != "" {
		content["address"] = s.Follow
		return Source{Component{Type: "sidecar-follow", Block: content}, s.Guard}
	}
	content["state_url"] = s.StateURL
	content["redirect_hosts"] = anyList(s.RedirectHosts)
	content["max_body"] = c.API.MaxBody
	return Source{Component{Type: "sidecar-push", Block: content}, s.Guard}
}

// anyList returns list as a decoded file has it.
func anyList(list []string) []any {
	all := make([]any, len(list))
	for i, v := range list {
		all[i] = v
	}
	return all
}

func (c *Config) shorthandSink() Component {
	h := c.HAProxy
	content := map[string]any{
		"reload_interval": h.ReloadInterval.String(),
		"drain_timeout":   h.DrainTimeout.String(),
		"max_old_workers": int64(h.MaxOldWorkers),
		"runtime":         h.Runtime,
	}
	for key, value := range map[string]string{
		"binary": h.Binary, "mode": h.Mode, "config_file": h.ConfigFile, "pid_file": h.PIDFile,
		"reload_cmd": h.ReloadCmd, "verify_cmd": h.VerifyCmd, "on_exit": h.OnExit,
	} {
		if value != "" {
			content[key] = value
		}
	}
	return Component{Type: "haproxy", Block: content}
}

func (c *Config) shorthandPipeline() Pipeline {
	h := c.HAProxy
	return Pipeline{
		Source: ShorthandSource, Sink: ShorthandSink, Template: h.Template, Watch: h.Watch, Delims: []string{"{{", "}}"},
		BindIP: h.BindIP, UseHostnames: h.UseHostnames, User: h.User, Group: h.Group,
	}
}
