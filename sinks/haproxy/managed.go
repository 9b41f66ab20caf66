package haproxy

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

const (
	// patience is how long a process may be there without doing what it does at once otherwise: write its pid file
	// once it is in the background, answer on its socket, count a reload. It never bounds the loading itself.
	patience = 10 * time.Second
)

// managed is a HAProxy in master-worker mode that was started by us, here or in a life before.
//
// Measured on 2.6.12, 3.0.11 and 3.2.26: "-W -db" stays in the foreground, which leaves HAProxy its standard error; it writes its
// pid file once the ports are bound, and ends with exit code 1 and the alerts if that fails; a "daemon" or "pidfile" in the
// configuration makes no difference. The last worker that dies takes the master with it, whether or not the configuration says
// no-exit-on-failure, and a master that dies takes its workers. The pid file stays behind in all cases.
type managed struct {
	cfg    Config
	paths  paths
	log    *slog.Logger
	socket masterSocket
	output output
	strays strays
	infos  *runtimeapi.Infos
	starts *runtimeapi.Infos // of workers that may not have started yet
	listed *runtimeapi.Group[procs]

	mu   sync.Mutex
	last procs // what the master answered last

	loaded   int64         // where the output since HAProxy was last told to load something begins
	patience time.Duration // the constant, or less in a test
}

func newManaged(cfg Config, p paths, log *slog.Logger, stopped <-chan struct{}, infos *runtimeapi.Infos) *managed {
	return &managed{cfg: cfg, paths: p, log: log, socket: masterSocket{p.socket}, output: output{p.output}, patience: patience,
		infos: infos, starts: runtimeapi.NewInfos(stopped, runtimeapi.StartingInfoTimeout),
		listed: runtimeapi.NewGroup[procs](stopped, patience)}
}

// find asks the master socket first: it knows the worker, and it is right also where the pid file is lost. Where both are,
// the system knows who runs our configuration file.
func (m *managed) find(ctx context.Context) (running, error) {
	p, err := m.answered(ctx)
	if err == nil {
		return p.running(), nil
	}
	if last := m.lastAnswer(); errors.Is(err, runtimeapi.ErrBusy) && last.stands() {
		return last.running(), nil
	}
	pids, err := readPids(m.paths.pid)
	if err != nil {
		return running{}, err
	}
	if pids = m.paths.ours(pids, m.cfg.Binary); len(pids) == 0 {
		pids = m.strays.find(m.paths, m.cfg.Binary)
	}
	return running{pids: pids}, nil
}

var errNotOurs = errors.New("another program answers on the master socket")

// answered asks the master for its processes, and is an error where no master of ours answers soon.
func (m *managed) answered(ctx context.Context) (procs, error) {
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	p, err := m.listed.Do(ctx, runtimeapi.SocketKey(m.paths.socket), m.socket.procs)
	switch {
	case err != nil:
		return procs{}, err
	case len(m.paths.ours([]int{p.master}, m.cfg.Binary)) == 0:
		return procs{}, errNotOurs
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = p
	return p, nil
}

func (m *managed) lastAnswer() procs {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

func (m *managed) renew(ctx context.Context) (renewal, error) {
	if err := m.paths.writeBase(m.cfg); err != nil {
		return renewal{}, err
	}
	before, others, err := m.settled(ctx)
	switch {
	case err != nil:
		return renewal{}, err
	case before.master != 0 && !m.paths.loads(before.master):
		// A reload would have it load the file that it was started with once more.
		r, err := m.start(ctx, []int{before.master})
		r.why = "a HAProxy that was started for another configuration file was taken over"
		return r, err
	case before.master != 0:
		return m.reloadOrReplace(ctx, before)
	case len(others) > 0:
		m.log.Info("taking over a HAProxy that has no master socket of ours", "pids", joinPids(others))
		r, err := m.start(ctx, others)
		r.why = "a HAProxy that was started otherwise was taken over"
		return r, err
	default:
		r, err := m.start(ctx, nil)
		r.why = "HAProxy was not running"
		return r, err
	}
}

// reloadOrReplace tells the master to reload, or starts another one in its place where it would load something else than a
// HAProxy that is started now.
func (m *managed) reloadOrReplace(ctx context.Context, before procs) (renewal, error) {
	why, err := m.outdated(ctx, before.master)
	if err != nil {
		return renewal{}, err
	}
	if why == "" {
		return m.reload(ctx, before)
	}
	m.log.Info("starting another master process instead of a reload", "reason", why)
	r, err := m.start(ctx, []int{before.master})
	r.why = "HAProxy was started anew without losing a connection, because " + why
	return r, err
}

func (m *managed) outdated(ctx context.Context, master int) (string, error) {
	now, err := m.invocation(ctx)
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(m.paths.config)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", m.paths.config, replace.Cause(err))
	}
	running, err := invocationOf(master)
	if err != nil { // another user's process, or a system that does not tell: nobody knows a reason against a reload
		return "", nil
	}
	return now.outdated(running, syntax.Parse(content, nil)), nil
}

// invocation is how HAProxy is started. A master that would load the files otherwise is replaced and not told to reload.
func (m *managed) invocation(context.Context) (invocation, error) {
	binary, err := findBinary(m.cfg.Binary)
	if err != nil {
		return invocation{}, err
	}
	return invocation{program: binary, args: []string{"-W", "-db", "-S", m.paths.socket + ",mode,600",
		"-f", m.paths.base, "-f", m.paths.config, "-p", m.paths.pid}}, nil
}

// settled returns the master's processes, or else the HAProxy processes of ours that have no master socket to answer
// on. A master that has one but is loading, because somebody else told it to, is waited for.
func (m *managed) settled(ctx context.Context) (p procs, others []int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.patience, errSilent)
	defer cancel()
	busy := false
	err = poll(ctx, func() (bool, error) {
		var err error
		if p, err = m.answered(ctx); err == nil {
			return true, nil
		}
		busy = errors.Is(err, runtimeapi.ErrBusy) || busy && ctx.Err() != nil
		pids, err := readPids(m.paths.pid)
		if err != nil {
			return false, err
		}
		if others = m.paths.ours(pids, m.cfg.Binary); len(others) == 0 {
			others = m.strays.find(m.paths, m.cfg.Binary)
		}
		return !slices.ContainsFunc(others, m.paths.hasSocket), nil
	})
	switch {
	case !errors.Is(err, errSilent):
	case busy && !slices.ContainsFunc(others, procinfo.IsStopped): // it is there, and replacing it would be for nothing
		err = fmt.Errorf("%w; it is left as it is: see who is connected to %s", runtimeapi.ErrBusy, m.paths.socket)
	default: // its socket is gone: it can only be replaced
		err = nil
	}
	return p, others, err
}

var errSilent = errors.New("HAProxy's master does not answer")

// start starts HAProxy, which tells the processes in old to finish what they have once it has bound its ports. Where they
// have our admin socket, it takes their listening sockets over, so that no connection is lost.
func (m *managed) start(ctx context.Context, old []int) (renewal, error) {
	start, err := m.invocation(ctx)
	if err != nil {
		return renewal{}, err
	}
	if old, err = m.paths.makeWay(old, m.cfg.Binary); err != nil {
		return renewal{}, err
	}
	if len(old) == 0 { // what it names is dead or not ours: it must not be mistaken for the one that comes
		if err := m.paths.removePidFile(); err != nil {
			return renewal{}, err
		}
	}
	m.loaded = 0
	replacing := m.paths.replacing(old, handsOver(ctx, m.infos, m.paths.admin, m.log))
	l, err := launchMaster(m.output, start.program, slices.Concat(start.args, replacing)...)
	if err != nil {
		return renewal{}, err
	}
	now, err := m.launched(ctx, l)
	if err != nil && ctx.Err() != nil {
		l.abandon(m.paths.pid)
	}
	warnings := messages.Warnings(strings.Join(m.said(), "\n"))
	return renewal{now: now, action: sdk.ActionRestart, log: warnings}, err
}

// launched waits for the master's worker to serve. The master tells its workers on its socket. From 3.1 on it writes its pid file
// when the worker is ready (mworker.c, cli.c), and a question to a worker that is not may never be answered.
func (m *managed) launched(ctx context.Context, l *launch) (now running, err error) {
	err = l.await(ctx, m.output, func() bool {
		if pids, err := readPids(m.paths.pid); err != nil || !slices.Contains(pids, l.master) {
			return false
		}
		p, err := m.answered(ctx)
		if err != nil || p.master != l.master || !m.answersAs(ctx, p.worker()) {
			return false
		}
		now = p.running()
		return true
	})
	return now, err
}

func (m *managed) said() []string { return m.output.since(m.loaded) }

// endpoint is the master's socket, by which one worker can be addressed and no other one.
func (m *managed) endpoint(now running) (runtimeapi.Endpoint, error) {
	if now.worker == 0 {
		return runtimeapi.Endpoint{}, errors.New("HAProxy was started by somebody else, without our master socket")
	}
	return runtimeapi.Endpoint{Path: m.paths.socket, Worker: now.worker}, nil
}

func (m *managed) sharesNetwork(running) bool { return true }

// answersAs reports whether that very worker answers and means to stay: the proof that is asked of a new one.
func (m *managed) answersAs(ctx context.Context, worker int) bool {
	if worker == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	to := runtimeapi.Endpoint{Path: m.paths.socket, Worker: worker}
	i, err := m.starts.Get(ctx, to)
	if err != nil || !i.ServedBy(worker) {
		return false
	}
	m.infos.Forget(to) // a question that Health has put while the worker started may never be answered
	return true
}

// serves reports whether that worker, which answered before, still serves. One that takes no command is known by what it listens
// on: HAProxy's own watchdog ends a worker that hangs, and one that leaves has closed all.
func (m *managed) serves(ctx context.Context, worker int) bool {
	if worker == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	i, err := m.infos.Get(ctx, runtimeapi.Endpoint{Path: m.paths.socket, Worker: worker})
	if ctx.Err() != nil {
		return procinfo.Listens(worker)
	}
	return err == nil && i.ServedBy(worker)
}

// probe looks at the master, its worker, and whether the worker answers. A master that loads does not answer for a
// moment on 2.6, so it is asked again while there is time.
func (m *managed) probe(ctx context.Context) sdk.Health {
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	now, err := m.find(ctx)
	for err == nil && m.mayAnswer(now) && ctx.Err() == nil {
		pause(ctx, tick)
		now, err = m.find(ctx)
	}
	h := sdk.Health{Facts: now.facts()}
	switch {
	case err != nil:
		h.Problems = append(h.Problems, err.Error())
	case now.none():
		h.Problems = append(h.Problems, notRunning)
	case m.mayAnswer(now) && m.isBusy(now): // no trouble as long as it is not to be told anything
		h.Facts["master_socket"] = runtimeapi.ErrBusy.Error()
	case m.mayAnswer(now):
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy runs as process %s but does not answer on its master socket %s",
			joinPids(now.pids), m.paths.socket))
	case now.worker == 0:
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy runs as process %s, started by somebody else; "+
			"the next document takes it over", joinPids(now.pids)))
	case !m.serves(ctx, now.worker):
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy's worker %d does not answer", now.worker))
	}
	return h
}

// mayAnswer reports whether now has a master that should tell its worker and does not.
func (m *managed) mayAnswer(now running) bool {
	return now.worker == 0 && slices.ContainsFunc(now.pids, m.paths.hasSocket)
}

// isBusy reports whether now has a master that takes connections and a worker that serves.
func (m *managed) isBusy(now running) bool {
	all, err := procinfo.List()
	if err != nil || !answers(m.paths.socket) || slices.ContainsFunc(now.pids, procinfo.IsStopped) {
		return false
	}
	for pid, p := range all {
		if slices.Contains(now.pids, p.Parent) && procinfo.Listens(pid) {
			return true
		}
	}
	return false
}

const notRunning = "HAProxy is not running"

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
