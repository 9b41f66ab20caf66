package haproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A Sink keeps one HAProxy true to the documents that it is given. Make one with [New].
//
// Its methods may be called from any goroutine. Nothing but Check works before the first call to Apply or Health, which
// looks for a HAProxy to adopt and begins to watch over it until Stop: who only checks documents disturbs nothing.
type Sink struct {
	cfg   Config
	paths paths
	log   *slog.Logger
	proxy proxy

	begin    sync.Once
	stopped  chan struct{} // closed by Stop
	stopOnce sync.Once
	watching sync.WaitGroup

	// change is held by whoever changes files or processes. What is noted below it is guarded by a lock of its own, so
	// that Health never waits for a change.
	change sync.Mutex
	notes  notes
}

// New returns a sink for one HAProxy. It touches neither files nor processes.
func New(env sdk.Env, cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p, err := cfg.paths()
	if err != nil {
		return nil, err
	}
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Sink{cfg: cfg, paths: p, log: log, stopped: make(chan struct{})}
	if cfg.byCommand() {
		s.proxy = &commanded{cfg: cfg, paths: p, log: log, patience: patience}
	} else {
		s.proxy = newManaged(cfg, p, log)
	}
	return s, nil
}

// Apply makes doc live with the least that is enough: nothing, writing the files, or a reload or start of HAProxy.
//
// Cancelling ctx ends it up to the moment when the files are renamed into place. From then on it is carried through to
// either end, because breaking off and beginning again would make a slow reload an endless one. Only Stop ends it then.
func (s *Sink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	began := time.Now()
	s.beginOnce(ctx)
	result, err := s.apply(ctx, doc)
	result.Took = time.Since(began)
	return result, err
}

func (s *Sink) apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	files, err := s.paths.place(doc)
	if err != nil {
		return sdk.Result{}, err
	}
	if p := s.plan(ctx, files); p.need == needNothing {
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: p.reason}, nil
	}
	st, err := stage.New("", files, 0)
	if err != nil {
		return sdk.Result{}, err
	}
	defer st.Discard()
	warnings, err := s.checkStaged(ctx, st)
	if ctx.Err() != nil {
		return sdk.Result{}, interrupted(context.Cause(ctx))
	}
	if err != nil {
		return sdk.Result{}, err
	}
	result, err := s.switchTo(ctx, st, files)
	result.Details = append(result.Details, warnings...)
	return result, err
}

func interrupted(cause error) error {
	return fmt.Errorf("the change was broken off before it had an effect: %w", cause)
}

// plan compares files with what is in effect. It is asked twice, because HAProxy may die or be reloaded by somebody
// else during the check.
func (s *Sink) plan(ctx context.Context, files []stage.File) plan {
	now, err := s.proxy.find(ctx)
	if err == nil && now.none() {
		return plan{needRenewal, "HAProxy is not running"}
	}
	return compare(s.notes.inEffect(now), files)
}

// switchTo puts the staged files into place and makes HAProxy serve them, or puts everything back.
func (s *Sink) switchTo(ctx context.Context, st *stage.Stage, files []stage.File) (sdk.Result, error) {
	s.change.Lock()
	defer s.change.Unlock()
	if ctx.Err() != nil {
		return sdk.Result{}, interrupted(context.Cause(ctx))
	}
	ctx, release := s.untilStopped(ctx)
	defer release()

	p := s.plan(ctx, files)
	if p.need == needNothing { // it came back to life meanwhile
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: p.reason}, nil
	}
	if err := s.tryBinds(ctx, files); err != nil {
		return sdk.Result{}, err
	}
	if err := st.Commit(); err != nil {
		return sdk.Result{}, err
	}
	// The files are live from here on: each way out either has HAProxy serve them or puts the ones before back.
	if s.verifiesLive() {
		if err := s.verifyLive(ctx, st); err != nil {
			return sdk.Result{}, errors.Join(err, st.Restore())
		}
	}
	if p.need != needRenewal {
		s.settle(files, s.notes.running())
		return sdk.Result{Action: sdk.ActionWritten, Reason: p.reason}, nil
	}
	return s.renew(ctx, st, files, p.reason)
}

// tryBinds leaves it to HAProxy where it is not known what the running one has bound.
func (s *Sink) tryBinds(ctx context.Context, files []stage.File) error {
	now, err := s.proxy.find(ctx)
	if err != nil {
		return err
	}
	inEffect := s.notes.inEffect(now)
	if inEffect == nil && !now.none() {
		return nil
	}
	return tryBinds(ctx, inEffect, files)
}

func (s *Sink) renew(ctx context.Context, st *stage.Stage, files []stage.File, reason string) (sdk.Result, error) {
	s.notes.renewing(true)
	defer s.notes.renewing(false)
	r, err := s.proxy.renew(ctx)
	if err != nil {
		return sdk.Result{Details: detailsOf(err)}, s.putBack(ctx, st, err)
	}
	s.settle(files, r.now)
	if r.why != "" {
		reason = r.why
	}
	return sdk.Result{Action: r.action, Reason: reason, Details: r.log}, nil
}

// putBack restores the files and, where HAProxy no longer is the one that served them, has it load them again.
func (s *Sink) putBack(ctx context.Context, st *stage.Stage, cause error) error {
	if s.isStopped() {
		// Whether HAProxy will have loaded the new files is open. They passed the check, and the receipt does not
		// fit them, so the process after us will look and not take them for granted.
		return fmt.Errorf("the change was broken off while HAProxy was loading it: %w", cause)
	}
	if err := st.Restore(); err != nil {
		return errors.Join(cause, err)
	}
	before := s.notes.running()
	if before.none() {
		return cause
	}
	files := s.notes.inEffect(before)
	// A HAProxy that a command reloads in place may have loaded the new files and still look the same.
	if now, err := s.proxy.find(ctx); err == nil && now.same(before) && !s.cfg.byCommand() {
		return cause
	}
	s.log.Warn("bringing the previous configuration back into HAProxy", "reason", cause)
	r, err := s.proxy.renew(ctx)
	if err != nil {
		s.notes.failed(err)
		return errors.Join(cause, fmt.Errorf("the previous configuration did not come back either: %w", err))
	}
	s.settle(files, r.now)
	return cause
}

// settle notes that HAProxy serves files; nil is for not knowing which.
func (s *Sink) settle(files []stage.File, now running) {
	s.notes.settle(files, now)
	if files == nil {
		return
	}
	if err := newReceipt(files, now).write(s.paths.receipt); err != nil {
		s.log.Warn("a restart of ours will cost a reload of HAProxy", "error", err)
	}
}

// untilStopped returns a context with the values of ctx that ends with Stop and not with ctx.
func (s *Sink) untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		select {
		case <-s.stopped:
			cancel(errStopped)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

var errStopped = errors.New("the sink is being stopped")

func (s *Sink) isStopped() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}
