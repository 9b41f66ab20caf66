package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Inputs are files that the program of a sink reads beside the document, such as certificates.
type Inputs interface {
	// Patterns returns the configured names and patterns of the files. It never changes.
	Patterns() []string
	// Read returns for each existing file, by path, a string that depends only on its content.
	Read() map[string]string
	// Watch calls changed with what Read returns soon after that has changed. It blocks and returns nil when ctx is done.
	Watch(ctx context.Context, changed func(map[string]string)) error
}

// inputState is what a pipeline knows about the files that its sink's program reads beside the document.
type inputState struct {
	files  map[string]string // the watched files' content, by [Inputs]; nil before they were read
	loaded map[string]string // the content that the sink loaded last; nil if that is not known

	pending bool      // the sink must check whether any file has changed, watched or not
	cause   cause     // why
	entry   uint64    // in the history, of the attempts so far; 0 for none
	due     time.Time // when to try that again; zero for at once
	fault   *logdedup.Fault
	retries *backoff.ExponentialBackOff
}

func newInputState() inputState {
	return inputState{fault: &logdedup.Fault{}, retries: newBackOff(time.Second, 30*time.Second)}
}

// recordApply records how the sink applied a document. A program that has loaded its configuration may have loaded files that
// could not be loaded before.
func (i *inputState) recordApply(r sdk.Result) {
	if i.fault.Cause() != "" && (r.Action == sdk.ActionReload || r.Action == sdk.ActionRestart) {
		i.pending, i.due = true, time.Time{}
	}
}

// watchInputs reads the watched files, and passes changes to the pipeline until ctx is done. The sink finds out whether any
// file has changed since an earlier run.
func (p *pipeline) watchInputs(ctx context.Context, watchers *sync.WaitGroup) {
	if p.watched == nil {
		return
	}
	if p.state.inputs.files == nil {
		p.state.inputs.files = p.watched.Read()
		p.scheduleReread(causeNow(history.TriggerStart, ""))
	}
	watchers.Go(func() {
		if err := p.watched.Watch(ctx, p.inputChanges.put); err != nil {
			p.log.Error("files are no longer watched: restart, or request apply after one of them has changed", "error", err)
		}
	})
}

// updateInputs stores the content of the watched files after a change.
func (p *pipeline) updateInputs() {
	i := &p.state.inputs
	i.files, _ = p.inputChanges.latest()
	changed := changedFiles(i.loaded, i.files)
	if len(changed) == 0 && i.loaded != nil {
		p.log.Info("watched files are again what was loaded")
		return
	}
	if len(changed) > 0 {
		p.state.cause.Detail = OneLine(changed[0])
	}
	p.log.Info("watched files changed", "files", changed)
}

// scheduleReread makes the next reconcile reread the files, and apply rejected documents again: the sink may accept them with
// other files.
func (p *pipeline) scheduleReread(cause cause) {
	i := &p.state.inputs
	p.supersedeReread()
	i.pending, i.cause, i.due = true, cause, time.Time{}
	i.retries.Reset()
	if p.forgetRejections() {
		p.state.inSync = false // the applied document was rendered without what was excluded
	}
}

// rereadPending makes the sink reread the files if that is due, and returns when to try again. If the sink has deferred a
// document, rereadPending waits for it, because the sink loads the files with it.
func (p *pipeline) rereadPending(ctx context.Context) schedule {
	s, i := &p.state, &p.state.inputs
	if !i.pending || s.applied == nil || s.pending != nil && s.pending.err == nil {
		return schedule{}
	}
	if wait := time.Until(i.due); wait > 0 {
		return in(wait)
	}
	err := p.reread(ctx)
	after, isDeferred := deferral(err)
	switch {
	case ctx.Err() != nil:
		return schedule{}
	case err == nil:
		i.fault.Resolve(p.log, "files beside the configuration can be loaded again")
		i.pending, i.loaded = false, i.files
		s.status.InputsError = nil
		return schedule{}
	case isDeferred:
		i.due = time.Now().Add(after)
		return in(time.Until(i.due))
	}
	s.status.InputsError = err
	if isNotLoaded(err) { // each attempt may interrupt what the sink manages
		i.pending = false
		i.fault.Error(p.log,
			"loading changed files failed; keeping what was loaded until one of them changes or apply is requested", err)
		return schedule{}
	}
	wait := i.retries.NextBackOff()
	if hint, ok := errors.AsType[*sdk.RetryError](err); ok {
		wait = max(wait, hint.After)
	}
	i.due = time.Now().Add(wait)
	i.fault.Error(p.log, "loading changed files failed; keeping what was loaded, retrying", err,
		"retry_in", wait.Round(time.Millisecond))
	return in(wait)
}

// reread makes the sink reread the files. A sink that is not an [sdk.Rereader] applies the document again if watched files have
// changed.
func (p *pipeline) reread(ctx context.Context) error {
	applied, i := p.state.applied, &p.state.inputs
	var result sdk.Result
	began, err := time.Now(), errors.ErrUnsupported
	if rereader, ok := p.sink.(sdk.Rereader); ok {
		p.callSink(ctx, applied, func(ctx context.Context) error {
			result, err = rereader.Reread(ctx, sdk.Watched{ID: p.inputsID(), Changed: changedFiles(i.loaded, i.files)})
			return err
		})
	}
	if errors.Is(err, errors.ErrUnsupported) {
		if i.cause.Kind == history.TriggerInputs {
			return p.applyAgain(ctx)
		}
		return nil
	}
	unchanged := err == nil && result.Action == sdk.ActionUnchanged
	if ctx.Err() != nil || unchanged && i.entry == 0 {
		if i.cause.Kind != history.TriggerStart {
			p.log.Info("no file beside the configuration has changed", "trigger", i.cause.Kind)
		}
		return err
	}
	attempt := Attempt{
		Pipeline: p.name, Generation: applied.document.Generation, Digest: applied.document.Digest, Trigger: i.cause.Trigger,
		Received: i.cause.at, Started: began, Took: time.Since(began), Result: result, Err: err,
	}
	p.recordReread(&attempt)
	p.observer.Applied(attempt)
	if err == nil && !unchanged {
		p.log.Info("files loaded again", "action", result.Action, "reason", result.Reason, "trigger", i.cause.Kind,
			"took", attempt.Took.Round(time.Millisecond))
	}
	return err
}

// inputsID identifies the content of the watched files. It is empty if none are watched.
func (p *pipeline) inputsID() string {
	if p.watched == nil {
		return ""
	}
	return digestOfList(p.watched.Patterns()) + "." + digestOfFiles(p.state.inputs.files)
}

func digestOfList(list []string) string {
	h := sha256.New()
	for _, item := range list {
		fmt.Fprintf(h, "%q\n", item)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func digestOfFiles(files map[string]string) string {
	var list []string
	for _, path := range slices.Sorted(maps.Keys(files)) {
		list = append(list, path, files[path])
	}
	return digestOfList(list)
}

// shownFiles is how many files a message names.
const shownFiles = 3

// changedFiles returns the paths of the first files that differ between the two and how many more there are.
func changedFiles(before, now map[string]string) []string {
	if before == nil {
		return nil
	}
	var changed []string
	for path, content := range now {
		if was, there := before[path]; !there || was != content {
			changed = append(changed, strings.ToValidUTF8(path, "\uFFFD"))
		}
	}
	for path := range before {
		if _, there := now[path]; !there {
			changed = append(changed, strings.ToValidUTF8(path, "\uFFFD"))
		}
	}
	slices.Sort(changed)
	if more := len(changed) - shownFiles; more > 0 {
		changed = append(changed[:shownFiles], fmt.Sprintf("and %d more", more))
	}
	return changed
}
