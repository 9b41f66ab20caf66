package server

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Status is the answer of GET /api/v1/status: everything about the daemon at one moment.
type Status struct {
	State         string        `json:"state"`   // the worst of the daemon's and its pipelines': one of the State constants
	Reasons       []Reason      `json:"reasons"` // why the daemon itself is not healthy; each pipeline has its own
	Version       string        `json:"version"`
	Started       time.Time     `json:"started"`
	UptimeSeconds int64         `json:"uptime_seconds"`
	Config        Configuration `json:"config"`
	Sources       []Source      `json:"sources"`   // sorted by name
	Pipelines     []Pipeline    `json:"pipelines"` // sorted by name
}

// Configuration says which configuration is in use.
type Configuration struct {
	File        string    `json:"file,omitempty"`         // its path; empty if there is no file
	Loaded      time.Time `json:"loaded"`                 // when the configuration in use was loaded
	Error       string    `json:"error,omitempty"`        // why the saved file is not in use, in one line
	ErrorDetail string    `json:"error_detail,omitempty"` // the same in several lines
}

// Source is the status of one source in the API.
type Source struct {
	Name     string            `json:"name"`
	Type     string            `json:"type"` // in the configuration
	Up       bool              `json:"up"`   // it is watched and reports no problem
	Problems []string          `json:"problems"`
	Facts    map[string]string `json:"facts,omitempty"`

	LastSnapshot *time.Time `json:"last_snapshot,omitempty"` // when the newest one arrived, also if it is held or changes nothing
	LastCause    string     `json:"last_cause,omitempty"`    // what made the source emit it: push, watch or resync
	LastSender   string     `json:"last_sender,omitempty"`   // the address of the client that pushed it
	StaleSince   *time.Time `json:"stale_since,omitempty"`   // when the snapshot in use was taken, if it is of an earlier run
	Held         *Held      `json:"held,omitempty"`          // why the newest snapshot is not used yet

	Services         int       `json:"services"` // of the snapshot in use
	Instances        Instances `json:"instances"`
	QuarantinedCount int       `json:"quarantined_count"`
}

// Instances are the numbers of instances in the snapshot that is in use, by status.
type Instances struct {
	Alive     int `json:"alive"`
	Unhealthy int `json:"unhealthy"`
	Draining  int `json:"draining"`
	Tombstone int `json:"tombstone"`
	Unknown   int `json:"unknown"`
}

// SetConfiguration records which configuration file is in use, if there is one, and when it was loaded.
func (s *Server) SetConfiguration(file string, loaded time.Time) {
	s.configuration.Store(&Configuration{File: file, Loaded: loaded})
	s.cfg.Events.StatusChanged("")
}

// SetConfigurationError records why the saved configuration is not in use.
func (s *Server) SetConfigurationError(err error) {
	c := *s.configuration.Load()
	c.ErrorDetail = engine.Detail(err)
	c.Error = strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
	s.configuration.Store(&c)
	s.cfg.Events.StatusChanged("")
}

// getStatus answers with the status of the daemon, its sources and its pipelines.
func (s *Server) getStatus(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.Status(r.Context()))
}

// Status returns the status of the daemon, its sources and its pipelines. A source or a sink that does not answer delays it by
// healthTimeout at most. Its texts may contain secrets, see [engine.Masked].
func (s *Server) Status(ctx context.Context) Status {
	sources, pipelines := s.health(ctx)
	now := time.Now()
	status := Status{
		Version: s.cfg.Version, Started: s.started, UptimeSeconds: int64(now.Sub(s.started).Seconds()),
		Config: *s.configuration.Load(), Sources: []Source{}, Pipelines: pipelines,
	}
	for _, source := range sources {
		status.Sources = append(status.Sources, newSource(source))
	}
	storeProblem := ""
	if s.cfg.StoreProblem != nil {
		storeProblem = s.cfg.StoreProblem()
	}
	status.State, status.Reasons = daemonState(status.Config, storeProblem, pipelines)
	return status
}

// healthOfAll returns the health of all sources and pipelines. It calls all sources and sinks at the same time, and returns when
// ctx is done at the latest.
func healthOfAll(ctx context.Context, e *engine.Engine) (sources []engine.SourceStatus, pipelines []engine.PipelineHealth) {
	var wg sync.WaitGroup
	wg.Go(func() { sources = e.Sources(ctx) })
	pipelines = e.Health(ctx)
	wg.Wait()
	return sources, pipelines
}

// health returns the status of all sources and pipelines, within healthTimeout.
func (s *Server) health(ctx context.Context) ([]engine.SourceStatus, []Pipeline) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	sources, health := healthOfAll(ctx, s.cfg.Engine)
	byName := map[string]engine.SourceStatus{}
	for _, source := range sources {
		byName[source.Name] = source
	}
	pipelines := []Pipeline{}
	for _, h := range health {
		pipelines = append(pipelines, newPipeline(h, byName[h.Source]))
	}
	return sources, pipelines
}

func newSource(status engine.SourceStatus) Source {
	count := func(of sdk.Status) int { return status.Instances[of.Name()] }
	return Source{
		Name: status.Name, Type: status.Type, Up: status.Up,
		Problems: append([]string{}, status.Problems...), Facts: status.Facts,
		LastSnapshot: timeOrNil(status.LastSnapshot), LastCause: status.LastCause, LastSender: status.LastSender,
		StaleSince: timeOrNil(status.StaleSince), Held: newHeld(status.Held), Services: status.Services,
		Instances: Instances{
			Alive: count(sdk.Alive), Unhealthy: count(sdk.Unhealthy), Draining: count(sdk.Draining),
			Tombstone: count(sdk.Tombstone), Unknown: count(sdk.Unknown),
		},
		QuarantinedCount: status.Quarantined,
	}
}

func newHeld(h *engine.Held) *Held {
	if h == nil {
		return nil
	}
	return &Held{Reason: h.Reason, Since: h.Since, Until: h.Until}
}
