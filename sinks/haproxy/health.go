package haproxy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// longLoad is how long HAProxy may load before that is a trouble of its own. The worker before serves meanwhile.
const longLoad = time.Minute

// healthLimit bounds one look at how HAProxy is.
const healthLimit = 950 * time.Millisecond

// Health says what is true of the process, its socket and its worker. It answers within a second also while Apply runs.
func (s *Sink) Health(ctx context.Context) (sdk.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		return sdk.Health{Problems: []string{err.Error()}, Facts: map[string]string{"config_file": s.paths.ConfigFile}}, nil
	}
	h, v, loads := s.look(ctx)
	facts := s.facts(v)
	if loads {
		h = sdk.Health{Facts: v.running.Facts()}
		facts["loading_for"] = v.loadingFor().Round(time.Millisecond).String()
	}
	if v.loadingFor() > longLoad {
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy has been loading its configuration for %v",
			v.loadingFor().Round(time.Second)))
	}
	if len(h.Problems) > 0 {
		h.Problems = append(h.Problems, s.whyNot(v)...)
	}
	h.Problems = append(h.Problems, s.conflicts.Problems(facts)...)
	h.Problems = append(h.Problems, v.problems()...)
	if !v.supervised {
		h.Problems = append(h.Problems, "no document has been applied yet")
	}
	if h.Facts == nil {
		h.Facts = facts
	}
	maps.Copy(h.Facts, facts)
	return h, nil
}

// look asks HAProxy how it is, and again while it is made to load something: one process may be gone before the next one can be
// found, and an answer that took until the load was over is about neither. loads says that there is no answer because of that,
// which is no trouble: a master has none while it loads, and its worker goes on serving until the next one does.
func (s *Sink) look(ctx context.Context) (h sdk.Health, v *state, loads bool) {
	for {
		before := s.state.Load()
		h = s.controller.Health(ctx)
		v = s.state.Load()
		if len(h.Problems) == 0 {
			return h, v, false
		}
		if v.loadingFor() > 0 && slices.ContainsFunc(v.running.Pids, procinfo.Exists) {
			return h, v, true
		}
		meanwhile := before.loadingFor() > 0 || v.loadingFor() > 0 || before.reloads != v.reloads
		if !meanwhile || ctx.Err() != nil {
			return h, v, false
		}
		sleep(ctx, pollInterval)
	}
}

// facts are what the sink knows besides the proxy's own.
func (s *Sink) facts(v *state) map[string]string {
	facts := map[string]string{
		"config_file": s.paths.ConfigFile, "mode": s.mode(),
		"reloads": strconv.Itoa(v.reloads), "runtime_changes": strconv.Itoa(v.runtimeChanges),
		"haproxy_restarts": strconv.Itoa(v.restarts),
	}
	if _, err := s.controller.Endpoint(v.running); err != nil && v.running.Alive() {
		facts["runtime"] = "no: " + err.Error()
	} else if v.unsupported != "" {
		facts["runtime"] = "no: " + v.unsupported
	}
	if s.cfg.byCommand() { // there is no master that tells
		old := slices.DeleteFunc(slices.Clone(v.oldWorkers), func(pid int) bool { return !procinfo.Exists(pid) })
		if len(old) > 0 {
			facts["old_workers"] = process.JoinPids(old)
		}
	}
	if v.endedOldWorkers > 0 {
		facts["old_workers_ended"] = strconv.Itoa(v.endedOldWorkers)
	}
	if v.lastChange != "" {
		facts["last_change"] = v.lastChange
	}
	if v.draining > 0 {
		facts["servers_leaving"] = strconv.Itoa(v.draining)
	}
	if v.supervised && !v.verified {
		facts["in_effect"] = "not known"
	}
	return facts
}

// whyNot says why HAProxy does not run, as far as that is known.
func (s *Sink) whyNot(v *state) []string {
	if v.startErr != nil {
		return []string{v.startErr.Error()}
	}
	if s.cfg.ReloadCmd != "" {
		return nil
	}
	if _, err := process.FindBinary(s.cfg.Binary); err != nil {
		return []string{err.Error()}
	}
	return nil
}

func (s *Sink) mode() string {
	if s.cfg.byCommand() {
		return ModeCommand
	}
	return ModeManaged
}

var _ sdk.Sink = (*Sink)(nil)
