package engine

import (
	"context"
	"slices"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A NondeterminismReporter is a [Template] that finds its lines whose output differs between renderings of one snapshot.
type NondeterminismReporter interface {
	Template
	// NondeterministicLines returns a sentence about each such line. It may take as long as several renderings.
	NondeterministicLines(ctx context.Context, snap sdk.Snapshot) ([]string, error)
}

// tellVolatile finds out where a template varies that has just become active, and logs what is new about that. A template
// that cannot tell, or not for this snapshot, has nothing to be told.
func (p *pipeline) tellVolatile(ctx context.Context, t Template, snap sdk.Snapshot) {
	var now []string
	if v, ok := t.(NondeterminismReporter); ok {
		now, _ = v.NondeterministicLines(ctx, snap)
	}
	before := p.board.setVolatile(now)
	for _, sentence := range now {
		if !slices.Contains(before, sentence) {
			p.log.Warn("the template renders differently each time", "where", sentence)
		}
	}
}
