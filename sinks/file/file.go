// Package file is a sink that writes documents as files of any program. It runs a command that checks the files, and one that
// reloads the program. It knows nothing of the program but the exit codes of these commands.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/lock"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
	"github.com/haproxy-api/haproxy-api/sinks/internal/report"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// placeholder stands for the path of the main file in the arguments of a command.
const placeholder = "{}"

// A Config is the sink's block of the configuration. The comments of its fields are in docs/configuration.md.
type Config struct {
	// The file to which the document is written. Companion files are written to its directory. It is required.
	Path string `json:"path"`

	// The mode of the files in octal, such as `"0640"`. Empty keeps the mode that they have, and gives new files 0644.
	Mode string `json:"mode"`

	// A program that checks the document, with its arguments; `{}` stands for the file to check. The document is accepted if the
	// program exits with 0. Empty accepts every document.
	CheckCmd []string `json:"check_cmd"`

	// A program that is run after the files were written, with its arguments; `{}` stands for the file. Empty runs none.
	ReloadCmd []string `json:"reload_cmd"`

	// The longest time that a command may take.
	Timeout time.Duration `json:"timeout"`
}

// Defaults returns the default configuration. Path has no default.
func Defaults() Config {
	return Config{Timeout: 30 * time.Second}
}

// Validate returns all faults of c, each with its key.
func (c Config) Validate() error {
	var faults []error
	if c.Path == "" {
		faults = append(faults, errors.New("path is missing: set it to the file to write"))
	}
	if _, err := c.mode(); err != nil {
		faults = append(faults, err)
	}
	if c.Timeout <= 0 {
		faults = append(faults, fmt.Errorf("timeout must be positive and is %v", c.Timeout))
	}
	for _, cmd := range []struct {
		key  string
		args []string
	}{{"check_cmd", c.CheckCmd}, {"reload_cmd", c.ReloadCmd}} {
		if len(cmd.args) > 0 && cmd.args[0] == "" {
			faults = append(faults, fmt.Errorf("%s begins with an empty word: the first word is the program", cmd.key))
		}
	}
	if len(c.CheckCmd) > 0 && !slices.ContainsFunc(c.CheckCmd, hasPlaceholder) {
		faults = append(faults, fmt.Errorf("check_cmd does not contain %s, which stands for the file to check", placeholder))
	}
	return errors.Join(faults...)
}

func hasPlaceholder(arg string) bool { return strings.Contains(arg, placeholder) }

func (c Config) mode() (fs.FileMode, error) {
	if c.Mode == "" {
		return 0, nil
	}
	mode, err := strconv.ParseUint(c.Mode, 8, 32)
	if err != nil || mode == 0 || mode > 0o777 {
		return 0, fmt.Errorf("mode must be an octal number such as %[2]q and is %[1]q", c.Mode, "0644")
	}
	return fs.FileMode(mode), nil
}

// A Sink writes the files of one program. Its methods may be called from any goroutine.
type Sink struct {
	cfg      Config
	mode     fs.FileMode
	log      *slog.Logger
	fileLock lock.Lock

	stopOnce sync.Once
	stopped  chan struct{} // closed by Stop and Close

	begin   sync.Once
	written stage.Written // companions that may be on disk; for Apply and Reread alone
	watched string        // the watched files that the program has loaded, see [sdk.Watched]; for Apply and Reread alone

	recordFault, removeFault logdedup.Fault

	mu   sync.Mutex
	last error // what the last reload ended with
	ran  time.Time
}

// New returns a sink for the files at cfg.Path. It does not access them yet.
func New(env sdk.Env, cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	mode, err := cfg.mode()
	if err != nil {
		return nil, err
	}
	cfg.Path, err = filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("path %s: %w", cfg.Path, err)
	}
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Sink{cfg: cfg, mode: mode, log: log, stopped: make(chan struct{})}, nil
}

// Claim locks the files. It returns an error if another sink manages them.
func (s *Sink) Claim(ctx context.Context) error {
	return s.fileLock.Acquire(ctx, lock.Owner{Daemon: os.Getpid(), Log: s.log}, lock.File{Path: s.cfg.Path, Key: "path"})
}

// Stop implements [sdk.Stopper]. It does what Close does.
func (s *Sink) Stop(context.Context) error { return s.Close() }

// Close kills a running command and unlocks the files.
func (s *Sink) Close() error {
	s.stopOnce.Do(func() { close(s.stopped) })
	s.fileLock.Release()
	return nil
}

// Apply writes the files and runs the reload command, if there is one. If the command fails, Apply restores the previous files
// and does not run the command again: it assumes that the program kept its configuration.
func (s *Sink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	ctx, done := report.With(ctx)
	if err := s.fileLock.Ensure(); err != nil {
		return sdk.Result{}, err
	}
	s.begin.Do(s.loadRecord)
	result, err := s.apply(ctx, doc)
	return done.Result(result), err
}

func (s *Sink) apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	files, err := s.place(doc)
	if err != nil {
		return sdk.Result{}, err
	}
	reason := s.difference(files)
	if reason == "" {
		s.removeObsolete(files)
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: "the files did not change"}, nil
	}
	st, err := stage.New(s.cfg.Path, files, s.mode)
	if err != nil {
		return sdk.Result{}, err
	}
	defer st.Discard()
	if err := s.check(ctx, st); err != nil {
		return sdk.Result{}, err
	}
	if ctx.Err() != nil {
		return sdk.Result{}, fmt.Errorf("the change was cancelled before it had an effect: %w", context.Cause(ctx))
	}
	if err := s.commit(ctx, st); err != nil {
		return sdk.Result{}, err
	}
	// The files are in place from here on, and are restored if the reload fails.
	if len(s.cfg.ReloadCmd) == 0 {
		s.recordApplied(files, doc.Watched)
		return sdk.Result{Action: sdk.ActionWritten, Reason: reason}, nil
	}
	output, err := s.reload(ctx)
	if err != nil {
		return sdk.Result{Details: output}, errors.Join(err, st.Restore())
	}
	s.recordApplied(files, doc.Watched)
	return sdk.Result{Action: sdk.ActionReload, Reason: reason, Details: output}, nil
}

// commit renames the staged files into place. Until the program has loaded them, what it has loaded is unknown, so the previous
// record is no longer valid.
func (s *Sink) commit(ctx context.Context, st *stage.Stage) error {
	defer report.Step(ctx, "write")()
	if err := s.recordWriting(st.Files()); err != nil {
		return err
	}
	return st.Commit()
}

// Reread runs the reload command, if there is one and a watched file has changed. The sink knows no other files that the program
// reads.
func (s *Sink) Reread(ctx context.Context, watched sdk.Watched) (sdk.Result, error) {
	ctx, done := report.With(ctx)
	if err := s.fileLock.Ensure(); err != nil {
		return sdk.Result{}, err
	}
	s.begin.Do(s.loadRecord)
	result, err := s.reread(ctx, watched)
	return done.Result(result), err
}

func (s *Sink) reread(ctx context.Context, watched sdk.Watched) (sdk.Result, error) {
	result := sdk.Result{Action: sdk.ActionUnchanged, Reason: "no watched file changed"}
	r := s.readRecord()
	if len(r.Files) == 0 || len(s.cfg.ReloadCmd) == 0 || watched.ID == "" {
		return result, nil // without a record, the next document reloads the program
	}
	if watched.ChangedSince(r.Watched) {
		result = sdk.Result{Action: sdk.ActionReload, Reason: "watched files changed: " + strings.Join(watched.Changed, ", ")}
		var err error
		if result.Details, err = s.reload(ctx); err != nil {
			return sdk.Result{Details: result.Details}, err
		}
	}
	if watched.ID != r.Watched {
		r.Watched, s.watched = watched.ID, watched.ID
		s.save(r)
	}
	return result, nil
}

// Check runs the check command on private copies of the files. It returns [errors.ErrUnsupported] for usable files if there
// is none.
func (s *Sink) Check(ctx context.Context, doc sdk.Document) error {
	files, err := s.place(doc)
	if err != nil {
		return err
	}
	st, err := stage.NewCheck(s.cfg.Path, files)
	if err != nil {
		return err
	}
	defer st.Discard()
	if len(s.cfg.CheckCmd) == 0 {
		return fmt.Errorf("no check_cmd is configured: %w", errors.ErrUnsupported)
	}
	return s.check(ctx, st)
}

func (s *Sink) place(doc sdk.Document) ([]stage.File, error) {
	return stage.Place(s.cfg.Path, doc, s.recordPath())
}

func (s *Sink) check(ctx context.Context, st *stage.Stage) error {
	if len(s.cfg.CheckCmd) == 0 {
		return nil
	}
	defer report.Step(ctx, "check")()
	o, err := s.run(ctx, s.cfg.CheckCmd, st.Checked())
	o.Output = st.Original(o.Output)
	if err != nil {
		return fmt.Errorf("running check_cmd: %w", err)
	}
	if o.Code != 0 {
		return sdk.Rejectf("%s rejects the file: %s", s.cfg.CheckCmd[0], lastLines(o))
	}
	return nil
}

// reload runs the reload command to its end even if ctx is cancelled, since a partial reload may leave the program in an unknown
// state. Only Stop and Close kill it.
func (s *Sink) reload(ctx context.Context) ([]string, error) {
	defer report.Step(ctx, "reload")()
	o, err := s.run(context.WithoutCancel(ctx), s.cfg.ReloadCmd, s.cfg.Path)
	switch {
	case err != nil:
		err = fmt.Errorf("running reload_cmd: %w", err)
	case o.Code != 0:
		err = fmt.Errorf("reload_cmd failed with exit code %d: %s", o.Code, lastLines(o))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.ran = err, time.Now()
	return program.Lines(o.Output), err
}

func (s *Sink) run(ctx context.Context, command []string, path string) (program.Outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, fmt.Errorf("timed out after %v", s.cfg.Timeout))
	defer cancel()
	ctx, release := s.untilStopped(ctx)
	defer release()
	args := make([]string, len(command))
	for i, arg := range command {
		args[i] = strings.ReplaceAll(arg, placeholder, path)
	}
	return program.Run(ctx, args[0], args[1:]...)
}

var errStopped = errors.New("the sink is stopping")

// untilStopped returns a context that Stop and Close cancel too.
func (s *Sink) untilStopped(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-s.stopped:
			cancel(errStopped)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// shownLines is how many lines of a program's output an error quotes.
const shownLines = 6

func lastLines(o program.Outcome) string {
	lines := program.Lines(o.Output)
	if len(lines) == 0 {
		return "no output"
	}
	return strings.Join(lines[max(0, len(lines)-shownLines):], "; ")
}

// Health reports a missing file and a failed reload.
func (s *Sink) Health(context.Context) (sdk.Health, error) {
	s.mu.Lock()
	last, ran := s.last, s.ran
	s.mu.Unlock()
	h := sdk.Health{Facts: map[string]string{"path": s.cfg.Path}}
	if problem := s.fileProblem(); problem != "" {
		h.Problems = append(h.Problems, problem)
	}
	if last != nil {
		h.Problems = append(h.Problems, last.Error())
	}
	if !ran.IsZero() {
		h.Facts["last_reload"] = ran.UTC().Format(time.RFC3339)
	}
	return h, nil
}

var (
	_ sdk.Sink     = (*Sink)(nil)
	_ sdk.Checker  = (*Sink)(nil)
	_ sdk.Rereader = (*Sink)(nil)
	_ sdk.Claimer  = (*Sink)(nil)
	_ sdk.Stopper  = (*Sink)(nil)
	_ io.Closer    = (*Sink)(nil)
)
