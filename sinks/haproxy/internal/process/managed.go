package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// A Managed controls a HAProxy in master-worker mode that haproxy-api has started, in this process or an earlier one. Make one
// with [NewManaged].
//
// Measured on 2.6.12, 3.0.11 and 3.2.26: "-W -db" stays in the foreground, so that HAProxy keeps its standard error. It writes
// its pid file once the ports are bound, and ends with exit code 1 and the alerts if that fails. A "daemon" or "pidfile" in the
// configuration makes no difference. The last worker that dies ends the master, whether or not the configuration says
// no-exit-on-failure, and a master that dies ends its workers. The pid file remains in all cases.
type Managed struct {
	// ResponseTimeout is how long a process may exist without doing what it otherwise does at once. NewManaged sets it to 10 s.
	ResponseTimeout time.Duration

	cfg     Config
	log     *slog.Logger
	socket  masterSocket
	output  outputFile
	orphans orphanFinder

	infos     *runtimeapi.Infos
	starting  *runtimeapi.Infos // of workers that may not have started yet
	processes *runtimeapi.Group[processList]

	mu   sync.Mutex
	last processList // the master's last answer

	logStart int64 // the offset in the output at which the last Load began
}

// NewManaged returns a controller for the HAProxy that cfg describes. It touches neither files nor processes. Requests on the
// master socket end when stopped is closed.
func NewManaged(cfg Config, log *slog.Logger, stopped <-chan struct{}, infos *runtimeapi.Infos) *Managed {
	return &Managed{
		ResponseTimeout: defaultResponseTimeout,
		cfg:             cfg, log: log, socket: masterSocket(cfg.MasterSocket), output: outputFile(cfg.OutputFile),
		infos: infos, starting: runtimeapi.NewInfos(stopped, runtimeapi.StartingInfoTimeout),
		processes: runtimeapi.NewGroup[processList](stopped, defaultResponseTimeout),
	}
}

// Find asks the master socket first: the master knows its worker, even if the pid file is lost. If neither the socket nor the pid
// file leads to a HAProxy, Find looks for processes that run the configuration file.
func (m *Managed) Find(ctx context.Context) (Instance, error) {
	p, err := m.listProcesses(ctx)
	if err == nil {
		return p.instance(), nil
	}
	if last := m.lastList(); errors.Is(err, runtimeapi.ErrBusy) && last.isCurrent() {
		return last.instance(), nil
	}
	pids, err := m.findPids()
	return Instance{Pids: pids}, err
}

// findPids returns the HAProxy processes that the pid file or the list of processes leads to.
func (m *Managed) findPids() ([]int, error) {
	pids, err := readPids(m.cfg.PidFile)
	if err != nil {
		return nil, err
	}
	if pids = m.cfg.Own(pids); len(pids) == 0 {
		pids = m.orphans.find(m.cfg)
	}
	return pids, nil
}

var errOtherProgram = errors.New("a process that is not ours answers on the master socket")

// listProcesses asks the master for its processes. It returns an error if no master of ours answers in time.
func (m *Managed) listProcesses(ctx context.Context) (processList, error) {
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	p, err := m.processes.Do(ctx, runtimeapi.SocketKey(m.cfg.MasterSocket), m.socket.listProcesses)
	switch {
	case err != nil:
		return processList{}, err
	case len(m.cfg.Own([]int{p.master})) == 0:
		return processList{}, errOtherProgram
	}
	if p.noHandover {
		if listens, err := procinfo.HasListener(p.worker()); err == nil && !listens { // it finishes its connections
			p.workers, p.old, p.noHandover = nil, slices.Concat(p.workers, p.old), false
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = p
	return p, nil
}

func (m *Managed) lastList() processList {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// Load reloads the running master. It starts a new master if none runs, or if the running master would load the files in another
// way than a new one or would lose connections.
func (m *Managed) Load(ctx context.Context) (LoadResult, error) {
	if err := m.cfg.writeBase(); err != nil {
		return LoadResult{}, err
	}
	before, replaced, err := m.waitForMaster(ctx)
	if err != nil {
		return LoadResult{}, err
	}
	reason := "HAProxy was not running"
	switch {
	case before.master != 0 && !m.cfg.loads(before.master):
		reason = "HAProxy was started for another configuration file and has been replaced"
		replaced = []int{before.master}
	case before.master != 0:
		restart, err := m.restartReason(ctx, before)
		if err != nil {
			return LoadResult{}, err
		}
		if restart == "" {
			return m.reload(ctx, before)
		}
		m.log.Info("starting another master process instead of a reload", "reason", restart)
		reason = "HAProxy was restarted without losing a connection, because " + restart
		replaced = []int{before.master}
	case len(replaced) > 0:
		m.log.Info("replacing a HAProxy that has no master socket of haproxy-api", "pid", JoinPids(replaced))
		reason = "HAProxy was started by another program and has been replaced"
	}
	r, err := m.start(ctx, replaced)
	r.Reason = reason
	return r, err
}

// restartReason returns why a reload by the running master would load the files in another way than a start or would lose
// connections, or "" if it would not.
func (m *Managed) restartReason(ctx context.Context, running processList) (string, error) {
	now, err := m.Invocation(ctx)
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(m.cfg.ConfigFile)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", m.cfg.ConfigFile, replace.Cause(err))
	}
	// An error: another user's process, or not Linux. No reason against a reload is known.
	if master, err := invocationOf(running.master); err == nil {
		if reason := now.restartReason(master, syntax.Parse(content, nil)); reason != "" {
			return reason, nil
		}
	}
	if running.noHandover && m.cfg.handsOverSockets(ctx, m.infos, m.log) {
		if _, err := m.cfg.withConflicting([]int{running.master}); err == nil { // otherwise a start would be refused
			return "its master does not hand over the listening sockets in a reload that follows a failed one", nil
		}
	}
	return "", nil
}

// Invocation returns how HAProxy is started. A master that would load the files in another way is replaced instead of reloaded.
func (m *Managed) Invocation(context.Context) (Invocation, error) {
	binary, err := FindBinary(m.cfg.Binary)
	if err != nil {
		return Invocation{}, err
	}
	return Invocation{Program: binary, Args: []string{"-W", "-db", "-S", m.cfg.MasterSocket + ",mode,600",
		"-f", m.cfg.BaseFile, "-f", m.cfg.ConfigFile, "-p", m.cfg.PidFile}}, nil
}

var errNoAnswer = errors.New("HAProxy's master does not answer")

// waitForMaster returns the master's processes. If no master answers, it returns in others our HAProxy processes that have no
// master socket. If a master has a socket but does not answer, such as during a reload by another program, it waits for it.
func (m *Managed) waitForMaster(ctx context.Context) (p processList, others []int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.ResponseTimeout, errNoAnswer)
	defer cancel()
	busy := false
	err = poll(ctx, func() (bool, error) {
		var err error
		if p, err = m.listProcesses(ctx); err == nil {
			return true, nil
		}
		busy = errors.Is(err, runtimeapi.ErrBusy) || busy && ctx.Err() != nil
		if others, err = m.findPids(); err != nil {
			return false, err
		}
		return !slices.ContainsFunc(others, m.cfg.hasMasterSocket), nil
	})
	switch {
	case !errors.Is(err, errNoAnswer):
	case busy && !slices.ContainsFunc(others, procinfo.IsStopped): // it runs, and replacing it would not help
		err = fmt.Errorf("%w; HAProxy is left unchanged: see which programs are connected to %s", runtimeapi.ErrBusy,
			m.cfg.MasterSocket)
	default: // its socket is gone: it can only be replaced
		err = nil
	}
	return p, others, err
}

// start starts HAProxy. Once it has bound its ports, it tells the processes in old to finish their connections. It takes over the
// listening sockets of an old HAProxy that has the admin socket, so that no connection is lost.
func (m *Managed) start(ctx context.Context, old []int) (LoadResult, error) {
	start, err := m.Invocation(ctx)
	if err != nil {
		return LoadResult{}, err
	}
	if old, err = m.cfg.withConflicting(old); err != nil {
		return LoadResult{}, err
	}
	if len(old) == 0 { // the process that the file names is not HAProxy and must not be mistaken for the new one
		if err := m.cfg.removePidFile(); err != nil {
			return LoadResult{}, err
		}
	}
	m.logStart = 0
	replacing := m.cfg.replacing(old, m.cfg.handsOverSockets(ctx, m.infos, m.log))
	previous := m.socket.keep()
	defer previous.discard()
	l, err := launchMaster(m.output, start.Program, slices.Concat(start.Args, replacing)...)
	if err != nil {
		return LoadResult{}, err
	}
	now, err := m.waitForStart(ctx, l)
	if err != nil && (ctx.Err() == nil || l.abandon(m.cfg.PidFile)) {
		previous.restore()
		if _, failed := errors.AsType[*LoadError](err); failed && m.serveStill(ctx, old) {
			err = keptPrevious(m.Log())
		}
	}
	warnings := messages.Warnings(strings.Join(m.Log(), "\n"))
	return LoadResult{Instance: now, Action: sdk.ActionRestart, Log: warnings}, err
}

// serveStill reports whether the master is one of the processes in old and has a worker that listens.
func (m *Managed) serveStill(ctx context.Context, old []int) bool {
	p, err := m.listProcesses(ctx)
	return err == nil && slices.Contains(old, p.master) && procinfo.Listens(p.worker())
}

// waitForStart waits for the master's worker to serve. From 3.1 on, a master writes its pid file when the worker is ready
// (mworker.c, cli.c). A request to a worker that is not ready may never be answered.
func (m *Managed) waitForStart(ctx context.Context, l *launch) (now Instance, err error) {
	err = l.wait(ctx, m.output, func() bool {
		if pids, err := readPids(m.cfg.PidFile); err != nil || !slices.Contains(pids, l.master) {
			return false
		}
		p, err := m.listProcesses(ctx)
		if err != nil || p.master != l.master || !m.hasStarted(ctx, p.worker()) {
			return false
		}
		now = p.instance()
		return true
	})
	return now, err
}

// Log returns what HAProxy has written since the last Load began.
func (m *Managed) Log() []string { return m.output.since(m.logStart) }

// Endpoint returns the master's socket, through which one worker can be addressed and no other one.
func (m *Managed) Endpoint(now Instance) (runtimeapi.Endpoint, error) {
	if now.Worker == 0 {
		return runtimeapi.Endpoint{}, errors.New("HAProxy was started by another program, without our master socket")
	}
	return m.socket.worker(now.Worker), nil
}

// ServingPid returns the worker that the master has named.
func (m *Managed) ServingPid(now Instance) int { return now.Worker }

// SharesNetwork returns true: HAProxy is a child of this process or of an earlier one.
func (m *Managed) SharesNetwork(Instance) bool { return true }

// hasStarted reports whether a new worker answers under its own process id and is not stopping.
func (m *Managed) hasStarted(ctx context.Context, worker int) bool {
	if worker == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	i, err := m.starting.Get(ctx, m.socket.worker(worker))
	if err != nil || !i.ServedBy(worker) {
		return false
	}
	m.infos.Forget(m.socket.worker(worker)) // a request that Health made while the worker started may never be answered
	return true
}
