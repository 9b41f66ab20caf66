package display

import (
	"fmt"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// A Change is a change of a pipeline. Its JSON form is that of [history.Change] with the pipeline and, if it is known, the diff.
type Change struct {
	Pipeline string `json:"pipeline"`
	history.Change
	Diff string `json:"diff,omitempty"`

	// Now are the reasons why the pipeline is not healthy. Explain refers to them, because they may be newer than the change: a
	// snapshot that is held and a template that does not load make no change.
	Now []server.Reason `json:"-"`
}

// History writes one line for each change, in the order of changes.
func History(p *terminal.Page, changes []Change, now time.Time) {
	several := slices.ContainsFunc(changes, func(c Change) bool { return c.Pipeline != changes[0].Pipeline })
	layout := time.TimeOnly
	if slices.ContainsFunc(changes, func(c Change) bool { return !isSameDay(c.Updated.In(now.Location()), now) }) {
		layout = time.Stamp
	}
	rows := [][]string{historyRow(several, "\t"+p.Faint("CHANGE"), p.Faint("PIPELINE"), p.Faint("TIME"), p.Faint("TRIGGER"),
		p.Faint("ACTION"), p.Faint("OUTCOME"), p.Faint("REASON"))}
	for _, c := range changes {
		rows = append(rows, historyRow(several, fmt.Sprintf("\t%d", c.Generation), oneLine(c.Pipeline),
			c.Updated.In(now.Location()).Format(layout), oneLine(c.Trigger.Kind), whatOf(c.Change),
			outcomeIn(p.Palette, c.Outcome, oneLine(c.Outcome)), whyOf(c.Change)))
	}
	p.Table(rows)
}

// historyRow returns a row with the pipeline in it only if changes of several pipelines are shown.
func historyRow(several bool, number, pipeline string, others ...string) []string {
	if several {
		return append([]string{number, pipeline}, others...)
	}
	return append([]string{number}, others...)
}
