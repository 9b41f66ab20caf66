package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Pipeline is what the API tells about one pipeline.
type Pipeline struct {
	Name          string            `json:"name"`
	Source        string            `json:"source"`
	Generation    uint64            `json:"generation"` // in effect; 0 for none
	Digest        string            `json:"digest,omitempty"`
	Since         *time.Time        `json:"since,omitempty"`
	Problems      []string          `json:"problems"`
	Facts         map[string]string `json:"facts,omitempty"`
	SourceTrouble []string          `json:"source_problems,omitempty"`
	SourceFacts   map[string]string `json:"source_facts,omitempty"`
	TemplateError string            `json:"template_error,omitempty"`        // why the newest template is not used
	TemplateTold  string            `json:"template_error_detail,omitempty"` // the same over several lines, with the line
	Notes         []string          `json:"notes,omitempty"`                 // what the template says about the catalogue
	Volatile      []string          `json:"volatile,omitempty"`              // where the template writes something else each time
	LeftOut       []LeftOut         `json:"left_out,omitempty"`              // without whom the rest is in effect
	Quarantined   []Quarantined     `json:"quarantined,omitempty"`           // of whom no template knows; the first of them
	QuarantinedN  int               `json:"quarantined_count,omitempty"`     // all of them
	Dropped       []Quarantined     `json:"dropped_values,omitempty"`        // values that templates do not see; the first ones
	DroppedN      int               `json:"dropped_values_count,omitempty"`  // all of them
	Applying      *time.Time        `json:"applying_since,omitempty"`        // since when the sink is busy with a document
	Waiting       *Waiting          `json:"waiting,omitempty"`               // why the newest document is not in effect yet
	Held          *Held             `json:"held,omitempty"`                  // why the newest catalogue is not used yet
	StaleSince    *time.Time        `json:"stale_since,omitempty"`           // see [engine.PipelineStatus]
	Last          *Offer            `json:"last,omitempty"`
}

// LeftOut is a service, or an instance of it, for which the sink rejects what was rendered.
type LeftOut struct {
	Service  string `json:"service"`
	Instance string `json:"instance,omitempty"` // its id
	Hostname string `json:"hostname,omitempty"`
	Reason   string `json:"reason"`
}

// maxQuarantined is how many of them are told by name.
const maxQuarantined = 100

// Quarantined is an instance that is kept from the templates because of what it says of itself.
type Quarantined struct {
	Service  string `json:"service,omitempty"`
	Instance string `json:"instance,omitempty"` // its id
	Hostname string `json:"hostname,omitempty"`
	Reason   string `json:"reason"`
}

// Waiting says for what the sink waits, with nothing being wrong.
type Waiting struct {
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
}

// Held says why the newest catalogue is held back, and until when if nobody releases it.
type Held struct {
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// Offer is what became of the last document that was offered to the sink.
type Offer struct {
	Generation uint64    `json:"generation"`
	Trigger    string    `json:"trigger"`
	Action     string    `json:"action,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Details    []string  `json:"details,omitempty"`
	Error      string    `json:"error,omitempty"`
	Deferred   string    `json:"deferred,omitempty"` // for what the sink waits
	LeftOut    []LeftOut `json:"left_out,omitempty"` // what the document was rendered without
	At         time.Time `json:"at"`
	Seconds    float64   `json:"seconds"`
}

func (s *Server) pipelines(w http.ResponseWriter, r *http.Request) {
	answerJSON(w, http.StatusOK, s.allPipelines(r.Context()))
}

func (s *Server) pipeline(w http.ResponseWriter, r *http.Request) {
	for _, p := range s.allPipelines(r.Context()) {
		if p.Name == r.PathValue("name") {
			answerJSON(w, http.StatusOK, p)
			return
		}
	}
	s.noPipeline(w)
}

func (s *Server) allPipelines(ctx context.Context) []Pipeline {
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	pipelines := s.cfg.Engine.Status()
	sources := make([]sdk.Health, len(pipelines))
	var asked sync.WaitGroup
	for i, p := range pipelines {
		asked.Go(func() { sources[i] = s.cfg.Engine.SourceHealth(ctx, p.Source) })
	}
	health := s.cfg.Engine.Health(ctx)
	asked.Wait()
	all := []Pipeline{}
	for _, how := range health {
		p := describe(how.PipelineStatus, how.Health)
		// The configuration may have changed meanwhile.
		if i := slices.IndexFunc(pipelines, func(other engine.PipelineStatus) bool { return other.Name == p.Name }); i >= 0 {
			p.SourceTrouble, p.SourceFacts = sources[i].Problems, sources[i].Facts
		}
		all = append(all, p)
	}
	return all
}

func describe(status engine.PipelineStatus, health sdk.Health) Pipeline {
	p := Pipeline{
		Name: status.Name, Source: status.Source, Generation: status.Generation, Digest: status.Digest,
		Problems: health.Problems, Facts: health.Facts, Notes: status.Notes, Volatile: status.Nondeterministic,
	}
	if p.Problems == nil {
		p.Problems = []string{}
	}
	if !status.Since.IsZero() {
		p.Since = &status.Since
	}
	if status.TemplateError != nil {
		p.TemplateError, p.TemplateTold = status.TemplateError.Error(), engine.Detail(status.TemplateError)
	}
	if !status.Applying.IsZero() {
		p.Applying = &status.Applying
	}
	p.LeftOut = leftOut(status.Excluded)
	p.Quarantined, p.QuarantinedN = quarantined(status.Quarantined), len(status.Quarantined)
	p.Dropped, p.DroppedN = quarantined(status.Dropped), len(status.Dropped)
	if w := status.Pending; w != nil {
		p.Waiting = &Waiting{Reason: w.Reason, Until: w.Until}
	}
	if h := status.Held; h != nil {
		p.Held = &Held{Reason: h.Reason, Since: h.Since, Until: h.Until}
	}
	if !status.StaleSince.IsZero() {
		p.StaleSince = &status.StaleSince
	}
	if status.Last != nil {
		p.Last = describeOffer(*status.Last)
	}
	return p
}

func describeOffer(e engine.Entry) *Offer {
	o := &Offer{
		Generation: e.Generation, Trigger: e.Trigger, Action: e.Result.Action, Reason: e.Result.Reason,
		Details: e.Result.Details, LeftOut: leftOut(e.Excluded), At: e.Started, Seconds: e.Took.Seconds(),
	}
	switch {
	case errors.Is(e.Err, sdk.ErrDeferred):
		o.Deferred = e.Err.Error()
	case e.Err != nil:
		o.Error = e.Err.Error()
	}
	return o
}

func leftOut(all []exclude.Exclusion) []LeftOut {
	var out []LeftOut
	for _, l := range all {
		out = append(out, LeftOut{Service: l.Service, Instance: l.ID, Hostname: l.Hostname, Reason: l.Reason})
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
