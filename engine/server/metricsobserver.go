package server

import (
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// SnapshotReceived counts a snapshot.
func (m *Metrics) SnapshotReceived(snap sdk.Snapshot, held bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	outcome := snapshotTaken
	if held {
		outcome = snapshotHeld
	}
	if slices.Contains(m.components.Sources, snap.Source) {
		m.snapshots.WithLabelValues(snap.Source, outcome).Inc()
	}
}

// Rendered records the time of one render.
func (m *Metrics) Rendered(pipeline string, took time.Duration, _ error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.hasPipeline(pipeline) {
		m.renderSeconds.WithLabelValues(pipeline).Observe(took.Seconds())
	}
}

// TemplateRefused counts a template version that was refused.
func (m *Metrics) TemplateRefused(pipeline string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.hasPipeline(pipeline) {
		m.templateErrors.WithLabelValues(pipeline).Inc()
	}
}

// Applied records one Apply of a sink.
func (m *Metrics) Applied(a engine.Attempt) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.hasPipeline(a.Pipeline) {
		return
	}
	action := actionLabel(a)
	m.applies.WithLabelValues(a.Pipeline, action, a.Outcome()).Inc()
	m.applySeconds.WithLabelValues(a.Pipeline, action).Observe(a.Took.Seconds())
	if a.Err == nil && a.Trigger.IsSnapshot() {
		m.convergence.WithLabelValues(a.Pipeline).Observe(max(0, time.Since(a.Received).Seconds()))
	}
}

// PluginRestarted counts a restart of a plugin. name is that of the sink or the source in the configuration.
func (m *Metrics) PluginRestarted(name string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if slices.Contains(m.components.Plugins, name) {
		m.pluginRestarts.WithLabelValues(name).Inc()
	}
}

// ConfigReloaded records whether the last configuration reload succeeded.
func (m *Metrics) ConfigReloaded(ok bool) { m.reloaded.Set(number(ok)) }

func (m *Metrics) hasPipeline(name string) bool { return slices.Contains(m.components.Pipelines, name) }

// actionLabel returns the action of a, "none" for a document that was not applied, or "other" if a plugin invented the action.
// Each value of a label takes memory until the daemon ends.
func actionLabel(a engine.Attempt) string {
	switch {
	case a.Err != nil:
		return noAction
	case a.Result.Action == "":
		return sdk.ActionOther
	default:
		return history.KnownAction(a.Result.Action)
	}
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

var _ engine.Observer = (*Metrics)(nil)
