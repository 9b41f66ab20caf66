package haproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

func (s *Sink) apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	files, err := s.paths.place(doc)
	if err != nil {
		return sdk.Result{}, err
	}
	target := read(files, s.state.Load().desired)
	target.generation, target.retry, target.watched = doc.Generation, doc.Retry, doc.Watched
	target.failure, target.digest = doc.LoadFailure, doc.Digest
	result, left, err := s.applyLive(ctx, target)
	if err == nil && left != nil {
		var more sdk.Result
		more, err = s.applyByFile(ctx, target, *left)
		more.Details = append(result.Details, more.Details...)
		result = more
	}
	if err == nil {
		s.lockedUpdate(func(st *state) {
			st.offered, st.revertErr, st.lastChange = true, nil, result.Action+": "+result.Reason
		})
	}
	return result, err
}

// remainder is what is left to do once all is done that needs no file.
type remainder struct {
	reason string // why HAProxy has to load the document; empty where only the file differs
	paced  bool   // a reload would come too soon after another one
}

// applyByFile checks doc, puts it in place and, where that is needed, has HAProxy load it.
func (s *Sink) applyByFile(ctx context.Context, doc *document, left remainder) (sdk.Result, error) {
	details, ahead := s.updateAhead(ctx, doc)
	if left.reason != "" { // once more below; this spares a check of what cannot come into effect
		if err := s.checkBinds(ctx, s.state.Load().running, doc); err != nil {
			return sdk.Result{}, err
		}
	}
	st, warnings, err := s.vet(ctx, doc, true)
	if err != nil {
		return sdk.Result{}, s.unlessFilesChanged(ctx, doc, err)
	}
	defer st.Discard()
	if err := s.lockFiles(ctx); err != nil {
		return sdk.Result{}, err
	}
	defer s.unlockFiles()
	if left.paced {
		if ahead { // by now the names of added servers are known
			details = append(details, s.updateNow(ctx, doc)...)
		}
		if err := s.deferReload(doc, left.reason); err != nil {
			return sdk.Result{}, err
		}
	}
	if left.reason != "" { // where doc does not load, HAProxy goes on with what runs, and so does the next start
		s.persist(ctx)
	}
	s.change.Lock()
	defer s.change.Unlock()
	result, err := s.switchTo(ctx, st, doc, left.reason)
	result.Details = slices.Concat(details, result.Details, warnings)
	if err != nil && s.failedBefore(doc) != nil { // what needs no reload does not wait until there is one that works
		ctx, release := s.untilStopped(ctx)
		defer release()
		result.Details = append(result.Details, s.updatePartially(ctx, doc)...)
	}
	return result, err
}

// deferReload returns an error where the reload that doc, which has passed the check, needs still has to wait.
func (s *Sink) deferReload(doc *document, reason string) error {
	s.change.Lock()
	defer s.change.Unlock()
	if s.pace.wait() == 0 {
		return nil
	}
	s.update(func(st *state) { st.waitingReload = doc })
	return s.deferred(reason)
}

// deferred says that a reload waits for its time.
func (s *Sink) deferred(reason string) error {
	return sdk.Deferred(fmt.Sprintf("the reload waits, because the last one was less than %v ago (%s)",
		s.cfg.ReloadInterval, reason), s.pace.wait())
}

func interrupted(cause error) error {
	return fmt.Errorf("the change was broken off before it had an effect: %w", cause)
}

// switchTo puts the staged files into place and makes HAProxy serve them, or puts everything back.
func (s *Sink) switchTo(ctx context.Context, st *stage.Stage, doc *document, reason string) (sdk.Result, error) {
	if ctx.Err() != nil {
		return sdk.Result{}, interrupted(context.Cause(ctx))
	}
	if s.isStopped() {
		return sdk.Result{}, interrupted(errStopped)
	}
	ctx, release := s.untilStopped(ctx)
	defer release()

	p, now := s.plan(ctx, doc) // once more, because HAProxy may have died or been reloaded by somebody else
	if p.need == needNothing {
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: p.reason}, nil
	}
	if err := s.checkBinds(ctx, now, doc); err != nil {
		return sdk.Result{}, err
	}
	if err := s.commit(ctx, st); err != nil {
		return sdk.Result{}, err
	}
	// The files are live from here on: each way out either has HAProxy serve them or puts the ones before back.
	if p.need == needWrite {
		s.settle(doc, now)
		return sdk.Result{Action: sdk.ActionWritten, Reason: p.reason}, nil
	}
	if reason == "" {
		reason = p.reason
	}
	return s.renew(ctx, st, doc, reason)
}

func (s *Sink) renew(ctx context.Context, st *stage.Stage, doc *document, reason string) (sdk.Result, error) {
	before := s.state.Load().running
	s.update(func(st *state) { st.load(!before.none()) })
	defer s.update(func(st *state) { st.loadingSince = time.Time{} })
	if !before.none() { // a start disturbs nobody
		s.pace.step()
		defer s.pace.step() // a slow one must not be followed at once
	}
	r, err := s.load(ctx, doc)
	if err != nil {
		result := sdk.Result{Details: detailsOf(err)}
		err = s.putBack(ctx, st, err)
		if _, refused := errors.AsType[*refusal](err); refused && doc.again != "" {
			err = sdk.NotLoaded(err) // which says nothing of other documents
		} else if refused && !before.none() {
			err = s.noteFailedLoad(doc, err)
		}
		return result, err
	}
	s.pace.worked()
	if doc.again == "" { // or else nothing is known of the document that failed
		s.update(func(st *state) { st.failedLoad = failedLoad{} })
	}
	s.settle(doc, r.now)
	if r.why != "" {
		reason = r.why
	}
	r.log = append(r.log, s.correctLoaded(ctx, doc, r.now)...)
	return sdk.Result{Action: r.action, Reason: reason, Details: r.log}, nil
}

// putBack restores the files and, where HAProxy no longer is the one that served them, has it load them again.
func (s *Sink) putBack(ctx context.Context, staged *stage.Stage, cause error) error {
	if s.isStopped() {
		// Whether HAProxy will have loaded the new files is open. They passed the check, and the state file does not
		// fit them, so the process after us will look and not take them for granted.
		return fmt.Errorf("the change was broken off while HAProxy was loading it: %w", cause)
	}
	if err := staged.Restore(); err != nil {
		return errors.Join(cause, err)
	}
	st := s.state.Load()
	before := st.running
	if before.none() {
		return cause
	}
	// A HAProxy that a command reloads in place may have loaded the new files and still look the same.
	_, unchanged := errors.AsType[*unchangedError](cause)
	if now, err := s.proxy.find(ctx); err == nil && now.same(before) && (unchanged || !s.cfg.byCommand()) {
		return cause
	}
	var restored *document
	content := st.applied(before)
	if content != nil {
		restored = st.onDisk
	}
	s.log.Warn("bringing the previous configuration back into HAProxy", "reason", cause)
	r, err := s.load(ctx, restored)
	if err != nil {
		s.update(func(st *state) { st.startErr = err })
		return errors.Join(cause, fmt.Errorf("the previous configuration did not come back either: %w", err))
	}
	s.settle(restored, r.now)
	s.correctLoaded(ctx, restored, r.now)
	if content != restored { // it could not be persisted before
		s.lost(sdk.Lost{Err: cause, Generation: generationOf(restored), Digest: content.digest})
	}
	return cause
}

// settle notes that HAProxy serves doc, which is on disk; nil is for not knowing what it serves. The caller holds s.files, whose
// release leaves the state file, and s.change.
func (s *Sink) settle(doc *document, now running) {
	s.clientFor(now)
	old, ended := s.boundOldWorkers(now)
	s.update(func(st *state) {
		st.apply(doc, now)
		st.waitingReload = nil
		st.noteOldWorkers(old, ended)
	})
}
