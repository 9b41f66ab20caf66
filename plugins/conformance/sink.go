package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// largeDocument is the size, in bytes, up to which a sink must cope with a document.
const largeDocument = 64 << 20

// A Sink is a sink plugin and the documents to check it with.
type Sink struct {
	Program
	FileName string    // of the main file; "main" if empty
	Good     [2]string // two different main files that the sink accepts; two lines of text if empty
	Bad      string    // a main file that the sink must reject; empty if there is none

	large int // replaces largeDocument; zero for the constant
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

// CheckSink checks a sink plugin and reports each finding as soon as there is one. It returns whether no check failed. It
// starts the plugin several times and applies documents, so what the sink manages must not be in use.
func CheckSink(ctx context.Context, s Sink, report func(Finding)) bool {
	c := &sinkChecker{Sink: s.withDefaults()}
	defer c.finish(context.WithoutCancel(ctx))
	return run(ctx, c, sinkChecks, report)
}

// sinkChecks depend on their order: each check finds the sink in the state in which the previous one left it.
var sinkChecks = []check[*sinkChecker]{
	{"starts and accepts its configuration", (*sinkChecker).starts},
	{"reports its name and version", func(c *sinkChecker, _ context.Context) error { return checkInfo(c.sink.Info()) }},
	{"rejects unknown keys", (*sinkChecker).rejectsUnknownKeys},
	{"reports its health before the first document", (*sinkChecker).reportsHealth},
	{"applies a document", func(c *sinkChecker, ctx context.Context) error { return c.applies(ctx, c.Good[0]) }},
	{"is healthy after it applied a document", (*sinkChecker).isHealthy},
	{"recognizes the document in effect", func(c *sinkChecker, ctx context.Context) error {
		return c.recognizes(ctx, c.Good[0])
	}},
	{"applies another document", func(c *sinkChecker, ctx context.Context) error { return c.applies(ctx, c.Good[1]) }},
	{"rejects a bad document", (*sinkChecker).rejects},
	{"keeps the previous document after a rejection", (*sinkChecker).keepsAfterRejection},
	{"checks a document without applying it", (*sinkChecker).checks},
	{"reports the servers of its program", (*sinkChecker).reportsServers},
	{"stops when it is cancelled, and applies a newer document", (*sinkChecker).appliesAfterCancel},
	{"survives a large document", (*sinkChecker).survivesLarge},
	{"ends on Stop", (*sinkChecker).endsOnStop},
	{"ends with its daemon", (*sinkChecker).endsWithDaemon},
	{"applies documents after it was killed", (*sinkChecker).appliesAfterKill},
}

type sinkChecker struct {
	Sink
	sink       *host.Sink // nil while none runs
	generation uint64
}

func (c *sinkChecker) start(ctx context.Context, block sdk.Block) error {
	sink, err := host.StartSink(ctx, c.options(block))
	if err != nil {
		return err
	}
	c.close()
	c.sink = sink
	return nil
}

func (c *sinkChecker) close() {
	if c.sink != nil {
		_ = c.sink.Close()
		c.sink = nil
	}
}

// finish stops the plugin gracefully, so that the sink can remove what it applied for the checks.
func (c *sinkChecker) finish(ctx context.Context) {
	if c.sink != nil {
		ctx, cancel := c.withTimeout(ctx, endTimeout)
		defer cancel()
		_ = c.sink.Stop(ctx)
	}
}

// ensureRunning starts the plugin again if the previous check has ended it.
func (c *sinkChecker) ensureRunning(ctx context.Context) error {
	if c.sink != nil && c.sink.PID() != 0 {
		return nil
	}
	return c.start(ctx, c.Block)
}

func (c *sinkChecker) starts(ctx context.Context) error { return c.start(ctx, c.Block) }

func (c *sinkChecker) rejectsUnknownKeys(ctx context.Context) error {
	return checkUnknownKey(ctx, func(ctx context.Context, block sdk.Block) error {
		sink, err := host.StartSink(ctx, c.options(block))
		if err == nil {
			_ = sink.Close()
		}
		return err
	}, c.Block)
}

func (c *sinkChecker) reportsHealth(ctx context.Context) error {
	_, err := c.health(ctx)
	return err
}

func (c *sinkChecker) health(ctx context.Context) (sdk.Health, error) {
	ctx, cancel := c.withTimeout(ctx, answerTimeout)
	defer cancel()
	return c.sink.PluginHealth(ctx)
}

func (c *sinkChecker) isHealthy(ctx context.Context) error {
	health, err := c.health(ctx)
	if err == nil && !health.OK() {
		err = fmt.Errorf("it applied a document and reports these problems: %q", health.Problems)
	}
	return err
}

// apply applies a document, and again after the requested time if the sink defers it, as the daemon does.
func (c *sinkChecker) apply(ctx context.Context, content string) (sdk.Result, error) {
	ctx, cancel := c.withTimeout(ctx, applyTimeout)
	defer cancel()
	doc := c.document(content)
	for {
		result, err := c.sink.Apply(ctx, doc)
		retry, ok := errors.AsType[*sdk.RetryError](err)
		if !ok || !errors.Is(err, sdk.ErrDeferred) {
			return result, err
		}
		select {
		case <-ctx.Done():
			return result, err
		case <-time.After(retry.After):
		}
	}
}

func (c *sinkChecker) document(content string) sdk.Document {
	c.generation++
	files := []sdk.File{{Name: c.FileName, Content: []byte(content)}}
	return sdk.Document{Pipeline: "conformance", Generation: c.generation, Digest: sdk.DigestOf(files), Files: files}
}

func (c *sinkChecker) applies(ctx context.Context, content string) error {
	if err := c.ensureRunning(ctx); err != nil {
		return err
	}
	result, err := c.apply(ctx, content)
	if err != nil {
		return err
	}
	known := []string{sdk.ActionUnchanged, sdk.ActionRuntime, sdk.ActionReload, sdk.ActionRestart, sdk.ActionWritten}
	if !slices.Contains(known, result.Action) {
		return fmt.Errorf("its result has the action %q; known actions are %q", result.Action, known)
	}
	return nil
}

func (c *sinkChecker) recognizes(ctx context.Context, content string) error {
	result, err := c.apply(ctx, content)
	if err == nil && result.Action != sdk.ActionUnchanged {
		err = fmt.Errorf("for the document in effect it reports %q, not %q: every restart would disturb what it manages",
			result.Action, sdk.ActionUnchanged)
	}
	return err
}

func (c *sinkChecker) rejects(ctx context.Context) error {
	if c.Bad == "" {
		return skip("no bad document is given")
	}
	_, err := c.apply(ctx, c.Bad)
	switch {
	case err == nil:
		return errors.New("it applied the bad document")
	case !errors.Is(err, sdk.ErrRejected):
		return fmt.Errorf("its error is not a rejection, so the daemon would try the document again without end: %w", err)
	}
	return nil
}

func (c *sinkChecker) keepsAfterRejection(ctx context.Context) error {
	if c.Bad == "" {
		return skip("no bad document is given")
	}
	if err := c.isHealthy(ctx); err != nil {
		return err
	}
	return c.recognizes(ctx, c.Good[1])
}

// checks has the sink check a good and the bad document, and checks that the document in effect stays the same.
func (c *sinkChecker) checks(ctx context.Context) error {
	if err := c.ensureRunning(ctx); err != nil {
		return err
	}
	checkCtx, cancel := c.withTimeout(ctx, applyTimeout)
	defer cancel()
	err := c.sink.Check(checkCtx, c.document(c.Good[0]))
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return skip("it cannot check a document")
	case err != nil:
		return fmt.Errorf("its check fails for a document that it applies: %w", err)
	}
	if c.Bad != "" {
		if err := c.sink.Check(checkCtx, c.document(c.Bad)); !errors.Is(err, sdk.ErrRejected) {
			return fmt.Errorf("its check does not reject the bad document: %w", err)
		}
	}
	return c.recognizes(ctx, c.Good[1])
}

// reportsServers asks for the servers. A sink may be unable to find them out at the moment.
func (c *sinkChecker) reportsServers(ctx context.Context) error {
	ctx, cancel := c.withTimeout(ctx, answerTimeout)
	defer cancel()
	servers, err := c.sink.Servers(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return skip("it does not report any servers")
	case err != nil:
		return err
	}
	for _, s := range servers {
		if s.Name == "" || s.Status == "" {
			return fmt.Errorf("a server lacks its name or its status: %+v", s)
		}
	}
	return nil
}

// appliesAfterCancel cancels a running Apply, which must then return, and applies the next document.
func (c *sinkChecker) appliesAfterCancel(ctx context.Context) error {
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	time.AfterFunc(time.Millisecond, cancel)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = c.apply(cancelled, c.Good[0]) // it may have finished before it was cancelled
	}()
	waitCtx, done := c.withTimeout(ctx, applyTimeout)
	defer done()
	select {
	case <-ended:
	case <-waitCtx.Done():
		c.close()
		<-ended
		return fmt.Errorf("its Apply goes on after it was cancelled: %w", context.Cause(waitCtx))
	}
	if err := c.applies(ctx, c.Good[1]); err != nil {
		return err
	}
	return c.recognizes(ctx, c.Good[1])
}

// survivesLarge applies a large document. The sink may apply or reject it, but the plugin must still run afterwards.
func (c *sinkChecker) survivesLarge(ctx context.Context) error {
	if err := c.ensureRunning(ctx); err != nil {
		return err
	}
	pid := c.sink.PID()
	_, err := c.apply(ctx, string(bytes.Repeat([]byte("# large\n"), c.large/8)))
	if errors.Is(err, host.ErrGone) || c.sink.PID() != pid {
		return fmt.Errorf("a document of %d MiB ended it", c.large>>20)
	}
	if err != nil && !errors.Is(err, sdk.ErrRejected) {
		return fmt.Errorf("it neither applies nor rejects a document of %d MiB: %w", c.large>>20, err)
	}
	return c.applies(ctx, c.Good[1])
}

func (c *sinkChecker) endsOnStop(ctx context.Context) error {
	if err := c.ensureRunning(ctx); err != nil {
		return err
	}
	ctx, cancel := c.withTimeout(ctx, endTimeout)
	defer cancel()
	err := c.sink.Stop(ctx)
	c.sink = nil
	return err
}

func (c *sinkChecker) endsWithDaemon(ctx context.Context) error {
	if err := c.applies(ctx, c.Good[1]); err != nil {
		return err
	}
	ctx, cancel := c.withTimeout(ctx, endTimeout)
	defer cancel()
	err := c.sink.Detach(ctx)
	c.sink = nil
	if err != nil {
		return fmt.Errorf("it still runs %s after its call Attach has ended: it must end by itself", c.bounded(endTimeout))
	}
	return nil
}

func (c *sinkChecker) appliesAfterKill(ctx context.Context) error {
	if err := c.ensureRunning(ctx); err != nil {
		return err
	}
	pid := c.sink.PID()
	if pid == 0 { // kill(2) would address our own process group
		return errors.New("it ended by itself before it could be killed")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := c.withTimeout(ctx, applyTimeout)
	defer cancel()
	select {
	case <-c.sink.Restarted():
	case <-ctx.Done():
		return errors.New("it did not start again")
	}
	return c.applies(ctx, c.Good[0])
}
