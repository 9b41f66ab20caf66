package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A source watches the keys under one prefix.
type source struct {
	name string
	log  *slog.Logger
	cfg  config

	probeInterval time.Duration // how often the source checks that etcd responds
	retryInterval time.Duration // between attempts that the etcd client does not repeat itself

	problem atomic.Pointer[string] // why etcd cannot be watched at present, as it was logged; nil for none
}

// Health reports why etcd cannot be watched at present.
func (s *source) Health(context.Context) (sdk.Health, error) {
	if problem := s.problem.Load(); problem != nil {
		return sdk.Health{Problems: []string{*problem}}, nil
	}
	return sdk.Health{}, nil
}

// Watch emits all instances, and again after every change. While etcd is unreachable it emits nothing and logs that once.
func (s *source) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	w := &watcher{source: s, emit: emit, view: newView(s.cfg.Prefix, s.log)}
	for ctx.Err() == nil {
		err := w.run(ctx)
		if ctx.Err() == nil {
			w.logProblem(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.retryInterval):
		}
	}
	return nil
}

// A watcher is the state of one call of Watch. Only the goroutine of that call uses it.
type watcher struct {
	*source
	emit func(sdk.Snapshot)
	view *view

	cluster  uint64        // the id of the cluster that was read
	revision int64         // up to which the view is complete
	emitted  *sdk.Snapshot // the newest one
}

// run reads and watches the keys until an error.
func (w *watcher) run(ctx context.Context) error {
	client, err := clientv3.New(clientv3.Config{
		Context: ctx, Endpoints: w.cfg.Endpoints, DialTimeout: w.cfg.DialTimeout,
		Username: w.cfg.Username, Password: w.cfg.Password,
		// Without keepalives a dead connection looks like a registry without changes.
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: w.cfg.DialTimeout,
		Logger: zap.NewNop(), // it logs every attempt
	})
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		if err := w.read(ctx, client); err != nil {
			return err
		}
		err := w.follow(ctx, client)
		if !errors.Is(err, rpctypes.ErrCompacted) && !errors.Is(err, errReplaced) {
			return err
		}
		w.log.Info("reading all keys again", "reason", err)
	}
}

var errReplaced = errors.New("etcd has an older revision: it was recreated or restored from a backup")

// read reads all keys at one revision.
func (w *watcher) read(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.DialTimeout)
	defer cancel()
	resp, err := client.Get(ctx, w.cfg.Prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	w.logRecovery()
	w.cluster, w.revision = resp.Header.ClusterId, resp.Header.Revision
	w.view.replace(resp.Kvs)
	w.emitChanged(sdk.CauseResync, nil)
	return nil
}

// follow applies the changes after the revision that was read. When the connection breaks, the client resumes the watch from
// the last revision that it has seen, unless etcd has compacted that revision.
func (w *watcher) follow(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	opening := time.AfterFunc(w.cfg.DialTimeout, cancel) // Watch does not return while etcd is unreachable
	events := client.Watch(ctx, w.cfg.Prefix, clientv3.WithPrefix(), clientv3.WithRev(w.revision+1))
	if !opening.Stop() {
		return context.DeadlineExceeded
	}
	probes := time.NewTicker(w.probeInterval)
	defer probes.Stop()
	for {
		select {
		case resp, ok := <-events:
			if !ok {
				return errors.New("the watch ended")
			}
			if err := resp.Err(); err != nil {
				return err
			}
			w.take(resp)
		case <-probes.C:
			if err := w.probe(ctx, client); err != nil {
				return err
			}
		}
	}
}

// take applies all events of one revision, such as those of a transaction, and emits one snapshot.
func (w *watcher) take(resp clientv3.WatchResponse) {
	w.logRecovery()
	w.revision = resp.Header.Revision
	var last *sdk.Change
	for _, event := range resp.Events {
		if change := w.view.apply(event); change != nil {
			last = change
		}
	}
	w.emitChanged(sdk.CauseWatch, last)
}

// probe detects what a watch does not report: that etcd is unreachable, and that it has an older revision than before. The
// watch would then wait for a revision that may be years ahead.
func (w *watcher) probe(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.DialTimeout)
	defer cancel()
	resp, err := client.Get(ctx, w.cfg.Prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		w.logProblem(err)
		return nil
	}
	w.logRecovery()
	if resp.Header.ClusterId != w.cluster || resp.Header.Revision < w.revision {
		return errReplaced
	}
	return nil
}

// emitChanged emits a snapshot, unless it has the same instances in the same state as the previous one.
func (w *watcher) emitChanged(cause string, last *sdk.Change) {
	now := time.Now() // etcd does not store the time of a change, and reports it at once
	snap := sdk.Snapshot{
		Source: w.name, Cluster: strconv.FormatUint(w.cluster, 16), Taken: now, Changed: now,
		Cause: cause, Services: w.view.services(), Last: last,
	}
	if w.emitted != nil && snap.Cluster == w.emitted.Cluster &&
		slices.EqualFunc(snap.Services, w.emitted.Services, equalServices) {
		return
	}
	w.emitted = &snap
	w.emit(snap)
}

func (w *watcher) logProblem(err error) {
	what := "etcd does not respond"
	if !isTemporary(err) {
		what = fmt.Sprintf("etcd returned an error: %v", err)
	}
	if previous := w.problem.Swap(&what); previous != nil && *previous == what {
		return
	}
	w.log.Warn("watching etcd failed, keeping the present services", "reason", what, "endpoints", w.cfg.Endpoints, "error", err)
}

// isTemporary reports whether err may disappear without a change of the configuration.
func isTemporary(err error) bool {
	if known, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return known.Code() == codes.Unavailable // such as during an election
	}
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.Unavailable
}

func (w *watcher) logRecovery() {
	if w.problem.Swap(nil) != nil {
		w.log.Info("etcd responds again")
	}
}

var (
	_ sdk.Source   = (*source)(nil)
	_ sdk.Reporter = (*source)(nil)
)
