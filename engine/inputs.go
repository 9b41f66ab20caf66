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

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Inputs are files that the program of a sink reads beside the document, such as certificates.
type Inputs interface {
	// Patterns returns what the files are named by. It never changes.
	Patterns() []string
	// Read returns for each file that there is something that is the same for the same content.
	Read() map[string]string
	// Watch calls changed with what Read returns soon after that has changed. It blocks and returns nil when ctx is done.
	Watch(ctx context.Context, changed func(map[string]string)) error
}

// inputs is what a pipeline knows of the files that the program of its sink reads beside the document. All fields but the first
// two belong to the pipeline's goroutine.
type inputs struct {
	watched Inputs // nil for none
	changes *mailbox[map[string]string]

	files  map[string]string // as they were when they were last seen to be whole; nil before
	loaded map[string]string // as they were when the sink loaded them last; nil where that is not known

	pending bool      // the sink is to look whether any of them has changed, watched or not
	cause   string    // one of the Trigger constants
	due     time.Time // when to try that again; zero for at once
	fault   *logdedup.Fault
	pace    *backoff.ExponentialBackOff
}

func newInputs(watched Inputs) *inputs {
	i := &inputs{
		watched: watched, changes: newMailbox[map[string]string](), fault: &logdedup.Fault{},
		pace: backoff.NewExponentialBackOff(),
	}
	i.pace.InitialInterval, i.pace.MaxInterval = time.Second, 30*time.Second
	return i
}

// startInputs reads the watched files, and tells the pipeline of changes until ctx is done. Whether any has changed while nobody
// watched is the sink's to know.
func (p *pipeline) startInputs(ctx context.Context, beside *sync.WaitGroup) {
	i := p.inputs
	if i.watched == nil {
		return
	}
	if i.files == nil {
		i.files = i.watched.Read()
		p.reread(TriggerStart)
	}
	beside.Go(func() {
		if err := i.watched.Watch(ctx, i.changes.put); err != nil {
			p.log.Error("files are no longer watched: restart, or apply when one of them has changed", "error", err)
		}
	})
}

// takeInputs takes over the watched files as they are after a change.
func (p *pipeline) takeInputs() {
	p.inputs.files, _ = p.inputs.changes.latest()
	p.log.Info("watched files changed", "files", changedFiles(p.inputs.loaded, p.inputs.files))
}

// reread makes the look at the files pending and due. What was refused may be good now.
func (p *pipeline) reread(cause string) {
	i := p.inputs
	i.pending, i.cause, i.due = true, cause, time.Time{}
	i.pace.Reset()
	if p.forgetRefused() {
		p.inEffect = nil // without those who were left out
	}
}

// rereadPending has the sink look at the files if that is due. It returns when to try again, if that may help. A document that
// the sink has deferred comes first: it brings the files.
func (p *pipeline) rereadPending(ctx context.Context) (time.Duration, bool) {
	i := p.inputs
	if !i.pending || p.accepted == nil || p.owed != nil && p.owed.err == nil {
		return 0, false
	}
	if wait := time.Until(i.due); wait > 0 {
		return wait, true
	}
	err := p.applyInputs(ctx)
	switch {
	case ctx.Err() != nil:
		return 0, false
	case err == nil:
		i.fault.Resolve(p.log, "the files that are read beside the configuration are loaded again")
		i.pending, i.loaded = false, i.files
		p.board.setInputsError(nil)
		return 0, false
	case errors.Is(err, sdk.ErrDeferred):
		i.due = time.Now().Add(deferredFor(err))
		return time.Until(i.due), true
	}
	p.board.setInputsError(err)
	if isNotLoaded(err) { // each try may interrupt what the sink manages
		i.pending = false
		i.fault.Error(p.log,
			"changed files cannot be loaded; keeping what was loaded until one of them changes or apply is requested", err)
		return 0, false
	}
	wait := i.pace.NextBackOff()
	if hint, ok := errors.AsType[*sdk.RetryError](err); ok {
		wait = max(wait, hint.After)
	}
	i.due = time.Now().Add(wait)
	i.fault.Error(p.log, "changed files cannot be loaded; keeping what was loaded, retrying", err,
		"again_in", wait.Round(time.Millisecond))
	return wait, true
}

// applyInputs has the sink look at the files. One that cannot is offered the document once more where watched files have changed.
func (p *pipeline) applyInputs(ctx context.Context) error {
	i := p.inputs
	var result sdk.Result
	began, err := time.Now(), errors.ErrUnsupported
	if rereader, ok := p.sink.(sdk.Rereader); ok {
		p.board.setOffered(began)
		rereading, release := p.untilSuperseded(ctx, p.accepted)
		result, err = rereader.Reread(rereading, sdk.Watched{ID: i.id(), Changed: changedFiles(i.loaded, i.files)})
		if release() && err != nil {
			p.extendPatience()
		}
		p.board.setOffered(time.Time{})
	}
	if errors.Is(err, errors.ErrUnsupported) {
		if i.cause == TriggerInputs {
			return p.applyAccepted(ctx)
		}
		return nil
	}
	if ctx.Err() != nil || err == nil && result.Action == sdk.ActionUnchanged {
		if i.cause != TriggerStart {
			p.log.Info("no file has changed that is read beside the configuration", "trigger", i.cause)
		}
		return err
	}
	entry := Entry{
		Pipeline: p.name, Generation: p.accepted.document.Generation, Digest: p.accepted.document.Digest, Trigger: i.cause,
		Offered: began, Took: time.Since(began), Result: result, Err: err,
	}
	p.ledger.add(entry)
	p.observer.Applied(entry)
	if err == nil {
		p.log.Info("files loaded again", "action", result.Action, "reason", result.Reason, "trigger", i.cause,
			"took", entry.Took.Round(time.Millisecond))
	}
	return err
}

// applied notes what the sink did for a document. A program that has loaded it may have loaded files that could not be loaded
// before.
func (i *inputs) applied(r sdk.Result) {
	if i.fault.Cause() != "" && (r.Action == sdk.ActionReload || r.Action == sdk.ActionRestart) {
		i.pending, i.due = true, time.Time{}
	}
}

// id is what identifies the files, and empty where none are watched.
func (i *inputs) id() string {
	if i.watched == nil {
		return ""
	}
	return digestOfList(i.watched.Patterns()) + "." + digestOfFiles(i.files)
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

// shownFiles is how many files a sentence names.
const shownFiles = 3

// changedFiles names the first files that differ between the two, for people.
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
