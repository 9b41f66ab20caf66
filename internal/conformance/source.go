package sdktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Source says what to try on a source plugin.
type Source struct {
	Program
	// Change changes the catalogue, so that another snapshot has to come. nil where that cannot be done.
	Change func(context.Context) error
}

// TestSource runs every check of [CheckSource] as a subtest.
func TestSource(t *testing.T, s Source) { CheckSource(t.Context(), s, asTests(t)) }

// CheckSource looks at a source plugin and reports each finding as soon as there is one. It returns whether none was a fault.
func CheckSource(ctx context.Context, s Source, report func(Finding)) bool {
	bench := &sourceBench{Source: s}
	defer bench.close()
	return perform(ctx, bench, sourceChecks, report)
}

var sourceChecks = []check[*sourceBench]{
	{"starts and accepts its configuration", (*sourceBench).starts},
	{"says its name and version", func(b *sourceBench, _ context.Context) error { return hasName(b.source.Info()) }},
	{"refuses unknown keys", (*sourceBench).refusesUnknownKeys},
	{"emits what it knows at once", (*sourceBench).emits},
	{"has a name, a host and an id for every instance", (*sourceBench).namesInstances},
	{"emits again after a change", (*sourceBench).emitsChange},
	{"watches again after it was told to end", (*sourceBench).emits},
	{"ends when it is told to", (*sourceBench).endsWhenTold},
	{"ends with its daemon", (*sourceBench).endsWithDaemon},
	{"emits again after it was killed", (*sourceBench).emitsAfterKill},
}

type sourceBench struct {
	Source
	source *host.Source
	seen   sdk.Snapshot
}

func (b *sourceBench) close() {
	if b.source != nil {
		_ = b.source.Close()
		b.source = nil
	}
}

func (b *sourceBench) starts(ctx context.Context) error {
	source, err := host.StartSource(ctx, b.options(b.Block))
	if err != nil {
		return err
	}
	b.source = source
	return nil
}

func (b *sourceBench) again(ctx context.Context) error {
	if b.source != nil {
		return nil
	}
	return b.starts(ctx)
}

func (b *sourceBench) refusesUnknownKeys(ctx context.Context) error {
	return refusesUnknownKeys(ctx, func(ctx context.Context, block sdk.Block) error {
		source, err := host.StartSource(ctx, b.options(block))
		if err == nil {
			_ = source.Close()
		}
		return err
	}, b.Block)
}

// watch runs Watch and gives each snapshot to look, until look returns true; then it sees to it that Watch ends in time.
func (b *sourceBench) watch(ctx context.Context, look func(context.Context, sdk.Snapshot) bool) error {
	ctx, cancel := b.within(ctx)
	defer cancel()
	snapshots, ended := make(chan sdk.Snapshot), make(chan error, 1)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		ended <- b.source.Watch(watching, func(s sdk.Snapshot) {
			select {
			case snapshots <- s:
			case <-watching.Done():
			}
		})
	}()
	for {
		select {
		case s := <-snapshots:
			if look(ctx, s) {
				stop()
				return endsInTime(ended)
			}
		case err := <-ended:
			return fmt.Errorf("its watch ended by itself: %w", errors.Join(err, context.Cause(ctx)))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func endsInTime(ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-time.After(endWithin):
		return fmt.Errorf("its watch goes on %s after it was told to end", endWithin)
	}
}

func (b *sourceBench) emits(ctx context.Context) error {
	if err := b.again(ctx); err != nil {
		return err
	}
	return b.watch(ctx, func(_ context.Context, s sdk.Snapshot) bool { b.seen = s; return true })
}

func (b *sourceBench) namesInstances(context.Context) error {
	var nameless []string
	for _, service := range b.seen.Services {
		for _, i := range service.Instances {
			if i.Name == "" || i.Hostname == "" || i.ID == "" {
				nameless = append(nameless, fmt.Sprintf("name %q, host %q, id %q", i.Name, i.Hostname, i.ID))
			}
		}
	}
	if len(nameless) > 0 {
		return fmt.Errorf("these lack something: %s", strings.Join(slices.Compact(nameless), "; "))
	}
	return nil
}

func (b *sourceBench) emitsChange(ctx context.Context) error {
	if b.Change == nil {
		return skip("nothing here can change the catalogue")
	}
	changed := false
	var failed error
	err := b.watch(ctx, func(ctx context.Context, s sdk.Snapshot) bool {
		if !changed {
			changed, b.seen = true, s
			failed = b.Change(ctx)
			return failed != nil
		}
		return !snapshots.Equal(s, b.seen)
	})
	return errors.Join(failed, err)
}

func (b *sourceBench) endsWhenTold(ctx context.Context) error {
	if err := b.again(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	err := b.source.Stop(ctx)
	b.source = nil
	return err
}

func (b *sourceBench) endsWithDaemon(ctx context.Context) error {
	if err := b.emits(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	err := b.source.Abandon(ctx)
	b.source = nil
	if err != nil {
		return fmt.Errorf("its call Attach ended and it runs on %s later: it must end by itself", endWithin)
	}
	return nil
}

func (b *sourceBench) emitsAfterKill(ctx context.Context) error {
	if err := b.again(ctx); err != nil {
		return err
	}
	killed := false
	return b.watch(ctx, func(context.Context, sdk.Snapshot) bool {
		if killed {
			return true
		}
		killed = true
		if pid := b.source.PID(); pid != 0 { // 0 would be our own process group
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return false
	})
}
