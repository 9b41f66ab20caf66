package sdktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// largeDocument is the size, in bytes, up to which a sink must cope with a document.
const largeDocument = 64 << 20

// A Sink says what to try on a sink plugin.
type Sink struct {
	Program
	FileName string    // of the main file; default "main"
	Good     [2]string // two different main files that the sink accepts; default two lines of text
	Bad      string    // a main file that the sink must reject; empty where there is no such thing

	large int // size of the large document in bytes; zero for the usual one
}

func (s Sink) withDefaults() Sink {
	if s.FileName == "" {
		s.FileName = "main"
	}
	if s.Good == [2]string{} {
		s.Good = [2]string{"first\n", "second\n"}
	}
	if s.large == 0 {
		s.large = largeDocument
	}
	return s
}

// TestSink runs every check of [CheckSink] as a subtest.
func TestSink(t *testing.T, s Sink) { CheckSink(t.Context(), s, asTests(t)) }

// CheckSink looks at a sink plugin and reports each finding as soon as there is one. It returns whether none was a fault. It
// starts the plugin several times and makes documents live: it is no thing to do to a sink that serves.
func CheckSink(ctx context.Context, s Sink, report func(Finding)) bool {
	bench := &sinkBench{Sink: s.withDefaults()}
	defer bench.finish(context.WithoutCancel(ctx))
	return perform(ctx, bench, sinkChecks, report)
}

// sinkChecks build on one another: each finds the sink as the one before left it.
var sinkChecks = []check[*sinkBench]{
	{"starts and accepts its configuration", (*sinkBench).starts},
	{"says its name and version", func(b *sinkBench, _ context.Context) error { return hasName(b.sink.Info()) }},
	{"refuses unknown keys", (*sinkBench).refusesUnknownKeys},
	{"answers health before the first document", (*sinkBench).answersHealth},
	{"takes a document", func(b *sinkBench, ctx context.Context) error { return b.takes(ctx, b.Good[0]) }},
	{"is healthy then", (*sinkBench).isHealthy},
	{"knows a document that is in effect", func(b *sinkBench, ctx context.Context) error { return b.knows(ctx, b.Good[0]) }},
	{"takes another document", func(b *sinkBench, ctx context.Context) error { return b.takes(ctx, b.Good[1]) }},
	{"rejects what it cannot use", (*sinkBench).rejects},
	{"keeps what was in effect after a rejection", (*sinkBench).keepsAfterRejection},
	{"checks a document without making it live", (*sinkBench).checks},
	{"stops when it is cancelled, and takes a newer document", (*sinkBench).takesAfterCancel},
	{"survives a large document", (*sinkBench).survivesLarge},
	{"ends when it is told to", (*sinkBench).endsWhenTold},
	{"ends with its daemon", (*sinkBench).endsWithDaemon},
	{"serves again after it was killed", (*sinkBench).servesAfterKill},
}

type sinkBench struct {
	Sink
	sink       *host.Sink // nil between two runs
	generation uint64
}

func (b *sinkBench) start(ctx context.Context, block sdk.Block) error {
	sink, err := host.StartSink(ctx, b.options(block))
	if err != nil {
		return err
	}
	b.close()
	b.sink = sink
	return nil
}

func (b *sinkBench) close() {
	if b.sink != nil {
		_ = b.sink.Close()
		b.sink = nil
	}
}

// finish is an orderly end, so that the sink may take away what the checks made live.
func (b *sinkBench) finish(ctx context.Context) {
	if b.sink != nil {
		ctx, cancel := context.WithTimeout(ctx, endWithin)
		defer cancel()
		_ = b.sink.Stop(ctx)
	}
}

// again makes sure that a plugin runs: the check before may have ended it.
func (b *sinkBench) again(ctx context.Context) error {
	if b.sink != nil && b.sink.PID() != 0 {
		return nil
	}
	return b.start(ctx, b.Block)
}

func (b *sinkBench) starts(ctx context.Context) error { return b.start(ctx, b.Block) }

func (b *sinkBench) refusesUnknownKeys(ctx context.Context) error {
	return refusesUnknownKeys(ctx, func(ctx context.Context, block sdk.Block) error {
		sink, err := host.StartSink(ctx, b.options(block))
		if err == nil {
			_ = sink.Close()
		}
		return err
	}, b.Block)
}

func (b *sinkBench) answersHealth(ctx context.Context) error {
	_, err := b.health(ctx)
	return err
}

func (b *sinkBench) health(ctx context.Context) (sdk.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return b.sink.AskHealth(ctx)
}

func (b *sinkBench) isHealthy(ctx context.Context) error {
	health, err := b.health(ctx)
	if err == nil && !health.OK() {
		err = fmt.Errorf("it took a document and says now: %q", health.Problems)
	}
	return err
}

// apply offers a document, and again where the sink defers it.
func (b *sinkBench) apply(ctx context.Context, content string) (sdk.Result, error) {
	ctx, cancel := b.within(ctx)
	defer cancel()
	doc := b.document(content)
	for {
		result, err := b.sink.Apply(ctx, doc)
		retry, ok := errors.AsType[*sdk.RetryError](err)
		if !ok || !errors.Is(err, sdk.ErrDeferred) {
			return result, err
		}
		select { // as the daemon does
		case <-ctx.Done():
			return result, err
		case <-time.After(retry.After):
		}
	}
}

func (b *sinkBench) document(content string) sdk.Document {
	b.generation++
	files := []sdk.File{{Name: b.FileName, Content: []byte(content)}}
	return sdk.Document{Pipeline: "sdktest", Generation: b.generation, Digest: sdk.DigestOf(files), Files: files}
}

func (b *sinkBench) takes(ctx context.Context, content string) error {
	if err := b.again(ctx); err != nil {
		return err
	}
	result, err := b.apply(ctx, content)
	if err != nil {
		return err
	}
	known := []string{sdk.ActionUnchanged, sdk.ActionRuntime, sdk.ActionReload, sdk.ActionRestart, sdk.ActionWritten}
	if !slices.Contains(known, result.Action) {
		return fmt.Errorf("its result has the action %q; known are %q", result.Action, known)
	}
	return nil
}

func (b *sinkBench) knows(ctx context.Context, content string) error {
	result, err := b.apply(ctx, content)
	if err == nil && result.Action != sdk.ActionUnchanged {
		err = fmt.Errorf("offered what is in effect it answered %q, not %q: every restart would disturb what it feeds",
			result.Action, sdk.ActionUnchanged)
	}
	return err
}

func (b *sinkBench) rejects(ctx context.Context) error {
	if b.Bad == "" {
		return skip("there is no document that it must reject")
	}
	_, err := b.apply(ctx, b.Bad)
	switch {
	case err == nil:
		return errors.New("it took the document that it must reject")
	case !errors.Is(err, sdk.ErrRejected):
		return fmt.Errorf("its error is not marked as a rejection, so the daemon would try for ever: %w", err)
	}
	return nil
}

func (b *sinkBench) keepsAfterRejection(ctx context.Context) error {
	if b.Bad == "" {
		return skip("there is no document that it must reject")
	}
	if err := b.isHealthy(ctx); err != nil {
		return err
	}
	return b.knows(ctx, b.Good[1])
}

// checks has the sink check what it accepts and what it rejects, and wants what is in effect to be left alone.
func (b *sinkBench) checks(ctx context.Context) error {
	if err := b.again(ctx); err != nil {
		return err
	}
	within, cancel := b.within(ctx)
	defer cancel()
	err := b.sink.Check(within, b.document(b.Good[0]))
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return skip("it cannot check a document")
	case err != nil:
		return fmt.Errorf("its check refuses a document that it takes: %w", err)
	}
	if b.Bad != "" {
		if err := b.sink.Check(within, b.document(b.Bad)); !errors.Is(err, sdk.ErrRejected) {
			return fmt.Errorf("its check does not reject the document that it must reject, but says: %w", err)
		}
	}
	return b.knows(ctx, b.Good[1])
}

// takesAfterCancel cancels a call under way, which has to end then, and offers the next document.
func (b *sinkBench) takesAfterCancel(ctx context.Context) error {
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	time.AfterFunc(time.Millisecond, cancel)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = b.apply(cancelled, b.Good[0]) // it may have been quick enough, or not
	}()
	within, done := b.within(ctx)
	defer done()
	select {
	case <-ended:
	case <-within.Done():
		b.close()
		<-ended
		return fmt.Errorf("its Apply goes on after it was cancelled: %w", context.Cause(within))
	}
	if err := b.takes(ctx, b.Good[1]); err != nil {
		return err
	}
	return b.knows(ctx, b.Good[1])
}

// survivesLarge lets the sink take or refuse the document, as long as it is there afterwards.
func (b *sinkBench) survivesLarge(ctx context.Context) error {
	if err := b.again(ctx); err != nil {
		return err
	}
	pid := b.sink.PID()
	_, err := b.apply(ctx, string(bytes.Repeat([]byte("# large\n"), b.large/8)))
	if errors.Is(err, host.ErrGone) || b.sink.PID() != pid {
		return fmt.Errorf("it died of a document of %d MiB", b.large>>20)
	}
	if err != nil && !errors.Is(err, sdk.ErrRejected) {
		return fmt.Errorf("a document of %d MiB is neither taken nor rejected: %w", b.large>>20, err)
	}
	return b.takes(ctx, b.Good[1])
}

func (b *sinkBench) endsWhenTold(ctx context.Context) error {
	if err := b.again(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	err := b.sink.Stop(ctx)
	b.sink = nil
	return err
}

func (b *sinkBench) endsWithDaemon(ctx context.Context) error {
	if err := b.takes(ctx, b.Good[1]); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	err := b.sink.Abandon(ctx)
	b.sink = nil
	if err != nil {
		return fmt.Errorf("its call Attach ended and it runs on %s later: it must end by itself", endWithin)
	}
	return nil
}

func (b *sinkBench) servesAfterKill(ctx context.Context) error {
	if err := b.again(ctx); err != nil {
		return err
	}
	pid := b.sink.PID()
	if pid == 0 { // which would be our own process group
		return errors.New("it ended by itself before it could be killed")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := b.within(ctx)
	defer cancel()
	select {
	case <-b.sink.Restarted():
	case <-ctx.Done():
		return errors.New("it did not start again")
	}
	return b.takes(ctx, b.Good[0])
}
