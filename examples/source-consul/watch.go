package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A source watches the services of one datacenter.
type source struct {
	name      string
	log       *slog.Logger
	cfg       config
	client    *api.Client
	closeIdle func() // closes the connections that are not in use

	wait               time.Duration // for which Consul is asked to hold a query without a change
	minRetry, maxRetry time.Duration // between attempts after an error

	problems problems
}

// Watch emits the instances of all services once each was read, and again after every change. A query that fails changes
// nothing: Consul has to say that a service has no instances.
func (s *source) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	w := &watcher{
		source: s, emit: emit, view: newView(s.log), updates: make(chan update),
		cancels: map[string]context.CancelFunc{}, unread: map[string]bool{},
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		w.queries.Wait()
		s.problems.clear()
		s.closeIdle()
	}()
	if len(s.cfg.Services) > 0 {
		w.follow(ctx, slices.Sorted(slices.Values(s.cfg.Services)))
	} else {
		w.queries.Go(func() { w.watchCatalog(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case u := <-w.updates:
			w.take(ctx, u)
		}
	}
}

// A watcher is the state of one call of Watch. Only the goroutine of that call uses it, except for updates.
type watcher struct {
	*source
	emit    func(sdk.Snapshot)
	view    *view
	updates chan update    // from the queries
	queries sync.WaitGroup // of the goroutines with a query

	cancels map[string]context.CancelFunc // of the query of each service
	unread  map[string]bool               // the services that were not read yet
	emitted bool
}

// An update is the result of one query.
type update struct {
	service string // whose instances it has; empty for the list of services
	entries []*api.ServiceEntry
	names   []string // of all services, if service is empty
}

// take applies an update and those that have arrived meanwhile, and emits one snapshot if something changed.
func (w *watcher) take(ctx context.Context, u update) {
	var last *sdk.Change
	for {
		if change := w.apply(ctx, u); change != nil {
			last = change
		}
		select {
		case u = <-w.updates:
			continue
		default:
		}
		break
	}
	first := !w.emitted && len(w.unread) == 0
	if !first && (!w.emitted || last == nil) {
		return
	}
	cause := sdk.CauseWatch
	if first {
		cause, last = sdk.CauseResync, nil
	}
	now := time.Now() // Consul does not store the time of a change, and reports it at once
	w.emitted = true
	w.emit(sdk.Snapshot{
		Source: w.name, Cluster: w.cfg.Datacenter, Taken: now, Changed: now,
		Cause: cause, Services: w.view.services(), Last: last,
	})
}

func (w *watcher) apply(ctx context.Context, u update) *sdk.Change {
	if u.service == "" {
		return w.follow(ctx, u.names)
	}
	if w.cancels[u.service] == nil { // it was removed while the query returned
		return nil
	}
	delete(w.unread, u.service)
	return w.view.replace(u.service, u.entries)
}

// follow starts a query for each of the services, whose names are sorted, and removes those that are no longer there.
func (w *watcher) follow(ctx context.Context, names []string) (last *sdk.Change) {
	for _, name := range names {
		if w.cancels[name] != nil {
			continue
		}
		serviceCtx, cancel := context.WithCancel(ctx)
		w.cancels[name], w.unread[name] = cancel, true
		w.queries.Go(func() { w.watchService(serviceCtx, name) })
	}
	gone := maps.Clone(w.cancels)
	maps.DeleteFunc(gone, func(name string, _ context.CancelFunc) bool {
		_, there := slices.BinarySearch(names, name)
		return there
	})
	for name, cancel := range gone {
		cancel()
		delete(w.cancels, name)
		delete(w.unread, name)
		w.problems.remove(w.log, queryName(name))
		if change := w.view.remove(name); change != nil {
			last = change
		}
	}
	return last
}

// watchCatalog sends the names of all services with the tag, and again when they may have changed.
func (w *watcher) watchCatalog(ctx context.Context) {
	get := func(o *api.QueryOptions) ([]string, *api.QueryMeta, error) {
		services, meta, err := w.client.Catalog().Services(o)
		if err == nil && services == nil {
			err = errInvalid
		}
		if err == nil && len(services) == 0 && meta.ResultsFilteredByACLs {
			err = errHidden
		}
		maps.DeleteFunc(services, func(_ string, tags []string) bool {
			return w.cfg.Tag != "" && !slices.Contains(tags, w.cfg.Tag)
		})
		return slices.Sorted(maps.Keys(services)), meta, err
	}
	watch(ctx, w, "catalog", get, func(names []string) update { return update{names: names} })
}

// watchService sends the instances of a service, and again when they may have changed.
func (w *watcher) watchService(ctx context.Context, name string) {
	get := func(o *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error) {
		entries, meta, err := w.client.Health().Service(name, w.cfg.Tag, false, o)
		if err == nil && !complete(entries) {
			err = errInvalid
		}
		if err == nil && len(entries) == 0 && meta.ResultsFilteredByACLs {
			err = errHidden
		}
		return entries, meta, err
	}
	watch(ctx, w, queryName(name), get, func(entries []*api.ServiceEntry) update {
		return update{service: name, entries: entries}
	})
}

// queryName returns the name of the query of a service, for problems.
func queryName(service string) string { return "service " + service }

var (
	errInvalid = errors.New("the response has not the form of Consul's")
	errHidden  = errors.New("the token may read none of the results")
)

// complete reports whether all that decode dereferences is there.
func complete(entries []*api.ServiceEntry) bool {
	return entries != nil && !slices.ContainsFunc(entries, func(e *api.ServiceEntry) bool {
		return e == nil || e.Node == nil || e.Service == nil || slices.Contains(e.Checks, nil)
	})
}

// watch repeats a query, passes its results on and records its problem.
func watch[T any](ctx context.Context, w *watcher, name string, q query[T], toUpdate func(T) update) {
	repeat(ctx, w.source, q, func(result T) {
		w.problems.remove(w.log, name)
		select {
		case w.updates <- toUpdate(result):
		case <-ctx.Done():
		}
	}, func(err error) { w.problems.set(ctx, w.log, name, err) })
}

var (
	_ sdk.Source   = (*source)(nil)
	_ sdk.Reporter = (*source)(nil)
)
