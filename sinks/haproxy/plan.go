package haproxy

import (
	"bytes"
	"cmp"
	"context"
	"path/filepath"
	"slices"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A need is the least that has to be done to bring a document into effect.
type need int

const (
	needNothing need = iota // it is in effect and on disk
	needWrite               // what runs has the same meaning, what is on disk differs
	needRuntime             // only servers of standing backends differ
	needReload              // HAProxy has to load it
)

// A plan is a need and, for people, why not less.
type plan struct {
	need     need
	reason   string
	backends []string // whose servers differ, for needRuntime
}

// plan compares a document with what is in effect in the HAProxy that runs now.
func (s *Sink) plan(ctx context.Context, doc *document) (plan, process.Instance) {
	now, err := s.controller.Find(ctx)
	switch {
	case err == nil && now.None():
		return plan{need: needReload, reason: "HAProxy is not running"}, now
	case err != nil:
		return plan{need: needReload, reason: "what HAProxy serves now is not known"}, now
	}
	p := compare(s.state.Load().applied(now), doc)
	if p.need != needReload && doc.reread != "" {
		p = plan{need: needReload, reason: doc.reread}
	}
	return p, now
}

// compare plans how a document comes into effect where another one is in effect now; nil is for not knowing which.
//
// The main files are compared by meaning. Companions may be anything, so any other byte in them counts.
func compare(inEffect, doc *document) plan {
	if inEffect == nil {
		return plan{need: needReload, reason: "what HAProxy serves now is not known"}
	}
	if name := changedCompanion(inEffect.files[1:], doc.files[1:]); name != "" {
		return plan{need: needReload, reason: "the file " + name + " differs"}
	}
	change := syntax.Compare(inEffect.config, doc.config)
	switch {
	case change.Reload != "":
		return plan{need: needReload, reason: change.Reload}
	case len(change.Servers) > 0:
		return plan{need: needRuntime, reason: change.Reason, backends: change.Servers}
	case !doc.onDisk():
		return plan{need: needWrite, reason: "HAProxy would not notice a difference, but the file differs"}
	default:
		return plan{need: needNothing, reason: "the configuration is in effect"}
	}
}

// changedCompanion returns the name of the first file that is in only one of the two or differs, and "" if none does.
func changedCompanion(before, after []stage.File) string {
	byPath := func(a, b stage.File) int { return cmp.Compare(a.Path, b.Path) }
	before, after = slices.SortedFunc(slices.Values(before), byPath), slices.SortedFunc(slices.Values(after), byPath)
	for i := range max(len(before), len(after)) {
		switch {
		case i >= len(after):
			return filepath.Base(before[i].Path)
		case i >= len(before) || before[i].Path != after[i].Path || !bytes.Equal(before[i].Content, after[i].Content):
			return filepath.Base(after[i].Path)
		}
	}
	return ""
}
