package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A source follows the keys under one prefix.
type source struct {
	name string
	log  *slog.Logger
	cfg  config

	pulse time.Duration // how often etcd is asked whether it is there
	pause time.Duration // between two attempts at what the client does not repeat by itself
}

// Watch emits the whole catalogue, and again after every change. While etcd is away it emits nothing and says so once.
func (s *source) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	w := &watching{source: s, emit: emit, view: newView(s.cfg.Prefix, s.log)}
	for ctx.Err() == nil {
		err := w.connected(ctx)
		if ctx.Err() == nil {
			w.complain(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.pause):
		}
	}
	return nil
}

// A watching is the state of one call of Watch. It belongs to that call's goroutine.
type watching struct {
	*source
	emit func(sdk.Snapshot)
	view *view

	cluster  uint64 // the id of the one that was read
	revision int64  // up to which the view is complete
	emitted  *sdk.Snapshot // the newest one
	trouble  string // what was logged last; empty while all is well
}

// connected reads and follows the catalogue until that no longer works.
func (w *watching) connected(ctx context.Context) error {
	client, err := clientv3.New(clientv3.Config{
		Context: ctx, Endpoints: w.cfg.Endpoints, DialTimeout: w.cfg.DialTimeout,
		Username: w.cfg.Username, Password: w.cfg.Password,
		// A connection that is dead without having been closed looks like a quiet catalogue.
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: w.cfg.DialTimeout,
		Logger: zap.NewNop(), // it tells of every attempt
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
		w.log.Info("the whole catalogue is read again", "reason", err)
	}
}

var errReplaced = errors.New("etcd lost its past: it was set up anew or restored from a copy")

// read takes the whole catalogue as it is at one revision.
func (w *watching) read(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.DialTimeout)
	defer cancel()
	resp, err := client.Get(ctx, w.cfg.Prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	w.healed()
	w.cluster, w.revision = resp.Header.ClusterId, resp.Header.Revision
	w.view.replace(resp.Kvs)
	w.tell(nil)
	return nil
}

// follow takes in what happens after the revision that was read. The client resumes the watch by itself when the
// connection breaks, from the revision that it has seen; it cannot when etcd has forgotten that one.
func (w *watching) follow(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	opening := time.AfterFunc(w.cfg.DialTimeout, cancel) // while etcd is away, Watch would not return
	events := client.Watch(ctx, w.cfg.Prefix, clientv3.WithPrefix(), clientv3.WithRev(w.revision+1))
	if !opening.Stop() {
		return context.DeadlineExceeded
	}
	pulse := time.NewTicker(w.pulse)
	defer pulse.Stop()
	for {
		select {
		case resp, ok := <-events:
			if !ok {
				return errors.New("the watch was ended")
			}
			if err := resp.Err(); err != nil {
				return err
			}
			w.take(resp)
		case <-pulse.C:
			if err := w.probe(ctx, client); err != nil {
				return err
			}
		}
	}
}

// take makes one snapshot of all that happened at once, such as in a transaction: a state in between never was.
func (w *watching) take(resp clientv3.WatchResponse) {
	w.healed()
	w.revision = resp.Header.Revision
	var last *sdk.Change
	for _, event := range resp.Events {
		if change := w.view.apply(event); change != nil {
			last = change
		}
	}
	w.tell(last)
}

// probe notices two things that a watch does not tell: that etcd is away, and that it is back without its past. The watch
// would then wait in silence for a revision that may be years ahead.
func (w *watching) probe(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.DialTimeout)
	defer cancel()
	resp, err := client.Get(ctx, w.cfg.Prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		w.complain(err)
		return nil
	}
	w.healed()
	if resp.Header.ClusterId != w.cluster || resp.Header.Revision < w.revision {
		return errReplaced
	}
	return nil
}

// tell emits the catalogue unless it is the one that was emitted last.
func (w *watching) tell(last *sdk.Change) {
	now := time.Now() // etcd keeps no time of a change, and tells of it at once
	snap := sdk.Snapshot{
		Source: w.name, Cluster: strconv.FormatUint(w.cluster, 16), Taken: now, Changed: now,
		Services: w.view.services(), Last: last,
	}
	if w.emitted != nil && snap.Cluster == w.emitted.Cluster && reflect.DeepEqual(snap.Services, w.emitted.Services) {
		return
	}
	w.emitted = &snap
	w.emit(snap)
}

func (w *watching) complain(err error) {
	what := "etcd does not answer"
	if !away(err) {
		what = fmt.Sprintf("etcd refuses: %v", err)
	}
	if w.trouble == what {
		return
	}
	w.trouble = what
	w.log.Warn("the services stay as they were seen last", "reason", what, "endpoints", w.cfg.Endpoints, "error", err)
}

// away reports whether err may pass by itself.
func away(err error) bool {
	if known, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return known.Code() == codes.Unavailable // such as for the time of an election
	}
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.Unavailable
}

func (w *watching) healed() {
	if w.trouble != "" {
		w.trouble = ""
		w.log.Info("etcd answers again")
	}
}

var _ sdk.Source = (*source)(nil)
