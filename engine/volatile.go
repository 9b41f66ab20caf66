package engine

import (
	"context"
	"slices"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Varier is a [Template] that can tell where it writes something else each time, though the snapshot is the same.
type Varier interface {
	Template
	// Vary returns a sentence for a person about each such place. It may be as slow as several renderings.
	Vary(ctx context.Context, snap sdk.Snapshot) ([]string, error)
}

// tellVolatile finds out where a template varies that has just become active, and logs what is new about that. A template
// that cannot tell, or not for this snapshot, has nothing to be told.
func (p *pipeline) tellVolatile(ctx context.Context, t Template, snap sdk.Snapshot) {
	var now []string
	if v, ok := t.(Varier); ok {
		now, _ = v.Vary(ctx, snap)
	}
	before := p.board.setVolatile(now)
	for _, sentence := range now {
		if !slices.Contains(before, sentence) {
			p.log.Warn("the template renders differently each time", "where", sentence)
		}
	}
}
