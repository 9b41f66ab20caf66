package haproxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// applyLive does what can be done without loading a file, and says what is left; nil is for nothing.
func (s *Sink) applyLive(ctx context.Context, doc *placed) (sdk.Result, *remainder, error) {
	if err := s.checkFirst(ctx, doc); err != nil {
		return sdk.Result{}, nil, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	if ctx.Err() != nil {
		return sdk.Result{}, nil, interrupted(context.Cause(ctx))
	}
	ctx, release := s.untilStopped(ctx)
	defer release()
	p, now := s.plan(ctx, doc)
	switch p.need {
	case needNothing:
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: p.reason}, nil, nil
	case needWriting:
		return sdk.Result{}, &remainder{}, nil
	case needRuntime:
		did, err := s.runtime(ctx, now, doc, p.backends)
		if err == nil {
			return sdk.Result{Action: sdk.ActionRuntime, Reason: p.reason, Details: did}, nil, nil
		}
		p.reason += ": not at run time, because " + err.Error()
	}
	return s.beforeReload(ctx, now, doc, p.reason)
}

// beforeReload brings the servers of standing backends into effect where it is too soon for the reload that doc needs. A
// HAProxy that does not run, or runs nobody knows what, does not wait.
func (s *Sink) beforeReload(ctx context.Context, now running, doc *placed, reason string) (sdk.Result, *remainder, error) {
	inEffect := s.notes.inEffect(now)
	if inEffect == nil || s.pace.wait() == 0 {
		return sdk.Result{}, &remainder{reason: reason}, nil
	}
	result := sdk.Result{Details: s.bridge(ctx, now, inEffect, doc)}
	// What differs from a document that waits already only by what can be changed at run time has passed the check as well.
	if s.vetted != nil && compare(s.vetted, doc).need != needRenewal {
		return result, nil, s.deferred(reason)
	}
	return result, &remainder{reason, true}, nil
}

// bridge brings into effect what needs no reload, and returns the commands that it took.
func (s *Sink) bridge(ctx context.Context, now running, inEffect, doc *placed) []string {
	content, differs := syntax.Bridge(inEffect.config, doc.config)
	if !differs {
		return nil
	}
	half := inEffect.with(content)
	p := compare(inEffect, half)
	if p.need != needRuntime {
		return nil
	}
	did, err := s.runtime(ctx, now, half, p.backends)
	if err != nil {
		s.log.Warn("the servers wait for the reload as well", "error", err)
		return nil
	}
	s.log.Info("the servers of standing backends do not wait for the reload", "reason", p.reason)
	return did
}

// runtime changes the servers of the HAProxy that serves to those of doc, or back to those before. Where neither can be
// seen to have worked, what it serves is not known any more, and a reload has to help.
func (s *Sink) runtime(ctx context.Context, now running, doc *placed, backends []string) ([]string, error) {
	if !s.cfg.Runtime {
		return nil, errors.New("that is switched off in the configuration")
	}
	before := s.notes.inEffect(now)
	s.live.about(now)
	if said := s.live.refusedBefore(backends); said != "" {
		return nil, &refusal{sentence: said}
	}
	did, err := s.live.align(ctx, before.config, doc.config, backends)
	if err == nil {
		s.notes.changed(doc)
		s.raiseBehind()
		return did, nil
	}
	if len(did) > 0 {
		if _, undoing := s.live.align(ctx, doc.config, before.config, backends); undoing != nil {
			s.log.Warn("a change at run time could not be undone", "error", undoing)
			s.notes.lose(now)
		}
	}
	return nil, err
}

func (s *Sink) raiseBehind() {
	select {
	case s.behind <- struct{}{}:
	default:
	}
}

// checkFirst runs a verify command of the user's, which may judge more than HAProxy does, before servers are changed.
func (s *Sink) checkFirst(ctx context.Context, doc *placed) error {
	if s.cfg.VerifyCmd == "" || !s.cfg.Runtime {
		return nil
	}
	s.change.Lock()
	p, _ := s.plan(ctx, doc)
	s.change.Unlock()
	if p.need != needRuntime { // else it is checked before it is put in place
		return nil
	}
	st, err := stage.New("", doc.files, 0)
	if err != nil {
		return err
	}
	defer st.Discard()
	_, err = s.checkStaged(ctx, st)
	if ctx.Err() != nil {
		return interrupted(context.Cause(ctx))
	}
	return err
}

// followDisk puts on disk what HAProxy was changed to, until ctx is done.
func (s *Sink) followDisk(ctx context.Context) {
	const again = time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.behind:
		}
		for s.notes.owed() != nil && ctx.Err() == nil {
			if err := s.catchUp(ctx); err != nil && ctx.Err() == nil {
				if s.notes.view().lagging == nil {
					s.log.Error("the configuration on disk does not follow what HAProxy runs", "error", err)
				}
				s.notes.lags(err)
				pause(ctx, again)
			}
		}
	}
}

// catchUp has what HAProxy runs checked and puts it on disk, so that a later start brings the same. It does nothing where
// that is overtaken meanwhile.
func (s *Sink) catchUp(ctx context.Context) error {
	doc := s.notes.owed()
	if doc == nil {
		return nil
	}
	st, err := stage.New("", doc.files, 0)
	if err != nil {
		return err
	}
	defer st.Discard()
	_, err = s.checkStaged(ctx, st)
	s.change.Lock()
	defer s.change.Unlock()
	if s.notes.owed() != doc {
		return nil
	}
	if err == nil {
		err = s.commit(ctx, st)
	}
	if errors.Is(err, sdk.ErrRejected) {
		return s.takeBack(ctx, doc, err)
	}
	if err != nil {
		return err
	}
	s.notes.followed(doc)
	s.leaveReceipt(doc, s.notes.running())
	return nil
}

func (s *Sink) commit(ctx context.Context, st *stage.Stage) error {
	if err := st.Commit(); err != nil {
		return err
	}
	if s.verifiesLive() {
		if err := s.verifyLive(ctx, st); err != nil {
			return errors.Join(err, st.Restore())
		}
	}
	return nil
}

// takeBack undoes a change at run time that the check refuses afterwards: what runs must be what a restart would bring.
func (s *Sink) takeBack(ctx context.Context, doc *placed, cause error) error {
	now := s.notes.running()
	_, disk := s.notes.wanted()
	_, err := s.live.align(ctx, doc.config, disk.config, compare(doc, disk).backends)
	s.notes.changed(disk)
	if err != nil {
		s.notes.lose(now)
	}
	return fmt.Errorf("HAProxy took servers at run time that its check refuses, and they were taken back: %w", cause)
}
