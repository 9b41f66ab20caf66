package haproxy

import (
	"bytes"
	"cmp"
	"context"
	"path/filepath"
	"slices"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/report"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A need is the smallest action that makes a document live.
type need int

const (
	needNothing need = iota // it is applied and on disk
	needWrite               // HAProxy runs an equivalent configuration, but the file on disk differs
	needRuntime             // only servers of existing backends differ
	needReload              // HAProxy has to load it
)

// A plan is a need and a human-readable reason why nothing less is enough.
type plan struct {
	need     need
	reason   string
	backends []string // whose servers differ, for needRuntime
}

// plan finds the running HAProxy, and plans how doc replaces what it serves.
func (s *Sink) plan(ctx context.Context, doc *document) (plan, process.Instance) {
	defer report.Step(ctx, "plan")()
	now, err := s.controller.Find(ctx)
	switch {
	case err == nil && now.None():
		return plan{need: needReload, reason: "HAProxy is not running"}, now
	case err != nil:
		return plan{need: needReload, reason: "the configuration that HAProxy serves is unknown: " + err.Error()}, now
	}
	st := s.state.Load()
	p := planChange(st.applied(now), doc)
	if why := st.whyUnknown(now); why != "" {
		p.reason += ": " + why
	}
	if p.need != needReload && doc.reread != "" {
		p = plan{need: needReload, reason: doc.reread}
	}
	return p, now
}

// planChange returns the plan that replaces applied with doc. A nil applied means that the served document is unknown.
//
// The main files are compared by meaning. Companions may have any format, so they are compared byte by byte.
func planChange(applied, doc *document) plan {
	if applied == nil {
		return plan{need: needReload, reason: "the configuration that HAProxy serves is unknown"}
	}
	if reason := changedCompanion(applied.files[1:], doc.files[1:]); reason != "" {
		return plan{need: needReload, reason: reason}
	}
	change := syntax.Compare(applied.config, doc.config)
	switch {
	case change.Reload != "":
		return plan{need: needReload, reason: change.Reload}
	case len(change.Servers) > 0:
		return plan{need: needRuntime, reason: change.Reason, backends: change.Servers}
	case !doc.onDisk():
		return plan{need: needWrite, reason: "only comments or white space changed; no reload needed"}
	default:
		return plan{need: needNothing, reason: "the configuration is applied"}
	}
}

// changedCompanion says which is the first file that is in only one of the two or that differs, or "" if there is none.
func changedCompanion(before, after []stage.File) string {
	byPath := func(a, b stage.File) int { return cmp.Compare(a.Path, b.Path) }
	before, after = slices.SortedFunc(slices.Values(before), byPath), slices.SortedFunc(slices.Values(after), byPath)
	for i := range max(len(before), len(after)) {
		switch {
		case i >= len(after) || i < len(before) && before[i].Path < after[i].Path:
			return "the file " + filepath.Base(before[i].Path) + " was removed"
		case i >= len(before) || before[i].Path != after[i].Path:
			return "the file " + filepath.Base(after[i].Path) + " was added"
		case !bytes.Equal(before[i].Content, after[i].Content):
			return "the file " + filepath.Base(after[i].Path) + " changed, which HAProxy reads only at a reload"
		}
	}
	return ""
}
