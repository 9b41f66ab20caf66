// Package rendercache makes rendering a snapshot cost what changed since the snapshot before. It keeps what the iterations of
// a template's ranges over .Services wrote, by service; an iteration whose dependencies are the same is replayed instead of
// executed.
//
// [Instrument] edits the templates, and a [Cache] keeps the iterations. The package knows parse trees and instances. It does not
// know how a template is executed, what its functions do, nor what is derived from a snapshot: the package templates says
// which functions are deterministic and what an iteration depends on.
package rendercache

import (
	"maps"
	"reflect"
	"slices"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Cache keeps the iterations of the last execution of a set of templates. The zero Cache is empty. It is for one execution at a
// time.
type Cache struct {
	iterations map[key]*entry
}

type key struct {
	loop    int // the number that [Instrument] gave to the range
	service string
}

type entry struct {
	Iteration
	used bool // in this execution
}

// A Service is all that functions can say of a service, or of a name that is none.
type Service struct {
	Instances []sdk.Instance // in any state
	Facts     any            // comparable: what follows from the rest of the snapshot
}

// An Iteration is one iteration that was executed. Variables and Services are all that it depends on.
type Iteration struct {
	Variables    []any              // from outside, which it uses: scalars
	Services     map[string]Service // its own one and those that it passed to functions
	Output       []byte
	Assigned     []any // the variables that it assigns to, as they were at its end
	Bytes, Steps int   // what it counts for the bounds of an execution
}

// Lookup returns the iteration of that range for the service, or nil if none is kept that depends on the same. current
// returns what functions say of a service now. The iteration keeps that instead of the equal value that it had, so that the
// cache does not hold on to old snapshots.
func (c *Cache) Lookup(loop int, service string, variables []any, current func(service string) Service) *Iteration {
	e := c.iterations[key{loop, service}]
	if e == nil || !slices.Equal(e.Variables, variables) {
		return nil
	}
	for name, recorded := range e.Services {
		now := current(name)
		if !recorded.equal(now) {
			return nil
		}
		e.Services[name] = now
	}
	e.used = true
	return &e.Iteration
}

// Store keeps an iteration in place of the one that was kept for the same range and service.
func (c *Cache) Store(loop int, service string, it Iteration) {
	if c.iterations == nil {
		c.iterations = map[key]*entry{}
	}
	c.iterations[key{loop, service}] = &entry{it, true}
}

// EndExecution removes the iterations that the execution neither looked up nor stored, and all of them after a failure, so that
// the next execution meets the same fault.
func (c *Cache) EndExecution(failed bool) {
	maps.DeleteFunc(c.iterations, func(_ key, e *entry) bool {
		unused := !e.used
		e.used = false
		return unused || failed
	})
}

// Len returns the number of iterations that are kept.
func (c *Cache) Len() int { return len(c.iterations) }

// AreScalars reports whether all values are nil, booleans, numbers or strings of at most 1 KiB. Only the values of such
// variables are cached: they cannot be modified, and they do not take much memory.
func AreScalars(values []any) bool {
	const maxString = 1024 // bytes
	for _, v := range values {
		kind := reflect.ValueOf(v).Kind() // Invalid for nil
		if kind > reflect.Complex128 && (kind != reflect.String || reflect.ValueOf(v).Len() > maxString) {
			return false
		}
	}
	return true
}

func (s Service) equal(other Service) bool {
	return s.Facts == other.Facts && sameInstances(s.Instances, other.Instances)
}

// sameInstances reports whether no template can tell a from b. Slices that are the same in memory are not compared element by
// element: sources share those of services that did not change.
func sameInstances(a, b []sdk.Instance) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.EqualFunc(a, b, sameInstance))
}

func sameInstance(a, b sdk.Instance) bool {
	return a.Invalid == b.Invalid && a.ID == b.ID && a.Name == b.Name && a.Image == b.Image && a.Hostname == b.Hostname &&
		a.ProxyMode == b.ProxyMode && a.Status == b.Status &&
		a.Created == b.Created && a.Updated == b.Updated && //nolint:staticcheck // to the last bit
		(a.Ports == nil) == (b.Ports == nil) && slices.Equal(a.Ports, b.Ports) &&
		(a.Labels == nil) == (b.Labels == nil) && maps.Equal(a.Labels, b.Labels)
}
