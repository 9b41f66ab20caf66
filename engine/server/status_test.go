package server

import (
	"errors"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
)

func TestStatus_DaemonSourceAndPipeline(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	loaded := time.Now().Add(-time.Hour)
	env.SetConfiguration("/etc/a.toml", loaded)
	before := env.waitForStatus(func(Status) bool { return true })
	if s := before.Sources[0]; s.LastSnapshot != nil || before.Pipelines[0].InSync || before.Pipelines[0].LastChange != nil {
		t.Errorf("before the first snapshot: %+v, %+v", s, before.Pipelines[0])
	}
	first := env.applied(3)
	status := env.waitForStatus(func(s Status) bool { return s.Pipelines[0].InSync })
	if status.Version != "v1" || time.Since(status.Started) > time.Hour || status.Config.File != "/etc/a.toml" ||
		!status.Config.Loaded.Equal(loaded) || status.Config.Error != "" || len(status.Reasons) != 0 {
		t.Errorf("the daemon: %+v", status)
	}
	source := status.Sources[0]
	if source.Name != "sidecar" || source.Type != "sidecar-push" || source.LastSnapshot == nil || source.LastCause != "push" ||
		source.LastSender != "192.0.2.9" || source.Services != 1 || source.Instances != (Instances{Alive: 3}) {
		t.Errorf("the source: %+v", source)
	}
	p := status.Pipelines[0]
	if p.SourceType != "sidecar-push" || p.Sink != "haproxy" || p.SinkType != "haproxy" || len(p.Templates) != 1 ||
		p.LastChange == nil || p.LastChange.Generation != first.Generation || len(p.LastChange.Commands) != 0 ||
		p.LastReload == nil || p.LastReload.Generation != first.Generation {
		t.Errorf("the pipeline: %+v", p)
	}
	// A snapshot that changes nothing is a snapshot, and no change.
	env.emit(3)
	env.waitForStatus(func(s Status) bool {
		last := s.Sources[0].LastSnapshot
		return last.After(*source.LastSnapshot) && env.engine.Status()[0].LastSuccess.After(*last) // the pipeline is done with it
	})
	status = env.waitForStatus(func(Status) bool { return true })
	if after := status.Pipelines[0]; after.LastChange.Generation != first.Generation || !after.Since.Equal(*p.Since) {
		t.Errorf("after a snapshot without a change: %+v", after)
	}
}

func TestStatus_HeldSnapshot(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	env.applied(4)
	env.emit(1)
	// The status of the source and that of the pipeline may be of different moments.
	status := env.waitForStatus(func(s Status) bool { return s.Sources[0].Held != nil && s.Pipelines[0].Held != nil })
	if s := status.Sources[0]; s.Instances.Alive != 4 || status.Pipelines[0].InSync {
		t.Errorf("held: %+v, %+v", s, status.Pipelines[0])
	}
	env.do(request{method: "POST", path: "/api/v1/pipelines/haproxy/release"})
	env.waitForChange(func(c *history.Change) bool { return c.Trigger.Kind == history.TriggerRelease })
	env.waitForStatus(func(s Status) bool { return s.Sources[0].Held == nil && s.Sources[0].Instances.Alive == 1 })
}

func TestStatus_ConfigurationError(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	env.SetConfiguration("/etc/a.toml", time.Now())
	env.SetConfigurationError(errors.New("haproxy.binary: no\nhaproxy.mode: no"))
	c := env.waitForStatus(func(Status) bool { return true }).Config
	if c.Error != "haproxy.binary: no; haproxy.mode: no" || c.ErrorDetail != "haproxy.binary: no\nhaproxy.mode: no" ||
		c.File != "/etc/a.toml" {
		t.Errorf("got %+v", c)
	}
	env.SetConfiguration("/etc/a.toml", time.Now())
	if c := env.waitForStatus(func(Status) bool { return true }).Config; c.Error != "" || c.ErrorDetail != "" {
		t.Errorf("after a reload: %+v", c)
	}
}
