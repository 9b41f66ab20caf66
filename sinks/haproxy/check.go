package haproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
	"github.com/haproxy-api/haproxy-api/sinks/internal/report"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// checkLimit bounds one check. HAProxy takes about 0.1 s for 15,000 lines. A check that takes more than a minute waits for a name
// server or a file system that does not answer, which may be temporary.
const checkLimit = time.Minute

// Exit codes of bash for a command that it could not run.
const (
	bashNotExecutable = 126
	bashNotFound      = 127
)

// Check returns nil if HAProxy accepts doc. It works on private copies and changes nothing that is live.
//
// A verify command that does not mention the configuration file can only check what is live, so Check does not run it.
func (s *Sink) Check(ctx context.Context, doc sdk.Document) error {
	files, err := s.paths.place(doc)
	if err != nil {
		return err
	}
	staged, err := stage.NewCheck(s.paths.ConfigFile, files)
	if err != nil {
		return err
	}
	defer staged.Discard()
	_, err = s.checkStaged(ctx, staged, syntax.Parse(files[0].Content, nil).Hostnames(), true)
	return err
}

// checkBeforeRuntime checks doc before servers are changed at run time, if that is needed: verify_cmd may reject more than
// HAProxy does, and after a runtime change was reverted the check may reject the next one too. What HAProxy has to load is
// checked later, before it is put in place.
func (s *Sink) checkBeforeRuntime(ctx context.Context, doc *document) error {
	if !s.cfg.Runtime || s.cfg.VerifyCmd == "" && !s.state.Load().checkFirst {
		return nil
	}
	if p, _ := s.plan(ctx, doc); p.need != needRuntime {
		return nil
	}
	staged, _, err := s.stageAndCheck(ctx, doc, false)
	if err != nil {
		return err
	}
	staged.Discard()
	s.lockedUpdate(func(st *state) { st.checkFirst = false })
	return nil
}

// stageAndCheck stages doc and checks it, and returns the warnings. willLoad says that HAProxy is going to load it, for which it
// needs the addresses of host names. The caller discards the stage, which is nil if there is an error.
func (s *Sink) stageAndCheck(ctx context.Context, doc *document, willLoad bool) (*stage.Stage, []string, error) {
	if willLoad && !s.cfg.byCommand() {
		if err := s.paths.CheckDirectory(); err != nil {
			return nil, nil, err
		}
	}
	staged, err := stage.New(s.paths.ConfigFile, doc.files, 0)
	if err != nil {
		return nil, nil, err
	}
	warnings, err := s.checkStaged(ctx, staged, doc.hostnames(), willLoad)
	if ctx.Err() != nil {
		err = interrupted(context.Cause(ctx))
	}
	if err != nil {
		staged.Discard()
		return nil, nil, err
	}
	return staged, warnings, nil
}

// checkStaged checks staged files before they are live, and returns the warnings. A verify command that does not mention the
// configuration file cannot do that; see verifyInPlace.
//
// HAProxy looks up only the names that it needs and that have an address. willLoad is as for stageAndCheck. Names without an
// address are an error only if nothing else in the files is wrong.
func (s *Sink) checkStaged(ctx context.Context, staged *stage.Stage, names []syntax.Hostname, willLoad bool) ([]string, error) {
	names = s.asInvoked(ctx, names)
	var unresolved error
	if willLoad {
		unresolved = s.requireHostnames(ctx, staged.Files()[0], names)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, checkLimit, errCheckLimit)
	defer cancel()
	if replaced := slices.DeleteFunc(slices.Clone(names), func(name syntax.Hostname) bool {
		return willLoad && name.Required && unresolved == nil
	}); len(replaced) > 0 {
		without, err := s.stageWithoutHostnames(staged.Files(), replaced)
		if err != nil {
			return nil, err
		}
		defer without.Discard()
		staged = without
	}
	warnings, err := s.runCheck(ctx, staged, names)
	return warnings, cmp.Or(err, unresolved)
}

// runCheck checks the staged files with HAProxy or verify_cmd.
func (s *Sink) runCheck(ctx context.Context, st *stage.Stage, names []syntax.Hostname) ([]string, error) {
	defer report.Step(ctx, "check")()
	if s.cfg.VerifyCmd != "" {
		command, mentions := s.verifyCommand(st.Checked())
		if !mentions {
			return nil, nil
		}
		o, err := process.Shell(ctx, command)
		return nil, s.verifyResult(st, o, err)
	}
	o, err := s.checkWithHAProxy(ctx, st, st.Checked())
	if err != nil {
		return nil, err
	}
	if o.Code != 0 && isUnresolved(o.Output, names) {
		places := messages.Places(st.Files(), messages.Alerts(o.Output))
		return nil, sdk.RetryAfter(&sdk.Rejection{
			Err: errors.New("HAProxy rejects the configuration for now"), Positions: places, Temporary: true,
		}, resolveAgain)
	}
	if o.Code != 0 {
		return nil, s.withAllFaults(ctx, st, o, messages.Rejection("HAProxy rejects the configuration", st.Files(), o))
	}
	return messages.Warnings(o.Output), nil
}

// checkWithHAProxy makes HAProxy read the staged files as it will load them: with the same options, files, working directory and
// environment. It reads the files main instead of the main file.
func (s *Sink) checkWithHAProxy(ctx context.Context, st *stage.Stage, main ...string) (program.Outcome, error) {
	l, err := s.controller.Invocation(ctx)
	if err != nil {
		return program.Outcome{}, err
	}
	content := st.Files()[0].Content
	if l.Reloads && syntax.Parse(content, nil).ResetsEnvironment() {
		return program.Outcome{}, sdk.Rejectf("resetenv makes HAProxy's master process lose its workers when it reloads, " +
			"so HAProxy has to be started without a master, or the line removed")
	}
	base, remove, err := s.paths.StageBase()
	if err != nil {
		return program.Outcome{}, err
	}
	defer remove()
	command := l.CheckCommand(ctx, map[string]string{s.paths.ConfigFile: st.Checked(), s.paths.BaseFile: base}, content)
	command.Args = withFiles(command.Args, st.Checked(), main)
	command.Keep = maxCheckOutput
	o, err := command.Run(ctx)
	o.Output = stage.ReplacePath(st.Original(o.Output), base, s.paths.BaseFile)
	if err != nil {
		return o, fmt.Errorf("the configuration could not be checked with %s: %w", l.Program, replace.Cause(err))
	}
	return o, nil
}

// maxCheckOutput bounds what is read of the output of a check, in bytes: some hundred for each of ten thousand faults.
const maxCheckOutput = 16 << 20

// withFiles returns the options with those files instead of one.
func withFiles(args []string, file string, files []string) []string {
	var all []string
	for i, arg := range args {
		if arg != file || i == 0 || args[i-1] != "-f" {
			all = append(all, arg)
			continue
		}
		for n, path := range files {
			if n > 0 {
				all = append(all, "-f")
			}
			all = append(all, path)
		}
	}
	return all
}

var errCheckLimit = fmt.Errorf("it took longer than %v", checkLimit)

// verifyResult returns the error of a run of the verify command.
func (s *Sink) verifyResult(st *stage.Stage, o program.Outcome, err error) error {
	o.Output = st.Original(o.Output)
	switch {
	case err != nil:
		return fmt.Errorf("verify_cmd could not be run: %w", err)
	case o.Code == bashNotFound || o.Code == bashNotExecutable:
		return fmt.Errorf("verify_cmd could not be run: %s", messages.Summary(o))
	case o.Code != 0:
		return messages.Rejection("verify_cmd rejects the configuration", st.Files(), o)
	default:
		return nil
	}
}

// verifiesInPlace reports whether the verify command can only be run when the files are in place.
func (s *Sink) verifiesInPlace() bool {
	_, mentions := s.verifyCommand("")
	return s.cfg.VerifyCmd != "" && !mentions
}

// verifyInPlace runs a verify command that does not mention the configuration file. The files are in place.
func (s *Sink) verifyInPlace(ctx context.Context, st *stage.Stage) error {
	defer report.Step(ctx, "check")()
	ctx, cancel := context.WithTimeoutCause(ctx, checkLimit, errCheckLimit)
	defer cancel()
	o, err := process.Shell(ctx, s.cfg.VerifyCmd)
	return s.verifyResult(st, o, err)
}

// verifyCommand returns the verify command with path instead of the configuration file, and whether the command mentions that
// file.
func (s *Sink) verifyCommand(path string) (command string, mentions bool) {
	command = s.cfg.VerifyCmd
	for _, known := range []string{s.paths.ConfigFile, s.cfg.ConfigFile} {
		if replaced := stage.ReplacePath(command, known, path); replaced != command {
			return replaced, true
		}
	}
	return command, false
}

var _ sdk.Checker = (*Sink)(nil)
