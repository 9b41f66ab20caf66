package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/cli"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// commandLimit bounds one run of a reload command.
const commandLimit = time.Minute

var errCommandLimit = fmt.Errorf("it took longer than %v; if the command starts HAProxy, the configuration needs "+
	"the word daemon in its global section", commandLimit)

// commanded is a HAProxy that a command starts and reloads: the user's own, or the program with the pid file's
// processes to replace. It is known by its pid file, and by an admin socket where there is one.
type commanded struct {
	cfg    Config
	paths  paths
	log    *slog.Logger
	socket func() string // the path of the admin socket that the document in effect has; "" for none
	strays strays
	infos  *infos

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
	pids = slices.DeleteFunc(pids, func(pid int) bool { return !exists(pid) || !c.isOurs(pid) })
	if len(pids) == 0 {
		pids = c.strays.find(c.paths, c.cfg.Binary)
	}
	return running{pids: pids}, nil
}

// onSocket returns the process that answers on our admin socket, and 0 if none does.
func (c *commanded) onSocket(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	i, err := c.infos.of(ctx, cli.Endpoint{Path: c.paths.admin})
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(i["Pid"])
	if err != nil || !i.servedBy(pid) {
		return 0
	}
	return pid
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
	if before.none() {
		// Reload commands signal whatever the pid file names, which by now may be anybody's process.
		if err := os.Remove(c.paths.pid); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return renewal{}, fmt.Errorf("cannot remove the stale pid file %s: %w", c.paths.pid, stage.Cause(err))
		}
	} else if err := c.restorePidFile(before); err != nil {
		return renewal{}, err
	}
	if err := c.command(ctx, before.pids); err != nil {
		return renewal{}, err
	}
	now, err := c.replaced(ctx, before)
	if before.none() {
		return renewal{now: now, action: sdk.ActionRestart, why: "HAProxy was not running"}, err
	}
	return renewal{now: now, action: sdk.ActionReload}, err
}

// restorePidFile writes a pid file that was lost, or names only processes that have ended, because reload commands tell the process in it to go.
func (c *commanded) restorePidFile(now running) error {
	pids, err := readPids(c.paths.pid)
	if err != nil || slices.ContainsFunc(pids, func(pid int) bool { return slices.Contains(now.pids, pid) }) {
		return err
	}
	c.log.Warn("the pid file was lost and is written again", "pid_file", c.paths.pid, "pid", joinPids(now.pids))
	if err := os.WriteFile(c.paths.pid, []byte(joinPids(now.pids)+"\n"), 0o644); err != nil { //nolint:gosec // as HAProxy does
		return fmt.Errorf("cannot write the pid file %s: %w", c.paths.pid, stage.Cause(err))
	}
	return nil
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
	binary, err := findBinary(c.cfg.Binary)
	if err != nil {
		return err
	}
	if old, err = c.paths.makeWay(old, c.cfg.Binary); err != nil {
		return err
	}
	args := append([]string{"-D"}, c.options(ctx, len(old) > 0)...)
	args = append(args, "-f", c.paths.config, "-p", c.paths.pid)
	if len(old) > 0 {
		args = append(args, "-sf")
		for _, pid := range old {
			args = append(args, strconv.Itoa(pid))
		}
	}
	o, err := program.Run(ctx, binary, args...)
	return judgeReload(binary, o, err)
}

func judgeReload(name string, o program.Outcome, err error) error {
	if err != nil {
		return fmt.Errorf("%s did not run to its end: %w", name, err)
	}
	if o.Code != 0 {
		return &refusal{sentence: name + " failed: " + complaint(o), log: program.Lines(o.Output)}
	}
	return nil
}

// steadyLooks is how many looks in a row, a tick apart, the process from before has to be there after a command to be
// taken for the one that stays: a signal that ends it may be on its way still.
const steadyLooks = 10

var errNoPid = errors.New("no pid file")

// replaced waits for the pid file to name the HAProxy that runs after the command. Without a master to ask, a living
// process is all the proof there is, and a new one where the command is ours.
func (c *commanded) replaced(ctx context.Context, before running) (now running, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.patience, errNoPid)
	defer cancel()
	steady := 0
	err = poll(ctx, func() (bool, error) {
		found, err := c.find(ctx)
		if err != nil || found.none() {
			steady = 0
			return false, nil
		}
		now = found
		steady++
		return !found.same(before) || (c.cfg.ReloadCmd != "" && steady >= steadyLooks), nil
	})
	if errors.Is(err, errNoPid) {
		err = &refusal{sentence: "the reload went through, but the pid file " + c.paths.pid + " names no HAProxy that runs"}
	}
	return now, err
}

// options are what HAProxy is started with besides what the user wants: the file that is read first and, where it is to
// replace one that has them, the listening sockets. HAProxy does not start where it cannot have these.
func (c *commanded) options(ctx context.Context, replaces bool) []string {
	options := []string{"-f", c.paths.base}
	switch {
	case !replaces || !answers(c.paths.admin):
	case c.busy(ctx, c.paths.admin): // HAProxy would not start
		c.log.Warn("the listening sockets are not handed over, so that connections may be lost", "error", errBusy)
	default:
		options = append(options, "-x", c.paths.admin)
	}
	return options
}

// busy reports whether HAProxy takes no command on the socket.
func (c *commanded) busy(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	_, err := c.infos.of(ctx, cli.Endpoint{Path: path})
	return errors.Is(err, errBusy)
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
func (c *commanded) endpoint(now running) (cli.Endpoint, error) {
	if now.pid() == 0 {
		return cli.Endpoint{}, errors.New("HAProxy runs as more than one process")
	}
	for _, path := range []string{c.paths.admin, c.socket()} {
		if path != "" && answers(path) {
			return cli.Endpoint{Path: path}, nil
		}
	}
	return cli.Endpoint{}, errors.New(
		"HAProxy was started without our options, and has no \"stats socket PATH level admin\" in its global section")
}

// sharesNetwork is not known of what a command of the user's starts, which may be in a container or on another host.
func (c *commanded) sharesNetwork(now running) bool {
	if c.cfg.ReloadCmd == "" {
		return true
	}
	theirs, err := networkOf(now.pid())
	ours, errOurs := networkOf(os.Getpid())
	return err == nil && errOurs == nil && theirs == ours
}

// answers reports whether somebody takes connections on the socket. It opens none where the system tells.
func answers(path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	sockets, err := unixSockets(os.Getpid())
	if err == nil && slices.ContainsFunc(sockets, func(s socket) bool { return s.address.path == path }) {
		return true
	}
	conn, err := net.DialTimeout("unix", path, answerLimit)
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
	if err != nil {
		h.Problems = append(h.Problems, err.Error())
	} else if now.none() {
		h.Problems = append(h.Problems, notRunning)
	}
	return h
}

var (
	_ proxy = (*managed)(nil)
	_ proxy = (*commanded)(nil)
)
