package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// overdueAfter is how long a sink may be busy with a document before that is a problem.
	overdueAfter = 15 * time.Second
	// healthTimeout bounds one Health call to a sink or a source.
	healthTimeout = 2 * time.Second
	// unresponsiveTimeout bounds it if the last one was not answered in time.
	unresponsiveTimeout = 50 * time.Millisecond
)

// PipelineHealth is the status of a pipeline and the health of its sink. The problems of Health are SinkProblems and why the
// newest document or the files beside it are not in effect.
type PipelineHealth struct {
	PipelineStatus
	sdk.Health
	SinkProblems []string // what the sink reports, or that it does not answer or is busy for too long
	Crashes      int      // how often the sink's program ended by itself within the last CrashWindow
	LastCrash    string   // what the sink reported about the last time
}

// CrashWindow is the time for which crashes of a sink's program count as recent.
const CrashWindow = 5 * time.Minute

// health returns the sink's health with the problems of the pipeline. It returns at the latest when ctx is done.
func (p *pipeline) health(ctx context.Context) PipelineHealth {
	health, answered := p.healthCalls.call(ctx, p.sink)
	if !answered {
		health.Problems = []string{"the sink does not answer"}
	}
	status := p.status()
	if err := status.ApplyError; err != nil { // which the sink may report too, as what keeps its program from starting
		health.Problems = slices.DeleteFunc(health.Problems, func(s string) bool { return s == err.Error() })
	}
	if busy := time.Since(status.Applying); !status.Applying.IsZero() && busy > overdueAfter {
		health.Problems = append(health.Problems,
			fmt.Sprintf("the sink has been busy with a configuration for %s", busy.Round(time.Second)))
	}
	sinkProblems := slices.Clone(health.Problems)
	if err := status.ApplyError; err != nil {
		health.Problems = append(health.Problems, "the last configuration could not be applied: "+err.Error())
	}
	if err := status.InputsError; err != nil {
		health.Problems = append(health.Problems, "files that are read beside the configuration cannot be loaded: "+err.Error())
	}
	crashes, last := p.recentCrashes()
	return PipelineHealth{status, health, sinkProblems, crashes, last}
}

// recentCrashes returns how often the sink's program ended by itself within the last CrashWindow, and the reason of the last
// time.
func (p *pipeline) recentCrashes() (n int, last string) {
	since := time.Now().Add(-CrashWindow)
	p.history.Find(func(c *history.Change) bool {
		if c.Event == sdk.EventCrashed && c.Updated.After(since) {
			n += c.Attempts
			last = cmp.Or(last, c.Reason)
		}
		return false
	})
	return n, last
}

// A healthReporter is a sink, or a source that reports its health.
type healthReporter interface {
	Health(ctx context.Context) (sdk.Health, error)
}

// healthCalls are the Health calls to one sink or source, which may hang. Callers share a call that is under way: many callers at
// once must not keep a sink from applying changes.
type healthCalls struct {
	group        singleflight.Group
	unresponsive atomic.Bool // the last call was not answered in time
}

// call returns the health that r reports, and false if there is none when ctx is done. After a call has timed out, later
// calls return soon, until r answers again.
func (h *healthCalls) call(ctx context.Context, r healthReporter) (sdk.Health, bool) {
	if h.unresponsive.Load() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, unresponsiveTimeout)
		defer cancel()
	}
	select {
	case result := <-h.start(ctx, r):
		health := result.Val.(sdk.Health)
		health.Problems = slices.Clone(health.Problems) // the other callers have the same one
		return health, true
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			h.unresponsive.Store(true)
		}
		return sdk.Health{}, false
	}
}

// start calls r's Health, or shares the call that is under way.
func (h *healthCalls) start(ctx context.Context, r healthReporter) <-chan singleflight.Result {
	return h.group.DoChan("health", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
		defer cancel()
		health, err := r.Health(ctx)
		h.unresponsive.Store(ctx.Err() != nil)
		if err != nil {
			health.Problems = append(health.Problems, "getting the health failed: "+err.Error())
		}
		return health, nil
	})
}
