package haproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/internal/report"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// Apply makes doc live with the smallest sufficient action: nothing, writing the files, changing the servers of the running
// HAProxy, or a reload or start of HAProxy.
//
// After a change of servers it returns as soon as a read confirms that HAProxy runs them. The files are written shortly
// afterwards, once HAProxy's own check has passed; Health reports it if they cannot be written.
//
// A reload that comes too soon after another one is an [sdk.ErrDeferred]. What can go live without it does so at once.
//
// Cancelling ctx ends Apply until the files are renamed into place. From then on the change is completed or undone regardless of
// ctx, because repeating a cancelled reload would make a slow reload an endless one. Only Stop ends it then.
func (s *Sink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	ctx, done := report.With(ctx)
	if err := s.ready(ctx); err != nil {
		return sdk.Result{}, err
	}
	result, err := s.apply(ctx, doc)
	return done.Result(result), err
}

func (s *Sink) apply(ctx context.Context, raw sdk.Document) (sdk.Result, error) {
	doc, err := s.newDocument(raw)
	if err != nil {
		return sdk.Result{}, err
	}
	if err := s.checkBeforeRuntime(ctx, doc); err != nil {
		return sdk.Result{}, err
	}
	if err := s.rollBackEnded(ctx); err != nil {
		return sdk.Result{}, err
	}
	result, remaining, err := s.applyWithoutFiles(ctx, doc)
	if err != nil || remaining == nil {
		return result, err
	}
	return s.applyFiles(ctx, doc, *remaining)
}

// A fileChange is the part of a change that needs files, which remains after the part that needs none is done.
type fileChange struct {
	reload      string // why HAProxy has to load the document; empty if only the file differs
	rateLimited bool   // the reload may have to be deferred, because it comes too soon after another one
}

// applyWithoutFiles plans how doc goes live, and makes the changes that need no file. The fileChange is what remains to be done,
// or nil if nothing remains.
func (s *Sink) applyWithoutFiles(ctx context.Context, doc *document) (sdk.Result, *fileChange, error) {
	s.change.Lock()
	defer s.change.Unlock()
	if ctx.Err() != nil {
		return sdk.Result{}, nil, interrupted(context.Cause(ctx))
	}
	cancellable := ctx
	ctx, release := s.contextUntilStop(ctx)
	defer release()
	p, now := s.plan(ctx, doc)
	if p.need == needRuntime && s.resolveAdded(cancellable, now, doc, p.backends) {
		if cancellable.Err() != nil {
			return sdk.Result{}, nil, interrupted(context.Cause(cancellable))
		}
		p, now = s.plan(ctx, doc) // s.change was released meanwhile
	}
	switch p.need {
	case needNothing:
		result := sdk.Result{Action: sdk.ActionUnchanged, Reason: p.reason}
		s.recordResult(doc, result)
		return result, nil, nil
	case needWrite:
		return sdk.Result{}, &fileChange{}, nil
	case needRuntime:
		err := s.changeServers(ctx, now, doc, p.backends)
		if err == nil {
			result := sdk.Result{Action: sdk.ActionRuntime, Reason: p.reason}
			s.recordResult(doc, result)
			return result, nil, nil
		}
		p.reason += ": not at run time, because " + err.Error()
	}
	return s.beforeReload(ctx, now, doc, p.reason)
}

// changeServers changes the servers of the HAProxy in now to those of doc. If it fails, it changes them back. If that fails too,
// the served document is unknown, and a reload follows. The caller holds s.change.
func (s *Sink) changeServers(ctx context.Context, now process.Instance, doc *document, backends []string) error {
	if !s.cfg.Runtime {
		return errors.New("runtime changes are disabled in the configuration")
	}
	defer report.Step(ctx, "runtime")()
	before := s.state.Load().applied(now)
	client := s.clientFor(now)
	if answer := client.Refused(backends...); answer != "" {
		return &runtimeapi.RefusedError{Reason: answer}
	}
	commands, err := reconcile(ctx, client, before, doc, backends)
	if err == nil {
		s.update(func(st *state) {
			st.desired, st.offered, st.revertErr = doc, true, nil
			st.runtimeChanges++
		})
		s.requestPersist()
		return nil
	}
	if len(commands) > 0 {
		if _, undoErr := reconcile(ctx, client, doc, before, backends); undoErr != nil {
			s.log.Warn("cannot undo a change at run time", "error", undoErr)
			s.update(func(st *state) { st.invalidate(now, "a change at run time failed and could not be undone") })
		}
	}
	return err
}

// reconcile changes the servers of HAProxy from before to want, and records the commands.
func reconcile(
	ctx context.Context, client *runtimeapi.Client, before, want *document, backends []string,
) ([]sdk.Command, error) {
	commands, err := client.Reconcile(ctx, before.config, want.config, backends)
	report.Commands(ctx, commands)
	return commands, err
}

// applyFiles checks doc, puts its files in place and, if c requires it, makes HAProxy load them.
func (s *Sink) applyFiles(ctx context.Context, doc *document, c fileChange) (sdk.Result, error) {
	resolving := s.updateBeforeResolving(ctx, doc)
	if c.reload != "" { // again below; here it saves the check of a document that cannot be loaded
		if err := s.checkBinds(ctx, s.state.Load().running, doc); err != nil {
			return sdk.Result{}, err
		}
	}
	staged, warnings, err := s.stageAndCheck(ctx, doc, true)
	if err != nil {
		return sdk.Result{}, s.asTemporaryIfFilesChanged(ctx, doc, err)
	}
	defer staged.Discard()
	if err := s.lockFiles(ctx); err != nil {
		return sdk.Result{}, err
	}
	defer s.unlockFiles()
	if err := s.prepareReload(ctx, doc, c, resolving); err != nil {
		return sdk.Result{}, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	result, err := s.commitAndReload(ctx, staged, doc, c.reload)
	if err == nil {
		s.recordResult(doc, result)
	}
	result.Details = append(result.Details, warnings...)
	if err != nil && s.failedBefore(doc) != nil { // do not hold back changes that need no reload
		ctx, release := s.contextUntilStop(ctx)
		defer release()
		s.updatePartially(ctx, doc)
	}
	return result, err
}

// prepareReload does what precedes the reload that c requires, if any. It makes a partial update if the reload may be deferred
// and resolving says that the host names of added servers were resolved meanwhile. It persists what HAProxy runs. It returns an
// error if the reload is deferred. The caller holds s.files.
func (s *Sink) prepareReload(ctx context.Context, doc *document, c fileChange, resolving bool) error {
	if c.rateLimited {
		if resolving {
			s.lockAndUpdatePartially(ctx, doc)
		}
		if err := s.deferReload(doc, c.reload); err != nil {
			return err
		}
	}
	if c.reload != "" { // if doc does not load, HAProxy continues with the current configuration, and so does the next start
		s.persist(ctx)
	}
	return nil
}

// commitAndReload renames the staged files into place and makes HAProxy load them. If that fails, it restores the previous files
// and the previous HAProxy. The caller holds s.files and s.change.
func (s *Sink) commitAndReload(
	ctx context.Context, staged *stage.Stage, doc *document, reason string,
) (sdk.Result, error) {
	if ctx.Err() != nil {
		return sdk.Result{}, interrupted(context.Cause(ctx))
	}
	if s.isStopped() {
		return sdk.Result{}, interrupted(errStopped)
	}
	ctx, release := s.contextUntilStop(ctx)
	defer release()

	p, now := s.plan(ctx, doc) // again, because HAProxy may have ended or been reloaded by another program
	if now.None() {
		s.reportCrash()
	}
	if p.need == needNothing {
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: p.reason}, nil
	}
	if err := s.checkBinds(ctx, now, doc); err != nil {
		return sdk.Result{}, err
	}
	if err := s.commit(ctx, staged); err != nil {
		return sdk.Result{}, err
	}
	// The files are in place from here on: before it returns, HAProxy must serve them or the previous files must be restored.
	if p.need == needWrite {
		s.recordApplied(doc, now)
		return sdk.Result{Action: sdk.ActionWritten, Reason: p.reason}, nil
	}
	return s.reload(ctx, staged, doc, cmp.Or(reason, p.reason))
}

// commit puts staged files in place, unless a verify command that can only read the files in place rejects them. The caller holds
// s.files.
func (s *Sink) commit(ctx context.Context, staged *stage.Stage) error {
	if err := s.write(ctx, staged); err != nil {
		return err
	}
	if s.verifiesInPlace() {
		if err := s.verifyInPlace(ctx, staged); err != nil {
			return errors.Join(err, staged.Restore())
		}
	}
	return nil
}

// write lists the staged files in the state file and renames them into place.
func (s *Sink) write(ctx context.Context, staged *stage.Stage) error {
	defer report.Step(ctx, "write")()
	s.announce(staged.Files())
	return s.commitStage(staged)
}

// reload makes HAProxy load doc, whose files are already in place, and verifies that HAProxy serves it. If it does not, reload
// restores the previous files and, if needed, makes HAProxy load these. The caller holds s.files and s.change.
func (s *Sink) reload(ctx context.Context, staged *stage.Stage, doc *document, reason string) (sdk.Result, error) {
	before := s.state.Load().running
	defer s.beginLoad(!before.None())()
	loaded, err := s.load(ctx, doc)
	if err != nil {
		details := process.LogOf(err)
		err = s.restore(ctx, staged, err)
		if _, refused := errors.AsType[*process.LoadError](err); refused && doc.reread != "" {
			err = sdk.NotLoaded(err) // other documents may load
		} else if refused && !before.None() {
			err = s.recordFailedLoad(doc, err)
		}
		return sdk.Result{Reason: reason, Details: details}, err
	}
	s.reloadLimit.recordSuccess()
	if doc.reread == "" { // otherwise nothing is known about the document that failed
		s.update(func(st *state) { st.failedLoad = failedLoad{} })
	}
	return sdk.Result{Action: loaded.Action, Reason: cmp.Or(loaded.Reason, reason), Details: loaded.Log}, nil
}

// restore restores the previous files. If the HAProxy that served them no longer runs, it makes HAProxy load them again. It
// returns the cause, joined with the errors of the restoration.
func (s *Sink) restore(ctx context.Context, staged *stage.Stage, cause error) error {
	if s.isStopped() {
		// It is unknown whether HAProxy will load the new files. They passed the check, and the state file does not match them,
		// so the next process will not take them for what HAProxy serves.
		return fmt.Errorf("the change was interrupted while HAProxy was loading it: %w", cause)
	}
	if err := staged.Restore(); err != nil {
		return errors.Join(cause, err)
	}
	st := s.state.Load()
	before := st.running
	if before.None() {
		return cause
	}
	// A HAProxy that a command reloads in place may have loaded the new files and still be the same process.
	_, unchanged := errors.AsType[*process.UnchangedError](cause)
	if now, err := s.controller.Find(ctx); err == nil && now.Same(before) && (unchanged || !s.cfg.byCommand()) {
		return cause
	}
	var restored *document // nil if the previous files are unknown
	applied := st.applied(before)
	if applied != nil {
		restored = st.onDisk
	}
	s.log.Warn("restoring the previous configuration in HAProxy", "error", cause)
	loaded, err := s.load(ctx, restored)
	if err != nil {
		s.update(func(st *state) { st.startErr = err })
		return errors.Join(cause, fmt.Errorf("the previous configuration could not be restored either: %w", err))
	}
	s.reportRestored(restored, loaded)
	if applied != restored { // a runtime change that was not persisted
		s.lost(sdk.Lost{Err: cause, Generation: generationOf(restored), Digest: applied.digest})
	}
	return cause
}

// recordResult records the result of applying doc. The caller holds s.change.
func (s *Sink) recordResult(doc *document, result sdk.Result) {
	s.update(func(st *state) {
		if doc.reread == "" {
			st.offered, st.revertErr = true, nil
		}
		st.lastChange = result.Action + ": " + result.Reason
	})
}

func interrupted(cause error) error {
	return fmt.Errorf("the change was interrupted before it had an effect: %w", cause)
}
