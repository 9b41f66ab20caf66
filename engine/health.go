package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// overdueAfter is how long a sink may be busy with a document before that is a problem.
	overdueAfter = 15 * time.Second
	// healthTimeout bounds one Health call to a sink.
	healthTimeout = 2 * time.Second
	// unresponsiveTimeout bounds it if the sink did not answer the last one in time.
	unresponsiveTimeout = 50 * time.Millisecond
)

// PipelineHealth is the status of a pipeline and the health of its sink.
type PipelineHealth struct {
	PipelineStatus
	sdk.Health
}

// health returns the sink's health with the problems of the pipeline. It returns at the latest when ctx is done: a sink may hang.
// After a call has timed out, later calls return soon, until the sink answers again.
func (p *pipeline) health(ctx context.Context) PipelineHealth {
	if p.unresponsive.Load() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, unresponsiveTimeout)
		defer cancel()
	}
	var health sdk.Health
	select {
	case result := <-p.callHealth(ctx):
		health = result.Val.(sdk.Health)
		health.Problems = slices.Clone(health.Problems)
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			p.unresponsive.Store(true)
		}
		health.Problems = []string{"the sink does not answer"}
	}
	status := p.status()
	if busy := time.Since(status.Applying); !status.Applying.IsZero() && busy > overdueAfter {
		health.Problems = append(health.Problems,
			fmt.Sprintf("the sink has been busy with a configuration for %s", busy.Round(time.Second)))
	}
	if err := status.ApplyError; err != nil {
		health.Problems = append(health.Problems, "the last configuration could not be applied: "+err.Error())
	}
	if err := status.InputsError; err != nil {
		health.Problems = append(health.Problems, "files that are read beside the configuration cannot be loaded: "+err.Error())
	}
	return PipelineHealth{status, health}
}

// callHealth calls the sink's Health, or shares a call that is under way: many callers at once must not keep the sink from
// applying changes.
func (p *pipeline) callHealth(ctx context.Context) <-chan singleflight.Result {
	return p.healthCalls.DoChan("health", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
		defer cancel()
		health, err := p.sink.Health(ctx)
		p.unresponsive.Store(ctx.Err() != nil)
		if err != nil {
			health.Problems = append(health.Problems, "getting the sink's health failed: "+err.Error())
		}
		return health, nil
	})
}
