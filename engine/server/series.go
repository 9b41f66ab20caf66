package server

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// seriesInterval is the time between two points of a series.
	seriesInterval = time.Minute
	// seriesLength is how many points a series keeps: those of six hours.
	seriesLength = 360
)

// Series has one point a minute for each pipeline, for the charts of the status page. It implements [engine.Observer].
type Series struct {
	engine.NoObserver

	mu        sync.Mutex
	started   time.Time
	pipelines map[string]*changeSeries
	instances map[string]*ring // by source; only Instances is used
}

// A changeSeries has the points of one pipeline, without Instances.
type changeSeries struct {
	ring
	counted []uint64 // the generations of the newest changes that were counted, because changes are updated
}

// Point is what happened within one minute.
type Point struct {
	Time             time.Time `json:"time"`              // when the minute began
	Changes          int       `json:"changes"`           // that took effect
	Reloads          int       `json:"reloads"`           // of them, those that reloaded or started the sink's program
	ConvergenceMax   float64   `json:"convergence_max"`   // the longest time from a snapshot until it was in effect, in seconds
	ConvergenceSum   float64   `json:"convergence_sum"`   // of these times
	ConvergenceCount int       `json:"convergence_count"` // of these times
	Instances        *int      `json:"instances"`         // alive at the end of the minute; null before the first snapshot
}

// NewSeries returns series that begin now.
func NewSeries() *Series {
	return &Series{started: time.Now(), pipelines: map[string]*changeSeries{}, instances: map[string]*ring{}}
}

// SnapshotReceived records how many instances are alive.
func (s *Series) SnapshotReceived(snap sdk.Snapshot, held bool) {
	if held {
		return
	}
	alive := 0
	for _, service := range snap.Services {
		for i := range service.Instances { // without a copy of each instance
			if service.Instances[i].IsAlive() {
				alive++
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.instances[snap.Source]
	if of == nil {
		of = &ring{}
		s.instances[snap.Source] = of
	}
	of.at(time.Now()).Instances = &alive
}

// Changed counts a change that took effect.
func (s *Series) Changed(pipeline string, c history.Change) {
	if c.Outcome != history.OutcomeApplied {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.pipelines[pipeline]
	if of == nil {
		of = &changeSeries{}
		s.pipelines[pipeline] = of
	}
	if of.count(c.Generation) {
		of.at(time.Now()).add(c)
	}
}

// count reports whether the change with that generation is to be counted, which it is once.
func (p *changeSeries) count(generation uint64) bool {
	const most = 64 // older changes are not updated
	if slices.Contains(p.counted, generation) {
		return false
	}
	p.counted = append(p.counted, generation)
	if len(p.counted) > most {
		p.counted = slices.Delete(p.counted, 0, 1)
	}
	return true
}

func (p *Point) add(c history.Change) {
	p.Changes++
	if c.IsReload() {
		p.Reloads++
	}
	if c.Trigger.IsSnapshot() {
		p.ConvergenceMax = max(p.ConvergenceMax, c.Seconds)
		p.ConvergenceSum += c.Seconds
		p.ConvergenceCount++
	}
}

// SetComponents removes the series of other pipelines and sources than those.
func (s *Series) SetComponents(c Components) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.pipelines, func(name string, _ *changeSeries) bool { return !slices.Contains(c.Pipelines, name) })
	maps.DeleteFunc(s.instances, func(name string, _ *ring) bool { return !slices.Contains(c.Sources, name) })
}

// points returns the points of a pipeline of that source from the minute of since until now, oldest first.
func (s *Series) points(pipeline, source string, since time.Time) []Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var changes, instances ring
	if of := s.pipelines[pipeline]; of != nil {
		changes = of.ring
	}
	if of := s.instances[source]; of != nil {
		of.at(now) // up to now
		instances = *of
	}
	first := max(minuteOf(s.started), minuteOf(since), minuteOf(now)-seriesLength+1)
	points := []Point{}
	for minute := first; minute <= minuteOf(now); minute++ {
		p := changes.get(minute)
		p.Time, p.Instances = time.Unix(minute*int64(seriesInterval/time.Second), 0).UTC(), instances.get(minute).Instances
		points = append(points, p)
	}
	return points
}

func minuteOf(t time.Time) int64 { return t.Unix() / int64(seriesInterval/time.Second) }

// A ring keeps the points of the last minutes. The point of a minute is at its number modulo the length.
type ring struct {
	points [seriesLength]Point
	newest int64 // the minute of the newest point; 0 for none
}

// at returns the point of the minute at t, which is the newest one. The minutes before it that have no point get one with the
// instances of the previous point.
func (r *ring) at(t time.Time) *Point {
	minute := max(minuteOf(t), r.newest) // the clock may go back
	before := r.points[r.newest%seriesLength].Instances
	for m := max(r.newest+1, minute-seriesLength+1); m <= minute; m++ {
		r.points[m%seriesLength] = Point{Instances: before}
	}
	r.newest = minute
	return &r.points[minute%seriesLength]
}

// get returns the point of a minute, which is empty if there is none.
func (r *ring) get(minute int64) Point {
	if minute > r.newest || minute <= r.newest-seriesLength {
		return Point{}
	}
	return r.points[minute%seriesLength]
}

// PipelineSeries is the answer to GET /api/v1/pipelines/NAME/series.
type PipelineSeries struct {
	IntervalSeconds int     `json:"interval_seconds"`
	Points          []Point `json:"points"`
}

// getSeries answers with the points of a pipeline, from the time in the parameter since on.
func (s *Server) getSeries(w http.ResponseWriter, r *http.Request) {
	status, ok := s.pipelineStatus(r.PathValue("name"))
	if !ok {
		writeNoPipeline(w)
		return
	}
	query, err := parseQuery(r, "since")
	if err != nil {
		writeErrors(w, http.StatusBadRequest, err.Error())
		return
	}
	since := time.Unix(0, 0)
	if text := query.Get("since"); text != "" {
		if since, err = parseTime(text); err != nil {
			writeErrors(w, http.StatusBadRequest, "parameter since: "+err.Error())
			return
		}
	}
	writeJSON(w, http.StatusOK, PipelineSeries{
		IntervalSeconds: int(seriesInterval / time.Second), Points: s.cfg.Series.points(status.Name, status.Source, since),
	})
}

// pipelineStatus returns the status of the named pipeline, and false if there is none.
func (s *Server) pipelineStatus(name string) (engine.PipelineStatus, bool) {
	for _, status := range s.cfg.Engine.Status() {
		if status.Name == name {
			return status, true
		}
	}
	return engine.PipelineStatus{}, false
}

var _ engine.Observer = (*Series)(nil)
