package haproxy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
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
		return sdk.Health{Problems: []string{err.Error()}, Facts: map[string]string{"config_file": s.paths.config}}, nil
	}
	h, v, loads := s.look(ctx)
	facts := s.facts(v)
	if loads {
		h = sdk.Health{Facts: v.now.facts()}
		facts["loading_for"] = v.renewal.Round(time.Millisecond).String()
	}
	if v.renewal > longLoad {
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy has been loading its configuration for %v",
			v.renewal.Round(time.Second)))
	}
	if len(h.Problems) > 0 {
		h.Problems = append(h.Problems, s.whyNot(v)...)
	}
	h.Problems = append(h.Problems, s.conflicts.problems(facts)...)
	for _, err := range v.wrong {
		h.Problems = append(h.Problems, err.Error())
	}
	if !v.guarded {
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
func (s *Sink) look(ctx context.Context) (h sdk.Health, v view, loads bool) {
	for {
		before := s.notes.view()
		h = s.proxy.probe(ctx)
		v = s.notes.view()
		if len(h.Problems) == 0 {
			return h, v, false
		}
		if v.renewal > 0 && slices.ContainsFunc(v.now.pids, procinfo.Exists) {
			return h, v, true
		}
		meanwhile := before.renewal > 0 || v.renewal > 0 || before.reloads != v.reloads
		if !meanwhile || ctx.Err() != nil {
			return h, v, false
		}
		pause(ctx, tick)
	}
}

// facts are what the sink knows besides the proxy's own.
func (s *Sink) facts(v view) map[string]string {
	facts := map[string]string{
		"config_file": s.paths.config, "mode": s.mode(),
		"reloads": strconv.Itoa(v.reloads), "runtime_changes": strconv.Itoa(v.runtimes),
		"haproxy_restarts": strconv.Itoa(v.restarts),
	}
	if _, err := s.proxy.endpoint(v.now); err != nil && v.now.stands() {
		facts["runtime"] = "no: " + err.Error()
	} else if v.tooOld != "" {
		facts["runtime"] = "no: " + v.tooOld
	}
	if s.cfg.byCommand() { // there is no master that tells
		old := slices.DeleteFunc(slices.Clone(v.old), func(pid int) bool { return !procinfo.Exists(pid) })
		if len(old) > 0 {
			facts["old_workers"] = joinPids(old)
		}
	}
	if v.oldEnded > 0 {
		facts["old_workers_ended"] = strconv.Itoa(v.oldEnded)
	}
	if v.last != "" {
		facts["last_change"] = v.last
	}
	if v.leaving > 0 {
		facts["servers_leaving"] = strconv.Itoa(v.leaving)
	}
	if v.guarded && !v.known {
		facts["in_effect"] = "not known"
	}
	return facts
}

// whyNot says why HAProxy does not run, as far as that is known.
func (s *Sink) whyNot(v view) []string {
	if v.trouble != nil {
		return []string{v.trouble.Error()}
	}
	if s.cfg.ReloadCmd != "" {
		return nil
	}
	if _, err := findBinary(s.cfg.Binary); err != nil {
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
