package server

import (
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
)

// Pipeline is the status of one pipeline in the API.
type Pipeline struct {
	Name       string   `json:"name"`
	State      string   `json:"state"`   // one of the State constants
	Reasons    []Reason `json:"reasons"` // why it is not healthy, the worst first
	Source     string   `json:"source"`
	SourceType string   `json:"source_type"`
	Templates  []string `json:"templates"` // the path of the main one, those of companions, and the patterns of partials
	Sink       string   `json:"sink"`
	SinkType   string   `json:"sink_type"`
	InSync     bool     `json:"in_sync"` // what the newest snapshot and the saved template render to is in effect

	Generation uint64            `json:"generation"` // that is applied; 0 for none
	Digest     string            `json:"digest,omitempty"`
	Since      *time.Time        `json:"since,omitempty"`
	Problems   []string          `json:"problems"`
	Facts      map[string]string `json:"facts,omitempty"`

	SourceProblems []string          `json:"source_problems,omitempty"`
	SourceFacts    map[string]string `json:"source_facts,omitempty"`

	TemplateError       string    `json:"template_error,omitempty"`        // why the newest template is not active
	TemplateErrorDetail string    `json:"template_error_detail,omitempty"` // the same in several lines, with the template line
	TemplateErrorAt     *Position `json:"template_error_at,omitempty"`     // where the mistake is, if that is known
	Notes               []string  `json:"notes,omitempty"`                 // what the template reports about the snapshot
	Nondeterministic    []string  `json:"nondeterministic,omitempty"`      // nondeterministic lines of the template

	Excluded         []Exclusion   `json:"excluded,omitempty"`             // the first ones from the applied document
	ExcludedCount    int           `json:"excluded_count,omitempty"`       // of all of them
	Quarantined      []Quarantined `json:"quarantined,omitempty"`          // the first instances that are
	QuarantinedCount int           `json:"quarantined_count,omitempty"`    // of all of them
	Dropped          []Quarantined `json:"dropped_values,omitempty"`       // the first values that templates do not see
	DroppedCount     int           `json:"dropped_values_count,omitempty"` // of all of them

	Applying   *time.Time `json:"applying_since,omitempty"` // when the Apply that is running began
	Waiting    *Waiting   `json:"waiting,omitempty"`        // why the newest document is not applied yet
	Held       *Held      `json:"held,omitempty"`           // why the newest snapshot is not used yet
	StaleSince *time.Time `json:"stale_since,omitempty"`    // see [engine.PipelineStatus]
	Last       *LastApply `json:"last,omitempty"`           // the newest outcome of the sink

	LastChange *history.Change `json:"last_change,omitempty"` // a summary of the newest entry that put a document into effect
	LastReload *history.Change `json:"last_reload,omitempty"` // a summary of the newest one that reloaded or started the program
}

// A Position is where in a template a mistake is. Line and Column are 0 if they are not known.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// An Exclusion is a service, or an instance of it, that is excluded because the sink rejects its lines or because rendering it
// fails.
type Exclusion struct {
	Service  string `json:"service"`
	Instance string `json:"instance,omitempty"` // its ID; "" for the whole service
	Hostname string `json:"hostname,omitempty"`
	Reason   string `json:"reason"`
}

// maxQuarantined bounds how many quarantined instances, how many dropped values and how many exclusions the API lists.
const maxQuarantined = 100

// Quarantined is an instance that templates do not see because of an unsafe value.
type Quarantined struct {
	Service  string `json:"service,omitempty"`
	Instance string `json:"instance,omitempty"` // its ID
	Hostname string `json:"hostname,omitempty"`
	Reason   string `json:"reason"`
}

// Waiting says what the sink waits for. That is not a problem.
type Waiting struct {
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
}

// Held says why the newest snapshot is held, and until when unless it is released.
type Held struct {
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// LastApply is the outcome of the last Apply of the sink.
type LastApply struct {
	Generation uint64    `json:"generation"`
	Trigger    string    `json:"trigger"`
	Action     string    `json:"action,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Details    []string  `json:"details,omitempty"`
	Error      string    `json:"error,omitempty"`
	Deferred   string    `json:"deferred,omitempty"` // what the sink waits for
	Excluded   []string  `json:"excluded,omitempty"` // from the document
	At         time.Time `json:"at"`
	Seconds    float64   `json:"seconds"`
}

func newPipeline(h engine.PipelineHealth, source engine.SourceStatus) Pipeline {
	status := h.PipelineStatus
	p := Pipeline{
		Name: status.Name, Source: status.Source, SourceType: source.Type, Templates: append([]string{}, status.Paths...),
		Sink: status.Sink, SinkType: status.SinkType, InSync: status.InSync,
		Generation: status.Generation, Digest: status.Digest, Since: timeOrNil(status.Since),
		Problems: append([]string{}, h.Problems...), Facts: h.Facts,
		SourceProblems: source.Problems, SourceFacts: source.Facts,
		Notes: status.Notes, Nondeterministic: status.Nondeterministic, Excluded: exclusions(status.Excluded),
		ExcludedCount: len(status.Excluded),
		Quarantined:   quarantined(status.Quarantined), QuarantinedCount: len(status.Quarantined),
		Dropped: quarantined(status.Dropped), DroppedCount: len(status.Dropped),
		Applying: timeOrNil(status.Applying), Held: newHeld(status.Held), StaleSince: timeOrNil(status.StaleSince),
		LastChange: summaryOf(status.LastChange), LastReload: summaryOf(status.LastReload),
	}
	p.State, p.Reasons = pipelineState(h, source)
	if status.TemplateError != nil {
		p.TemplateError, p.TemplateErrorDetail = status.TemplateError.Error(), engine.Detail(status.TemplateError)
		if at, ok := engine.PositionOf(status.TemplateError); ok {
			p.TemplateErrorAt = &Position{at.File, at.Line, at.Column}
		}
	}
	if w := status.Pending; w != nil {
		p.Waiting = &Waiting{Reason: w.Reason, Until: w.Until}
	}
	if status.Last != nil {
		p.Last = newLastApply(*status.Last)
	}
	return p
}

func summaryOf(c *history.Change) *history.Change {
	if c == nil {
		return nil
	}
	summary := c.Summary()
	return &summary
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func newLastApply(c history.Change) *LastApply {
	a := &LastApply{
		Generation: c.Generation, Trigger: c.Trigger.Kind, Action: c.Action, Reason: c.Reason,
		Details: c.Details, Excluded: c.Excluded, At: c.Updated, Seconds: c.Seconds,
	}
	if c.Outcome == history.OutcomeDeferred {
		a.Deferred = c.Error
	} else {
		a.Error = c.Error
	}
	return a
}

func exclusions(all []exclude.Exclusion) []Exclusion {
	var out []Exclusion
	for _, e := range all[:min(len(all), maxQuarantined)] {
		out = append(out, Exclusion{Service: e.Service, Instance: e.ID, Hostname: e.Hostname, Reason: e.Reason})
	}
	return out
}

func quarantined(all []engine.Quarantined) []Quarantined {
	var out []Quarantined
	for _, q := range all[:min(len(all), maxQuarantined)] {
		out = append(out, Quarantined{Service: q.Service, Instance: q.ID, Hostname: q.Hostname, Reason: q.Reason})
	}
	return out
}
