package haproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
)

// commandLimit bounds one run of a reload command.
const commandLimit = time.Minute

var errCommandLimit = fmt.Errorf("it took longer than %v; if the command starts HAProxy, the configuration needs "+
	"the word daemon in its global section", commandLimit)

// commanded is a HAProxy that a command starts and reloads: the user's own, or the program with the pid file's
// processes to replace. It is known by its pid file, and by an admin socket where there is one.
type commanded struct {
	cfg     Config
	paths   paths
	log     *slog.Logger
	socket  func() string    // the path of the admin socket that the document in effect has; "" for none
	applied func() *document // the document that is to be in effect; nil for none

	strays strays
	infos  *runtimeapi.Infos
	remote remote
	stale  atomic.Pointer[string] // the variable because of which HAProxy has to be restarted

	patience time.Duration // the constant, or less in a test
}

// find trusts the pid file only as far as it names a living HAProxy. Where it is lost, our own socket knows who serves.
func (c *commanded) find(ctx context.Context) (running, error) {
	pids, err := readPids(c.paths.pid)
	if err != nil {
		return running{}, err
	}
	if len(pids) == 0 {
		if pid := c.onSocket(ctx); pid != 0 {
			pids = []int{pid}
		}
	}
	pids = slices.DeleteFunc(pids, func(pid int) bool { return !procinfo.Exists(pid) || !c.isOurs(pid) })
	if len(pids) == 0 {
		pids = c.strays.find(c.paths, c.cfg.Binary)
	}
	return running{pids: pids, unseen: c.remote.seen(len(pids) > 0, c.paths.state)}, nil
}

// onSocket returns the process that answers on our admin socket, and 0 if none does.
func (c *commanded) onSocket(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	i, err := c.infos.Get(ctx, runtimeapi.Endpoint{Path: c.paths.admin})
	if err != nil {
		return 0
	}
	return i.Pid()
}

// isOurs is less strict with a command of the user's, which may start HAProxy with any options.
func (c *commanded) isOurs(pid int) bool {
	if c.cfg.ReloadCmd == "" {
		return c.paths.started(pid, c.cfg.Binary)
	}
	return isHAProxy(pid, c.cfg.Binary)
}

func (c *commanded) renew(ctx context.Context) (renewal, error) {
	before, err := c.find(ctx)
	if err != nil {
		return renewal{}, err
	}
	if err := c.preparePidFile(before); err != nil {
		return renewal{}, err
	}
	w := c.witness(ctx, before)
	stale := c.staleVariable(before)
	if err := c.command(ctx, before.pids); err != nil {
		return renewal{}, err
	}
	now, err := c.replaced(ctx, w)
	if err != nil {
		return renewal{}, err
	}
	r := renewal{now: now, action: sdk.ActionReload}
	switch {
	case before.none():
		r.action, r.why = sdk.ActionRestart, "HAProxy was not running"
	case !now.same(before): // it was started anew
		stale = ""
	}
	if c.stale.Store(&stale); stale != "" {
		c.log.Warn("HAProxy has to be restarted: its master process keeps the environment", "variable", stale)
		r.log = append(r.log, restartFor(stale))
	}
	return r, nil
}

func restartFor(variable string) string {
	return fmt.Sprintf(
		"HAProxy has to be restarted for the environment variable %s: its master process keeps the value that it has", variable)
}

// staleVariable returns the variable that a reload by the running master would read in another way than a start.
func (c *commanded) staleVariable(before running) string {
	applied := c.applied()
	content, err := os.ReadFile(c.paths.config)
	if err != nil || applied == nil {
		return ""
	}
	for _, pid := range before.pids {
		if l, err := invocationOf(pid); err == nil && len(workersOf([]int{pid})) > 0 {
			return staleVariable(l.env, applied.config, syntax.Parse(content, nil))
		}
	}
	return ""
}

// preparePidFile sees to it that the pid file names the HAProxy that runs, because reload commands signal whatever it names.
// An id that no process here has is left alone: it may be that of a HAProxy that cannot be seen from here.
func (c *commanded) preparePidFile(before running) error {
	if len(before.pids) > 0 {
		return c.restorePidFile(before)
	}
	pids, err := readPids(c.paths.pid)
	if err != nil || !slices.ContainsFunc(pids, procinfo.Exists) {
		return err
	}
	return c.paths.removePidFile()
}

// restorePidFile writes a pid file that was lost, or names only processes that have ended, because reload commands tell the
// process in it to go.
func (c *commanded) restorePidFile(now running) error {
	pids, err := readPids(c.paths.pid)
	if err != nil || slices.ContainsFunc(pids, func(pid int) bool { return slices.Contains(now.pids, pid) }) {
		return err
	}
	c.log.Warn("the pid file was lost and is written again", "pid_file", c.paths.pid, "pid", joinPids(now.pids))
	return replace.Write(c.paths.pid, []byte(joinPids(now.pids)+"\n"), replace.Options{New: 0o644, Owner: c.paths.config})
}

// command starts HAProxy, in the place of old if there is any.
func (c *commanded) command(ctx context.Context, old []int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, errCommandLimit)
	defer cancel()
	base := c.paths.writeBase(c.cfg)
	if c.cfg.ReloadCmd != "" {
		prelude := c.prelude(ctx, len(old) > 0)
		if base != nil { // the command may have rights that we have not
			c.log.Warn("reload_cmd is run without our options, so that connections may be lost", "error", base)
			prelude = ""
		}
		o, err := shell(ctx, prelude+c.cfg.ReloadCmd)
		return judgeReload("reload_cmd", o, err)
	}
	if base != nil {
		return base
	}
	return c.native(ctx, old)
}

func (c *commanded) native(ctx context.Context, old []int) error {
	l, err := c.invocation(ctx)
	if err != nil {
		return err
	}
	if old, err = c.paths.makeWay(old, c.cfg.Binary); err != nil {
		return err
	}
	o, err := program.Run(ctx, l.program, slices.Concat(l.args, c.paths.replacing(old, c.handsOver(ctx)))...)
	return judgeReload(l.program, o, err)
}

// invocation is how we start HAProxy or, with a command of the user's, how the running one was started: a master loads the files
// as it did before, and the next process without one will have the same options.
func (c *commanded) invocation(ctx context.Context) (invocation, error) {
	binary, err := findBinary(c.cfg.Binary)
	own := invocation{program: binary, args: []string{"-D", "-f", c.paths.base, "-f", c.paths.config, "-p", c.paths.pid}}
	if c.cfg.ReloadCmd == "" {
		return own, err
	}
	now, errFind := c.find(ctx)
	if errFind != nil {
		return invocation{}, errFind
	}
	for _, pid := range now.pids {
		l, errInvocation := invocationOf(pid)
		switch {
		case errInvocation != nil || !c.paths.started(pid, c.cfg.Binary) || !l.reads(c.paths.config):
		case l.master() && filepath.IsAbs(l.program):
			l.reloads = true
			return l, nil
		default:
			return invocation{program: binary, args: l.args}, err
		}
	}
	own.args = []string{"-f", c.paths.config}
	if c.startsMaster() {
		own.args = append(own.args, "-W")
	}
	return own, err
}

// startsMaster reports whether the reload command starts HAProxy with a master. A command that does not call HAProxy itself
// may, and then only HAProxy can say what it refuses without one.
func (c *commanded) startsMaster() bool {
	words := strings.Fields(c.cfg.ReloadCmd)
	calls := false
	for i, word := range words[:max(0, len(words)-1)] { // "systemctl reload haproxy" does not
		calls = calls || filepath.Base(word) == filepath.Base(c.cfg.Binary) && strings.HasPrefix(words[i+1], "-")
	}
	return !calls || slices.Contains(words, "-W") || slices.Contains(words, "-Ws")
}

func judgeReload(name string, o program.Outcome, err error) error {
	if err != nil {
		return fmt.Errorf("%s did not run to its end: %w", name, err)
	}
	if o.Code != 0 {
		return &refusal{sentence: name + " failed: " + messages.Summary(o), log: program.Lines(o.Output)}
	}
	return nil
}

var errNoPid = errors.New("no pid file")

// replaced waits for a process that is new and serves, for as long as one loads the files. A HAProxy that was never seen,
// neither before the command nor after it, runs where it cannot be seen from here, and then the command's word has to do.
func (c *commanded) replaced(ctx context.Context, w *witness) (now running, err error) {
	idle := time.Now() // since when nothing has been loading
	err = poll(ctx, func() (bool, error) {
		found, err := c.find(ctx)
		if err == nil && (!found.none() || now.none()) {
			now = found
		}
		if err == nil && len(found.pids) > 0 {
			if done, err := w.renewed(ctx, found); done || err != nil {
				return done, err
			}
		}
		if found.unseen {
			return true, nil
		}
		if w.loads(ctx) {
			idle = time.Now()
		}
		if time.Since(idle) > c.patience {
			now = found
			return false, errNoPid
		}
		return false, nil
	})
	switch {
	case !errors.Is(err, errNoPid):
	case now.same(w.before):
		err = w.unchanged(c.paths.pid)
	case !now.none():
		err = &refusal{sentence: "HAProxy runs as process " + joinPids(now.pids) + " after the reload, but has no worker"}
	case c.cfg.ReloadCmd == "" || !c.remote.assume():
		err = &refusal{sentence: "the reload went through, but the pid file " + c.paths.pid + " names no HAProxy that runs"}
	default:
		c.log.Warn("reload_cmd was run, but whether HAProxy took the configuration cannot be verified: no HAProxy can be seen",
			"pid_file", c.paths.pid)
		now, err = running{unseen: true}, nil
	}
	return now, err
}

// options are what HAProxy is started with besides what the user wants: the file that is read first and, where it is to
// replace one that has them, the listening sockets. HAProxy does not start where it cannot have these.
func (c *commanded) options(ctx context.Context, replaces bool) []string {
	options := []string{"-f", c.paths.base}
	if replaces && c.handsOver(ctx) {
		options = append(options, "-x", c.paths.admin)
	}
	return options
}

func (c *commanded) handsOver(ctx context.Context) bool {
	return handsOver(ctx, c.infos, c.paths.admin, c.log)
}

// prelude has bash give our options to the HAProxy that the user's own command starts by its bare name, as the older
// haproxy-api's did, so that a reload by it loses no connection either.
func (c *commanded) prelude(ctx context.Context, replaces bool) string {
	name := filepath.Base(c.cfg.Binary)
	if strings.ContainsFunc(name, func(r rune) bool { return !inName(r) }) {
		return ""
	}
	words := []string{"command", name}
	for _, option := range c.options(ctx, replaces) {
		words = append(words, quote(option))
	}
	return fmt.Sprintf("function %s { %s \"$@\"; }\n", name, strings.Join(words, " "))
}

// inName reports whether bash takes r in the name of a function, as far as programs have it in theirs.
func inName(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.'
}

// quote makes a word of bash of any text.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// endpoint is the socket that we had HAProxy open, or else the one that the document asks for.
func (c *commanded) endpoint(now running) (runtimeapi.Endpoint, error) {
	if now.unseen {
		return runtimeapi.Endpoint{}, errors.New("no HAProxy can be seen from here")
	}
	if now.pid() == 0 {
		return runtimeapi.Endpoint{}, errors.New("HAProxy runs as more than one process")
	}
	for _, path := range []string{c.paths.admin, c.socket()} {
		if path != "" && answers(path) {
			return runtimeapi.Endpoint{Path: path}, nil
		}
	}
	return runtimeapi.Endpoint{}, errors.New(
		"HAProxy was started without our options, and has no \"stats socket PATH level admin\" in its global section")
}

// sharesNetwork is not known of what a command of the user's starts, which may be in a container or on another host.
func (c *commanded) sharesNetwork(now running) bool {
	if c.cfg.ReloadCmd == "" {
		return true
	}
	return procinfo.ShareNetwork(now.pid(), os.Getpid())
}

// answers reports whether somebody takes connections on the socket. It opens none where the system tells.
func answers(path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	sockets, err := procinfo.UnixSockets(os.Getpid())
	if err == nil && slices.ContainsFunc(sockets, func(s procinfo.Socket) bool { return s.Address.Path == path }) {
		return true
	}
	conn, err := net.DialTimeout("unix", path, runtimeapi.AnswerTimeout)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// said returns nothing: the command's output ends with the command.
func (c *commanded) said() []string { return nil }

func (c *commanded) probe(ctx context.Context) sdk.Health {
	now, err := c.find(ctx)
	h := sdk.Health{Facts: now.facts()}
	switch {
	case err != nil:
		h.Problems = append(h.Problems, err.Error())
	case now.none():
		h.Problems = append(h.Problems, notRunning)
	case now.unseen:
		h.Facts["reload"] = "cannot be verified: " + c.paths.pid + " names no HAProxy that can be seen from here"
	case slices.ContainsFunc(now.pids, procinfo.IsStopped):
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy's process %s is stopped", joinPids(now.pids)))
	}
	if stale := c.stale.Load(); stale != nil && *stale != "" {
		h.Facts["restart_needed"] = restartFor(*stale)
	}
	return h
}

var (
	_ proxy = (*managed)(nil)
	_ proxy = (*commanded)(nil)
)
