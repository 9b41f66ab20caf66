package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
)

// commandTimeout bounds one run of a reload command.
const commandTimeout = time.Minute

var errCommandTimeout = fmt.Errorf("it took longer than %v; if the command starts HAProxy, the configuration needs "+
	"the word daemon in its global section", commandTimeout)

// A Command controls a HAProxy that is started and reloaded by a command: the user's reload command or, without one, HAProxy's
// program with the options that replace the processes in the pid file. Make one with [NewCommand].
//
// HAProxy is known by its pid file, and by an admin socket if it has one.
type Command struct {
	// ResponseTimeout is how long Load waits for a new process once the command has ended and nothing loads. NewCommand sets it
	// to 10 s.
	ResponseTimeout time.Duration

	cfg           Config
	log           *slog.Logger
	infos         *runtimeapi.Infos
	applied       func() *syntax.Config
	orphans       orphanFinder
	unseen        unseenTracker
	staleVariable atomic.Pointer[string] // the variable because of which HAProxy has to be restarted
	baseFault     logdedup.Fault         // the options of haproxy-api cannot be passed to reload_cmd
}

// NewCommand returns a controller for the HAProxy that cfg describes. It touches neither files nor processes. applied returns
// the configuration that HAProxy should run, or nil if it is unknown. previous returns the processes of the instance
// that an earlier process has recorded, and false if it recorded none.
func NewCommand(cfg Config, log *slog.Logger, infos *runtimeapi.Infos, applied func() *syntax.Config,
	previous func() (pids []int, known bool),
) *Command {
	return &Command{ResponseTimeout: defaultResponseTimeout, cfg: cfg, log: log, infos: infos, applied: applied,
		unseen: unseenTracker{previous: previous}}
}

// Find returns the processes in the pid file that are running HAProxy processes. Where the pid file is lost, the admin socket
// tells which process serves.
func (c *Command) Find(ctx context.Context) (Instance, error) {
	pids, err := readPids(c.cfg.PidFile)
	if err != nil {
		return Instance{}, err
	}
	if len(pids) == 0 {
		pids = c.findOnSocket(ctx)
	}
	pids = slices.DeleteFunc(pids, func(pid int) bool { return !procinfo.Exists(pid) || !c.owns(pid) })
	if len(pids) == 0 {
		pids = c.orphans.find(c.cfg)
	}
	return Instance{Pids: pids, Unseen: c.unseen.observe(len(pids) > 0)}, nil
}

// findOnSocket returns the process that answers on the admin socket, and none if no process does.
func (c *Command) findOnSocket(ctx context.Context) []int {
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	i, err := c.infos.Get(ctx, runtimeapi.Endpoint{Path: c.cfg.AdminSocket})
	if err != nil || i.Pid() == 0 {
		return nil
	}
	return []int{i.Pid()}
}

// owns is less strict with a command of the user's, which may start HAProxy with any options.
func (c *Command) owns(pid int) bool {
	if c.cfg.ReloadCommand == "" {
		return c.cfg.owns(pid)
	}
	return isHAProxy(pid, c.cfg.Binary)
}

// Load runs the command and waits until a process that did not exist before serves.
func (c *Command) Load(ctx context.Context) (LoadResult, error) {
	before, err := c.Find(ctx)
	if err != nil {
		return LoadResult{}, err
	}
	if err := c.preparePidFile(before); err != nil {
		return LoadResult{}, err
	}
	w := newLoadWatch(ctx, before)
	stale := c.findStaleVariable(before)
	if err := c.run(ctx, before.Pids); err != nil {
		return LoadResult{}, err
	}
	now, err := c.waitForLoad(ctx, w)
	if err != nil {
		return LoadResult{}, err
	}
	r := LoadResult{Instance: now, Action: sdk.ActionReload}
	switch {
	case before.None():
		r.Action, r.Reason = sdk.ActionRestart, "HAProxy was not running"
	case !now.Same(before): // it was restarted
		stale = ""
	}
	c.recordStale(stale)
	if stale != "" {
		r.Log = append(r.Log, restartNeeded(stale))
	}
	return r, nil
}

// recordStale records the variable that the master process read in another way than a start would, or that there is none.
func (c *Command) recordStale(variable string) {
	before := c.staleVariable.Swap(&variable)
	switch {
	case before != nil && *before == variable || before == nil && variable == "":
	case variable != "":
		c.log.Warn("HAProxy has to be restarted: its master process keeps the environment", "variable", variable)
	default:
		c.log.Info("HAProxy has the environment that it needs", "variable", *before)
	}
}

func restartNeeded(variable string) string {
	return fmt.Sprintf("HAProxy has to be restarted for the environment variable %s: its master process keeps the previous value",
		variable)
}

// findStaleVariable returns a variable that a reload by the running master would read in another way than a start, and "" if
// there is none.
func (c *Command) findStaleVariable(before Instance) string {
	applied := c.applied()
	content, err := os.ReadFile(c.cfg.ConfigFile)
	if err != nil || applied == nil {
		return ""
	}
	for _, pid := range before.Pids {
		if i, err := invocationOf(pid); err == nil && len(workersOf([]int{pid})) > 0 {
			return staleVariable(i.Env, applied, syntax.Parse(content, nil))
		}
	}
	return ""
}

// preparePidFile makes the pid file name the HAProxy that runs, because reload commands signal the process in it. A process id
// that does not exist here stays: it may be that of an unseen HAProxy.
func (c *Command) preparePidFile(before Instance) error {
	pids, err := readPids(c.cfg.PidFile)
	switch {
	case err != nil:
		return err
	case len(before.Pids) == 0 && slices.ContainsFunc(pids, procinfo.Exists):
		return c.cfg.removePidFile()
	case len(before.Pids) == 0 || slices.ContainsFunc(pids, func(pid int) bool { return slices.Contains(before.Pids, pid) }):
		return nil
	}
	c.log.Warn("the pid file was lost and is written again", "file", c.cfg.PidFile, "pid", JoinPids(before.Pids))
	return replace.Write(c.cfg.PidFile, []byte(JoinPids(before.Pids)+"\n"), replace.Options{New: 0o644, Owner: c.cfg.ConfigFile})
}

// run runs the command, which replaces the processes in old.
func (c *Command) run(ctx context.Context, old []int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout, errCommandTimeout)
	defer cancel()
	errBase := c.cfg.writeBase()
	if c.cfg.ReloadCommand != "" {
		function := ""
		if errBase == nil {
			c.baseFault.Resolve(c.log, "reload_cmd is run with the options of haproxy-api again")
			function = c.shellFunction(ctx, len(old) > 0)
		} else { // the command may have permissions that this process lacks
			c.baseFault.Warn(c.log, "reload_cmd is run without the options of haproxy-api, so connections may be lost", errBase)
		}
		o, err := Shell(ctx, function+c.cfg.ReloadCommand)
		return commandError("reload_cmd", o, err)
	}
	if errBase != nil {
		return errBase
	}
	i, err := c.Invocation(ctx)
	if err != nil {
		return err
	}
	if old, err = c.cfg.withConflicting(old); err != nil {
		return err
	}
	replacing := c.cfg.replacing(old, c.cfg.handsOverSockets(ctx, c.infos, c.log))
	o, err := program.Run(ctx, i.Program, slices.Concat(i.Args, replacing)...)
	return commandError(i.Program, o, err)
}

func commandError(name string, o program.Outcome, err error) error {
	if err != nil {
		return fmt.Errorf("%s did not run to its end: %w", name, err)
	}
	if o.Code != 0 {
		return &LoadError{Message: name + " failed: " + messages.Summary(o), Log: program.Lines(o.Output)}
	}
	return nil
}

// Invocation returns how HAProxy is started or, with a command of the user's, how the running one was started: a master loads
// the files with the options that it has, and so does the next process without a master.
func (c *Command) Invocation(ctx context.Context) (Invocation, error) {
	binary, errBinary := FindBinary(c.cfg.Binary)
	own := Invocation{Program: binary, Args: []string{"-D", "-f", c.cfg.BaseFile, "-f", c.cfg.ConfigFile, "-p", c.cfg.PidFile}}
	if c.cfg.ReloadCommand == "" {
		return own, errBinary
	}
	now, err := c.Find(ctx)
	if err != nil {
		return Invocation{}, err
	}
	for _, pid := range now.Pids {
		i, err := invocationOf(pid)
		switch {
		case err != nil || !c.cfg.owns(pid) || !i.reads(c.cfg.ConfigFile):
		case i.hasMaster() && filepath.IsAbs(i.Program):
			i.Reloads = true
			return i, nil
		default:
			return Invocation{Program: binary, Args: i.Args}, errBinary
		}
	}
	own.Args = []string{"-f", c.cfg.ConfigFile}
	if c.startsMaster() {
		own.Args = append(own.Args, "-W")
	}
	return own, errBinary
}

// startsMaster reports whether the reload command starts HAProxy with a master. A command that does not call HAProxy itself
// may, and then the check must not reject what needs a master.
func (c *Command) startsMaster() bool {
	words := strings.Fields(c.cfg.ReloadCommand)
	calls := false
	for i, word := range words[:max(0, len(words)-1)] { // "systemctl reload haproxy" does not
		calls = calls || filepath.Base(word) == filepath.Base(c.cfg.Binary) && strings.HasPrefix(words[i+1], "-")
	}
	return !calls || slices.Contains(words, "-W") || slices.Contains(words, "-Ws")
}

// Endpoint returns the admin socket of the base file or, if HAProxy does not have that, the one that the configuration asks
// for.
func (c *Command) Endpoint(now Instance) (runtimeapi.Endpoint, error) {
	if now.Unseen {
		return runtimeapi.Endpoint{}, errors.New("no process of HAProxy is visible from here")
	}
	if now.Pid() == 0 {
		return runtimeapi.Endpoint{}, errors.New("HAProxy runs as more than one process")
	}
	paths := []string{c.cfg.AdminSocket}
	if applied := c.applied(); applied != nil {
		paths = append(paths, applied.AdminSocket())
	}
	for _, path := range paths {
		if path != "" && acceptsConnections(path) {
			return runtimeapi.Endpoint{Path: path}, nil
		}
	}
	return runtimeapi.Endpoint{}, errors.New("HAProxy was started without the options of haproxy-api, " +
		"and has no \"stats socket PATH level admin\" in its global section")
}

// ServingPid returns the only process of a HAProxy without a master: a master does not name its workers here.
func (c *Command) ServingPid(now Instance) int {
	if len(now.Pids) != 1 || len(workersOf(now.Pids)) > 0 {
		return 0
	}
	return now.Pids[0]
}

// SharesNetwork is false for a HAProxy that a command of the user's has started in a container or on another host.
func (c *Command) SharesNetwork(now Instance) bool {
	return c.cfg.ReloadCommand == "" || procinfo.ShareNetwork(now.Pid(), os.Getpid())
}

// Log returns nothing: the error of Load has the output of the command.
func (c *Command) Log() []string { return nil }

// Health checks the processes.
func (c *Command) Health(ctx context.Context) sdk.Health {
	now, err := c.Find(ctx)
	h := sdk.Health{Facts: now.Facts()}
	switch {
	case err != nil:
		h.Problems = append(h.Problems, err.Error())
	case now.None():
		h.Problems = append(h.Problems, notRunning)
	case now.Unseen:
		h.Facts["reload"] = "cannot be verified: " + c.cfg.PidFile + " names no HAProxy that is visible from here"
	case slices.ContainsFunc(now.Pids, procinfo.IsStopped):
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy's process %s is stopped", JoinPids(now.Pids)))
	}
	h.Facts[FactUp] = "1"
	if len(h.Problems) > 0 {
		h.Facts[FactUp] = "0"
	}
	if stale := c.staleVariable.Load(); stale != nil && *stale != "" {
		h.Facts["restart_needed"] = restartNeeded(*stale)
	}
	return h
}

var (
	_ Controller = (*Managed)(nil)
	_ Controller = (*Command)(nil)
)
