package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/consul/api"
)

// A query is one blocking query of Consul, which returns when its result may differ from the one with the index of the options.
type query[T any] func(*api.QueryOptions) (T, *api.QueryMeta, error)

// repeat makes the query again and again until ctx is done, and passes each result to take. Each error is passed to failed, and
// nothing to take meanwhile.
//
// It follows https://developer.hashicorp.com/consul/api-docs/features/blocking.
func repeat[T any](ctx context.Context, s *source, q query[T], take func(T), failed func(error)) {
	var index uint64
	var limit rateLimit
	retry := s.minRetry
	for ctx.Err() == nil {
		result, newIndex, err := once(ctx, s, q, index)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failed(err)
			// Consul may come back with an older state, and would wait for an index that is far ahead.
			index = 0
			sleep(ctx, retry/2+rand.N(retry/2)) //nolint:gosec // it spreads requests
			retry = min(2*retry, s.maxRetry)
			continue
		}
		index, retry = nextIndex(index, newIndex), s.minRetry
		take(result)
		sleep(ctx, limit.delay(time.Now()))
	}
}

// once makes the query once. A connection that broke without notice must not look like a service without changes, so the query
// ends soon after Consul should have responded.
func once[T any](ctx context.Context, s *source, q query[T], index uint64) (result T, newIndex uint64, err error) {
	limit := s.cfg.Timeout
	if index > 0 {
		limit += s.wait + s.wait/16 // Consul adds up to a sixteenth
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	options := &api.QueryOptions{WaitIndex: index, WaitTime: s.wait}
	result, meta, err := q(options.WithContext(ctx))
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return result, 0, err
	}
	return result, meta.LastIndex, nil
}

var errTimeout = errors.New("no response in time")

// nextIndex returns the index to wait for after a response. An index that goes backwards is that of another state, such as after
// Consul was restored from a backup: 0 reads that state again, without waiting. A response without an index would make the next
// query return at once too.
func nextIndex(index, got uint64) uint64 {
	if got < index {
		return 0
	}
	return max(got, 1)
}

// A rateLimit allows a burst of queries and then one per interval, so that a service that changes all the time, or a Consul that
// does not wait, costs little. A single change is never delayed.
type rateLimit struct{ next time.Time }

const (
	queryInterval = 250 * time.Millisecond
	queryBurst    = 10
)

// delay returns how long the next query has to wait.
func (l *rateLimit) delay(now time.Time) time.Duration {
	if oldest := now.Add(-queryBurst * queryInterval); l.next.Before(oldest) {
		l.next = oldest
	}
	l.next = l.next.Add(queryInterval)
	return l.next.Sub(now)
}

// sleep waits for that time, which may be negative, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
