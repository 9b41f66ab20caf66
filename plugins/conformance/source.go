package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Source is a source plugin to check.
type Source struct {
	Program
	// Change changes something in the registry, so that the source must emit another snapshot. It is nil if nothing can be
	// changed.
	Change func(context.Context) error
	// OnProblem is called with the problems that the source reports while a snapshot is awaited. It may be nil.
	OnProblem func(problems string)
}

// CheckSource checks a source plugin and reports each finding as soon as there is one. It returns whether no check failed.
func CheckSource(ctx context.Context, s Source, report func(Finding)) bool {
	c := &sourceChecker{Source: s}
	defer c.close()
	return run(ctx, c, sourceChecks, report)
}

// sourceChecks depend on their order: each check finds the source in the state in which the previous one left it.
var sourceChecks = []check[*sourceChecker]{
	{"starts and accepts its configuration", (*sourceChecker).starts},
	{"reports its name and version", func(c *sourceChecker, _ context.Context) error { return checkInfo(c.source.Info()) }},
	{"rejects unknown keys", (*sourceChecker).rejectsUnknownKeys},
	{"emits a snapshot at once", (*sourceChecker).emits},
	{"sets name, hostname and id of every instance", (*sourceChecker).identifiesInstances},
	{"emits a snapshot after a change", (*sourceChecker).emitsChange},
	{"emits a snapshot again after its watch was ended", (*sourceChecker).emits},
	{"ends on Stop", (*sourceChecker).endsOnStop},
	{"ends with its daemon", (*sourceChecker).endsWithDaemon},
	{"emits snapshots after it was killed", (*sourceChecker).emitsAfterKill},
}

type sourceChecker struct {
	Source
	source *host.Source // nil while none runs
	newest sdk.Snapshot
	silent bool // it has emitted no snapshot when it should have
}

// errSilent says why a check that needs a snapshot is not made.
const errSilent skip = "it emitted no snapshot"

func (c *sourceChecker) close() {
	if c.source != nil {
		_ = c.source.Close()
		c.source = nil
	}
}

func (c *sourceChecker) starts(ctx context.Context) error {
	source, err := host.StartSource(ctx, c.options(c.Block))
	if err != nil {
		return err
	}
	c.source = source
	return nil
}

// ensureRunning starts the plugin again if the previous check has ended it.
func (c *sourceChecker) ensureRunning(ctx context.Context) error {
	if c.source != nil {
		return nil
	}
	return c.starts(ctx)
}

func (c *sourceChecker) rejectsUnknownKeys(ctx context.Context) error {
	return checkUnknownKey(ctx, func(ctx context.Context, block sdk.Block) error {
		source, err := host.StartSource(ctx, c.options(block))
		if err == nil {
			_ = source.Close()
		}
		return err
	}, c.Block)
}

// watch calls Watch and passes each snapshot to handle until that returns true. It then ends Watch and checks that it returns
// in time. It does not wait for long while the source reports problems.
func (c *sourceChecker) watch(ctx context.Context, handle func(context.Context, sdk.Snapshot) (done bool)) error {
	if c.silent {
		return errSilent
	}
	parent := ctx
	ctx, cancel := c.withTimeout(ctx, applyTimeout)
	defer cancel()
	emitted, ended := make(chan sdk.Snapshot), make(chan error, 1)
	watchCtx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		ended <- c.source.Watch(watchCtx, func(s sdk.Snapshot) {
			select {
			case emitted <- s:
			case <-watchCtx.Done():
			}
		})
	}()
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	reported := problems{}
	for {
		select {
		case s := <-emitted:
			reported = problems{}
			if handle(ctx, s) {
				stop()
				return awaitEnd(ended, c.bounded(endTimeout))
			}
		case err := <-ended:
			if ctx.Err() != nil {
				return reported.explain(context.Cause(ctx))
			}
			return fmt.Errorf("its watch ended by itself: %w", err)
		case <-ticker.C:
			reported.update(c.problems(parent)) // the end of ctx is not a problem that the source reports
			if reported.text != "" && time.Since(reported.since) > c.bounded(problemTimeout) {
				return reported.explain(errors.New("it emits no snapshot"))
			}
		case <-ctx.Done():
			return reported.explain(context.Cause(ctx))
		}
	}
}

// problems returns the problems that the source reports, and "" if there is none.
func (c *sourceChecker) problems(ctx context.Context) string {
	health, err := c.source.Health(ctx) // bounded by the host
	if err != nil || health.OK() {
		return ""
	}
	text := strings.Join(health.Problems, "; ")
	if c.OnProblem != nil {
		c.OnProblem(text)
	}
	return text
}

// problems are those that a source reports while a snapshot is awaited.
type problems struct {
	text  string    // "" for none
	since time.Time // when there was none for the last time
}

func (p *problems) update(text string) {
	if p.text == "" {
		p.since = time.Now()
	}
	p.text = text
}

// explain adds the problems to an error.
func (p *problems) explain(err error) error {
	if p.text == "" {
		return err
	}
	return fmt.Errorf("%w; it reports: %s", err, p.text)
}

func awaitEnd(ended <-chan error, timeout time.Duration) error {
	select {
	case err := <-ended:
		return err
	case <-time.After(timeout):
		return fmt.Errorf("its watch goes on %s after it was cancelled", timeout)
	}
}

func (c *sourceChecker) emits(ctx context.Context) error {
	if err := c.ensureRunning(ctx); err != nil {
		return err
	}
	seen := false
	err := c.watch(ctx, func(_ context.Context, s sdk.Snapshot) bool { c.newest, seen = s, true; return true })
	c.silent = !seen
	return err
}

func (c *sourceChecker) identifiesInstances(context.Context) error {
	if c.silent {
		return errSilent
	}
	var incomplete []string
	for _, service := range c.newest.Services {
		for _, i := range service.Instances {
			if i.Name == "" || i.Hostname == "" || i.ID == "" {
				incomplete = append(incomplete, fmt.Sprintf("name %q, hostname %q, id %q", i.Name, i.Hostname, i.ID))
			}
		}
	}
	if len(incomplete) > 0 {
		return fmt.Errorf("these instances are incomplete: %s", strings.Join(slices.Compact(incomplete), "; "))
	}
	return nil
}

func (c *sourceChecker) emitsChange(ctx context.Context) error {
	if c.Change == nil {
		return skip("nothing can be changed here")
	}
	changed := false
	var failed error
	err := c.watch(ctx, func(ctx context.Context, s sdk.Snapshot) bool {
		if !changed {
			changed, c.newest = true, s
			failed = c.Change(ctx)
			return failed != nil
		}
		return !snapshots.Equal(s, c.newest)
	})
	return errors.Join(failed, err)
}

func (c *sourceChecker) endsOnStop(ctx context.Context) error {
	if err := c.ensureRunning(ctx); err != nil {
		return err
	}
	ctx, cancel := c.withTimeout(ctx, endTimeout)
	defer cancel()
	err := c.source.Stop(ctx)
	c.source = nil
	return err
}

func (c *sourceChecker) endsWithDaemon(ctx context.Context) error {
	if err := c.emits(ctx); err != nil {
		return err
	}
	ctx, cancel := c.withTimeout(ctx, endTimeout)
	defer cancel()
	err := c.source.Detach(ctx)
	c.source = nil
	if err != nil {
		return fmt.Errorf("it still runs %s after its call Attach has ended: it must end by itself", c.bounded(endTimeout))
	}
	return nil
}

func (c *sourceChecker) emitsAfterKill(ctx context.Context) error {
	if err := c.ensureRunning(ctx); err != nil {
		return err
	}
	killed := false
	return c.watch(ctx, func(context.Context, sdk.Snapshot) bool {
		if killed {
			return true
		}
		killed = true
		if pid := c.source.PID(); pid != 0 { // kill(2) would address our own process group for 0
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return false
	})
}
