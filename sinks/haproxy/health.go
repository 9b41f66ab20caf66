package haproxy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// longLoad is how long a load may take until it is a problem. The old worker serves meanwhile.
const longLoad = time.Minute

// healthTimeout bounds one call of Health.
const healthTimeout = 950 * time.Millisecond

// Health reports the state of HAProxy's process, its socket and its worker. It returns within a second, also while Apply runs.
func (s *Sink) Health(ctx context.Context) (sdk.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		return sdk.Health{Problems: []string{err.Error()}, Facts: map[string]string{"config_file": s.paths.ConfigFile}}, nil
	}
	h, st, loading := s.probe(ctx)
	facts := s.facts(st)
	if loading {
		h = sdk.Health{Facts: st.running.Facts()}
		facts[process.FactUp] = "1"
		facts["loading_for"] = st.loadingFor().Round(time.Millisecond).String()
	}
	if st.loadingFor() > longLoad {
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy has been loading its configuration for %v",
			st.loadingFor().Round(time.Second)))
	}
	if len(h.Problems) > 0 {
		h.Problems = append(h.Problems, s.whyNotRunning(st)...)
	}
	h.Problems = append(h.Problems, s.conflicts.Problems(facts)...)
	h.Problems = append(h.Problems, st.problems()...)
	if !st.supervised {
		h.Problems = append(h.Problems, "no document has been applied yet")
	}
	if h.Facts == nil {
		h.Facts = facts
	}
	maps.Copy(h.Facts, facts)
	if s.cfg.byCommand() || h.Facts["worker"] != "" || h.Facts["pid"] == "" { // a master that does not answer may have some
		h.Facts["old_workers_count"] = strconv.Itoa(len(strings.Fields(h.Facts["old_workers"])))
	}
	return h, nil
}

// probe asks HAProxy for its health, and again while it loads something: the old process may have ended before the new one can
// be found, and an answer that comes after the load is about neither. loading says that there is no answer because of that,
// which is no problem: a master does not answer while it loads, and its worker serves until the next one does.
func (s *Sink) probe(ctx context.Context) (h sdk.Health, st *state, loading bool) {
	for {
		before := s.state.Load()
		h = s.controller.Health(ctx)
		st = s.state.Load()
		if len(h.Problems) == 0 {
			return h, st, false
		}
		if st.loadingFor() > 0 && slices.ContainsFunc(st.running.Pids, procinfo.Exists) {
			return h, st, true
		}
		loaded := before.loadingFor() > 0 || st.loadingFor() > 0 || before.reloads != st.reloads
		if !loaded || ctx.Err() != nil {
			return h, st, false
		}
		sleep(ctx, pollInterval)
	}
}

// facts returns what the sink knows beside the facts of the controller.
func (s *Sink) facts(st *state) map[string]string {
	facts := map[string]string{
		"config_file": s.paths.ConfigFile, "mode": s.mode(),
		"reloads": strconv.Itoa(st.reloads), "runtime_changes": strconv.Itoa(st.runtimeChanges),
		"haproxy_restarts": strconv.Itoa(st.restarts), "drift_repairs": strconv.Itoa(st.driftRepairs),
		"persist_pending": "0",
	}
	if s.findBinary() != nil {
		facts["haproxy_binary"] = "cannot be run"
	}
	if st.unpersisted() != nil {
		facts["persist_pending"] = "1"
	}
	if st.isRestarting() {
		facts["restarting"] = "yes"
		if time.Now().Before(st.nextStart) {
			facts["next_start"] = st.nextStart.Format(time.RFC3339)
		}
	}
	if _, err := s.controller.Endpoint(st.running); err != nil && st.running.Alive() {
		facts["runtime"] = "no: " + err.Error()
	} else if st.unsupported != "" {
		facts["runtime"] = "no: " + st.unsupported
	}
	if s.cfg.byCommand() { // there is no master that lists them
		old := slices.DeleteFunc(slices.Clone(st.oldWorkers), func(pid int) bool { return !procinfo.Exists(pid) })
		if len(old) > 0 {
			facts["old_workers"] = process.JoinPids(old)
		}
	}
	if st.endedOldWorkers > 0 {
		facts["old_workers_ended"] = strconv.Itoa(st.endedOldWorkers)
	}
	if st.lastChange != "" {
		facts["last_change"] = st.lastChange
	}
	if st.draining > 0 {
		facts["servers_leaving"] = strconv.Itoa(st.draining)
	}
	if st.supervised && !st.verified {
		facts["in_effect"] = "unknown"
	}
	return facts
}

// whyNotRunning returns why HAProxy does not run, if that is known.
func (s *Sink) whyNotRunning(st *state) []string {
	if st.startErr != nil {
		return []string{st.startErr.Error()}
	}
	if err := s.findBinary(); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// findBinary returns an error if the program that a HAProxy without reload_cmd is started with cannot be run.
func (s *Sink) findBinary() error {
	if s.cfg.ReloadCmd != "" {
		return nil
	}
	_, err := process.FindBinary(s.cfg.Binary)
	return err
}

func (s *Sink) mode() string {
	if s.cfg.byCommand() {
		return ModeCommand
	}
	return ModeManaged
}

var _ sdk.Sink = (*Sink)(nil)
