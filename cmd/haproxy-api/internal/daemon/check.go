package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/internal/filewatch"
	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

// A Checker checks a configuration without running it and without changing anything. It must be closed.
type Checker struct {
	cfg        *config.Config
	progress   func(what string)
	note       func(sentence string)
	components components
	// withoutProgram are the sinks that cannot check documents because HAProxy is missing, which is a fault.
	withoutProgram []string
	accessErr      error
}

// NewChecker returns a checker of cfg. It calls progress with what it begins, and note with observations that are no faults.
func NewChecker(cfg *config.Config, progress, note func(string)) *Checker {
	return &Checker{cfg: cfg, progress: progress, note: note}
}

// Close closes the components that the checker opened.
func (c *Checker) Close() { c.components.close() }

// CheckComponents opens all sources and sinks, and returns every fault of them and of what they need from the system.
func (c *Checker) CheckComponents(ctx context.Context) []error {
	c.progress("checking the configuration")
	var faults []error
	log := slog.New(slog.DiscardHandler)
	if _, c.accessErr = newAccessPolicy(c.cfg.API, log); c.accessErr != nil {
		faults = append(faults, c.accessErr)
	}
	if err := c.checkAddress(ctx); err != nil {
		faults = append(faults, err)
	}
	faults = append(faults, c.checkEnvironment()...)
	builder := builder{cfg: c.cfg, log: log} // without stateDir, so that no component writes to the directory
	var err error
	if c.components.sources, err = builder.openSources(ctx, nil); err != nil {
		faults = append(faults, err)
	}
	if c.components.sinks, err = builder.openSinks(ctx, nil); err != nil {
		faults = append(faults, err)
	}
	if _, ok := errors.AsType[*host.StartError](errors.Join(faults...)); ok {
		c.note("the daemon starts although a plugin cannot start now, and retries until the plugin has started")
	}
	return append(faults, checkSharedFiles(c.cfg)...)
}

// Warnings returns what the daemon would warn of when it starts. CheckComponents must have been called.
func (c *Checker) Warnings() []string {
	all := append([]string{}, c.cfg.Warnings...)
	logged := &warnings{}
	front := FrontSource(c.cfg)
	if c.cfg.Sources[front].Type == typeSidecarPush {
		warnOpenPush(c.cfg.API, &net.TCPAddr{IP: net.ParseIP(c.cfg.API.BindIP)}, slog.New(logged))
	}
	warnOtherReceivers(c.components.sources, front, slog.New(logged))
	all = append(all, logged.all...)
	if warning := certificateWarning(c.cfg.API.TLSCert, time.Now()); warning != "" {
		all = append(all, warning)
	}
	return all
}

// warnings is a [slog.Handler] that collects the messages that it gets, with their attributes.
type warnings struct{ all []string }

func (w *warnings) Enabled(context.Context, slog.Level) bool { return true }
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *warnings) WithGroup(string) slog.Handler            { return w }

func (w *warnings) Handle(_ context.Context, record slog.Record) error {
	text := record.Message
	record.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%s", a.Key, a.Value)
		return true
	})
	w.all = append(w.all, text)
	return nil
}

// listening returns a function that returns an error for the addresses of a document that HAProxy could not listen on now, or nil
// for a sink of another type.
func (c *Checker) listening(sink string) func(context.Context, sdk.Document) error {
	var check func(context.Context, sdk.Document) error
	forEachHAProxySink(c.cfg, func(name string, cfg haproxy.Config) {
		if name == sink {
			check = func(ctx context.Context, doc sdk.Document) error { return haproxy.CheckListening(ctx, cfg, doc) }
		}
	})
	return check
}

// CheckPipelines loads the templates of each pipeline, renders each state with them, and has the sink check the result if it can.
// It returns all faults, and the names of the pipelines whose sinks cannot check documents. CheckComponents must have been
// called.
func (c *Checker) CheckPipelines(ctx context.Context, all []states.State) (faults []error, unchecked []string) {
	unchecked = []string{}
	for _, name := range sortedKeys(c.cfg.Pipelines) {
		p := c.cfg.Pipelines[name]
		check := pipelineCheck{name: name, pipeline: p, sink: c.components.sinks[p.Sink], listens: c.listening(p.Sink),
			progress: c.progress, note: c.note}
		if slices.Contains(c.withoutProgram, p.Sink) {
			check.sink = nil
		}
		check.noteWatchedFiles(sinkFiles(c.cfg, p))
		faults = append(faults, check.run(ctx, all)...)
		if check.unchecked {
			unchecked = append(unchecked, name)
		}
	}
	return faults, unchecked
}

// A pipelineCheck checks one pipeline.
type pipelineCheck struct {
	name     string
	pipeline config.Pipeline
	sink     sdk.Sink                                  // nil if it could not be opened or has no program
	listens  func(context.Context, sdk.Document) error // returns the addresses of a document that are in use; may be nil
	progress func(what string)
	note     func(sentence string)

	unchecked bool // the sink cannot check documents
}

// run loads the templates and renders each state. It returns the faults of all states, each with the name of its state.
func (c *pipelineCheck) run(ctx context.Context, all []states.State) []error {
	template, err := newTemplates(c.pipeline).Load()
	if err != nil {
		return []error{fmt.Errorf("pipeline %s: %w", c.name, withReader(err))}
	}
	var faults []error
	varied := false
	for i, state := range all {
		c.progress(fmt.Sprintf("checking pipeline %s with state %d of %d", c.name, i+1, len(all)))
		if ctx.Err() != nil {
			return append(faults, ctx.Err())
		}
		if err := state.CheckSource(c.pipeline); err != nil {
			c.note(fmt.Sprintf("pipeline %s is not checked with this state: %v", c.name, err))
			continue
		}
		snap := state.As(c.pipeline.Source)
		if err := c.checkSnapshot(ctx, template, snap); err != nil {
			faults = append(faults, fmt.Errorf("%s: pipeline %s: %w", state.Name, c.name, err))
			continue
		}
		if !varied { // one state is usually enough to detect it
			varied = true
			c.noteNondeterminism(ctx, template, snap)
		}
	}
	return faults
}

// checkSnapshot renders snap and has the sink check the document.
func (c *pipelineCheck) checkSnapshot(ctx context.Context, template engine.Template, snap sdk.Snapshot) error {
	files, _, err := template.Render(ctx, snap)
	if err != nil {
		return err
	}
	if c.sink == nil {
		return nil // CheckComponents has reported why
	}
	doc := sdk.Document{Pipeline: c.name, Digest: sdk.DigestOf(files), Files: files}
	checker, ok := c.sink.(sdk.Checker)
	if ok {
		err = checker.Check(ctx, doc)
	}
	if !ok || errors.Is(err, errors.ErrUnsupported) {
		c.unchecked = true
		return nil
	}
	if err == nil {
		c.noteListening(ctx, doc)
	}
	err = exclude.Explain(ctx, template, snap, files, err)
	if errors.Is(err, sdk.ErrRejected) {
		return fmt.Errorf("the sink rejects what was rendered: %w", err)
	}
	return err
}

// noteListening notes the addresses of the document that HAProxy could not listen on now. They are no faults, because a state may
// have been recorded on another machine or at another time.
func (c *pipelineCheck) noteListening(ctx context.Context, doc sdk.Document) {
	if c.listens == nil {
		return
	}
	if rejection, ok := errors.AsType[*sdk.Rejection](c.listens(ctx, doc)); ok {
		for _, at := range rejection.Positions {
			c.note(fmt.Sprintf("pipeline %s: line %d: %s", c.name, at.Line, at.Problem))
		}
	}
}

// noteNondeterminism notes the lines that the template renders differently each time.
func (c *pipelineCheck) noteNondeterminism(ctx context.Context, template engine.Template, snap sdk.Snapshot) {
	reporter, ok := template.(engine.NondeterminismReporter)
	if !ok {
		return
	}
	lines, _ := reporter.NondeterministicLines(ctx, snap) // rendering snap has succeeded before
	for _, line := range lines {
		c.note(fmt.Sprintf("pipeline %s: %s", c.name, line))
	}
}

// noteWatchedFiles notes watch patterns that match no file, files that are not watched because the sink writes them, and patterns
// that match too many files.
func (c *pipelineCheck) noteWatchedFiles(written []string) {
	matched := 0
	for _, pattern := range c.pipeline.Watch {
		found := filewatch.Match(pattern)
		matched += len(found)
		if len(found) == 0 {
			c.note(fmt.Sprintf("pipeline %s: watch pattern %s matches no file yet", c.name, pattern))
		}
		for _, path := range found {
			if containsPath(written, path) {
				c.note(fmt.Sprintf("pipeline %s: %s is not watched, because the sink writes it", c.name, path))
			}
		}
	}
	if matched > filewatch.MaxWatched {
		c.note(fmt.Sprintf("pipeline %s: watch matches %d files, and no more than %d are watched", c.name, matched,
			filewatch.MaxWatched))
	}
}
