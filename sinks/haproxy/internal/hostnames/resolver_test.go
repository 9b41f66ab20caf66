package hostnames

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// unanswered is a lookup that no name server answers.
func unanswered(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("host-%d.example", i))
	}
	return all
}

func TestResolver_ParallelAndCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lookups, atOnce, most atomic.Int64
		r := &Resolver{
			Lookup: func(context.Context, string, string) ([]netip.Addr, error) {
				lookups.Add(1)
				most.Store(max(most.Load(), atOnce.Add(1)))
				defer atOnce.Add(-1)
				time.Sleep(100 * time.Millisecond)
				return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
			},
			Confirm: func(context.Context, string) bool { return false },
		}
		hosts := append(names(100), names(100)...)
		began := time.Now()
		for host, result := range r.Resolve(t.Context(), hosts) {
			if result.Err != nil || len(result.Addresses) != 1 {
				t.Errorf("%s: %v", host, result)
			}
		}
		if lookups.Load() != 100 || most.Load() > parallelLookups || time.Since(began) > time.Second {
			t.Errorf("%d lookups, %d at once, took %v", lookups.Load(), most.Load(), time.Since(began))
		}
		if r.Resolve(t.Context(), hosts); lookups.Load() != 100 || !r.Resolved(hosts) {
			t.Errorf("%d lookups", lookups.Load())
		}
		time.Sleep(cacheTTL)
		if r.Resolved(hosts) {
			t.Error("kept too long")
		}
		if r.Resolve(t.Context(), hosts); lookups.Load() != 200 {
			t.Errorf("%d lookups", lookups.Load())
		}
	})
}

func TestResolver_NoAnswer(t *testing.T) {
	for _, test := range []struct {
		count int
		limit time.Duration
	}{
		{4, lookupTimeout + confirmTimeout},
		{1000, resolveTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &Resolver{Lookup: unanswered, Confirm: func(ctx context.Context, _ string) bool {
				<-ctx.Done()
				return false
			}}
			began := time.Now()
			found := r.Resolve(t.Context(), names(test.count))
			if took := time.Since(began); took > test.limit {
				t.Errorf("%d names took %v", test.count, took)
			}
			for host, result := range found {
				if result.Err == nil {
					t.Errorf("%s has an address", host)
				}
			}
			if len(found) != test.count {
				t.Errorf("%d of %d names", len(found), test.count)
			}
			known := slices.DeleteFunc(names(test.count), func(host string) bool { return len(r.uncached([]string{host})) > 0 })
			if len(known) < min(test.count, parallelLookups) {
				t.Errorf("%d are known", len(known))
			}
			began = time.Now()
			if r.Resolve(t.Context(), known); time.Since(began) > 0 {
				t.Errorf("the second time took %v", time.Since(began))
			}
		})
	}
}

// A lookup that was cancelled says nothing about the name.
func TestResolver_Cancelled(t *testing.T) {
	r := &Resolver{Lookup: unanswered, Confirm: func(context.Context, string) bool { return false }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found := r.Resolve(ctx, names(1)); found["host-0.example"].Err == nil {
		t.Error("resolved")
	}
	if len(r.uncached(names(1))) != 1 {
		t.Error("kept")
	}
}
