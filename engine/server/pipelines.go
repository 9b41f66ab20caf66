package server

import (
	"context"
	"net/http"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
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
	TemplateError string            `json:"template_error,omitempty"` // why the newest template is not used
	Notes         []string          `json:"notes,omitempty"`          // what the template says about the catalogue
	Last          *Offer            `json:"last,omitempty"`
}

// Offer is what became of the last document that was offered to the sink.
type Offer struct {
	Generation uint64    `json:"generation"`
	Trigger    string    `json:"trigger"`
	Action     string    `json:"action,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Details    []string  `json:"details,omitempty"`
	Error      string    `json:"error,omitempty"`
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
	answerErrors(w, http.StatusNotFound, "there is no such pipeline; GET /api/v1/pipelines lists them")
}

func (s *Server) allPipelines(ctx context.Context) []Pipeline {
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	all := []Pipeline{}
	health := s.cfg.Engine.Health(ctx)
	for i, status := range s.cfg.Engine.Status() {
		p := describe(status, health[i])
		source := s.cfg.Engine.SourceHealth(ctx, status.Source)
		p.SourceTrouble, p.SourceFacts = source.Problems, source.Facts
		all = append(all, p)
	}
	return all
}

func describe(status engine.PipelineStatus, health sdk.Health) Pipeline {
	p := Pipeline{
		Name: status.Name, Source: status.Source, Generation: status.Generation, Digest: status.Digest,
		Problems: health.Problems, Facts: health.Facts, Notes: status.Notes,
	}
	if p.Problems == nil {
		p.Problems = []string{}
	}
	if !status.Since.IsZero() {
		p.Since = &status.Since
	}
	if status.TemplateError != nil {
		p.TemplateError = status.TemplateError.Error()
	}
	if e := status.Last; e != nil {
		p.Last = &Offer{
			Generation: e.Generation, Trigger: e.Trigger, Action: e.Result.Action, Reason: e.Result.Reason,
			Details: e.Result.Details, At: e.Offered, Seconds: e.Took.Seconds(),
		}
		if e.Err != nil {
			p.Last.Error = e.Err.Error()
		}
	}
	return p
}
