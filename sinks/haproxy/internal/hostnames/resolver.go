// Package hostnames resolves the host names in a HAProxy configuration before HAProxy does.
//
// HAProxy asks the C library for one name after another and waits up to 20 s for each name that no name server answers. A
// [Resolver] looks names up in parallel, within a time limit, and caches the results for a short time. The package knows neither
// configurations nor HAProxy.
package hostnames

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// lookupTimeout bounds the wait for the name servers, for one host name.
	lookupTimeout = 2 * time.Second
	// confirmTimeout bounds the wait for the C library, for one host name.
	confirmTimeout = time.Second
	// resolveTimeout bounds one call of Resolve.
	resolveTimeout = 10 * time.Second
	// parallelLookups is how many host names are looked up at the same time.
	parallelLookups = 16
	// cacheTTL is how long a result is used. It is short because a container that is restarted may get another address.
	cacheTTL = 5 * time.Second
)

// A Resolver looks up host names and caches the results. It is safe for concurrent use.
//
// Go's resolver reads /etc/hosts and asks the name servers in /etc/resolv.conf, as most C libraries are configured to do. Where
// it finds nothing, Confirm makes HAProxy look up that one name: the C library may use other sources in /etc/nsswitch.conf.
type Resolver struct {
	Lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error) // as [net.Resolver.LookupNetIP]
	Confirm func(ctx context.Context, host string) bool                           // reports whether HAProxy finds an address

	mu    sync.Mutex
	cache map[string]Result
}

// A Result is what is known about a host name. Without addresses and without an error, only HAProxy knows the address.
type Result struct {
	Addresses []netip.Addr
	Err       error

	expires time.Time
}

var errTimeout = fmt.Errorf("it was not looked up within %v", resolveTimeout)

// Resolve returns the result for each of the hosts. It looks up those that are not in the cache, and takes 10 s at most.
func (r *Resolver) Resolve(ctx context.Context, hosts []string) map[string]Result {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var lookups errgroup.Group
	lookups.SetLimit(parallelLookups)
	for _, host := range r.uncached(hosts) {
		lookups.Go(func() error {
			if ctx.Err() == nil {
				r.store(ctx, host, r.lookUp(ctx, host))
			}
			return nil
		})
	}
	_ = lookups.Wait() // the errors are in the results
	found := map[string]Result{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, host := range hosts {
		found[host] = Result{Err: errTimeout}
		if result, cached := r.cache[host]; cached {
			found[host] = result
		}
	}
	return found
}

// Resolved reports whether all hosts are in the cache with an address.
func (r *Resolver) Resolved(hosts []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(hosts, func(host string) bool {
		result, cached := r.cache[host]
		return !cached || result.Err != nil || !time.Now().Before(result.expires)
	})
}

// uncached returns the hosts that have to be looked up, sorted and without duplicates.
func (r *Resolver) uncached(hosts []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.cache, func(_ string, result Result) bool { return !time.Now().Before(result.expires) })
	uncached := slices.DeleteFunc(slices.Clone(hosts), func(host string) bool {
		_, cached := r.cache[host]
		return cached
	})
	slices.Sort(uncached)
	return slices.Compact(uncached)
}

func (r *Resolver) lookUp(ctx context.Context, host string) Result {
	limited, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addresses, err := r.Lookup(limited, "ip", host)
	if err == nil && len(addresses) > 0 {
		return Result{Addresses: addresses}
	}
	limited, cancel = context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	if r.Confirm(limited, host) {
		return Result{}
	}
	if err == nil {
		err = errors.New("no such host")
	}
	return Result{Err: err}
}

// store caches a result, unless it is an error that only means that ctx is done.
func (r *Resolver) store(ctx context.Context, host string, result Result) {
	if result.Err != nil && ctx.Err() != nil {
		return
	}
	result.expires = time.Now().Add(cacheTTL)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cache == nil {
		r.cache = map[string]Result{}
	}
	r.cache[host] = result
}
