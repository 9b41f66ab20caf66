package haproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/hostnames"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/lock"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A Sink keeps one HAProxy in sync with the documents that it is given. Make one with [New].
//
// Its methods may be called from any goroutine. The first call of Apply, Reread or Health looks for a HAProxy to adopt and
// starts the supervision until Stop. A sink that only checks documents touches nothing.
type Sink struct {
	cfg        Config
	paths      paths
	log        *slog.Logger
	controller process.Controller
	resolver   *hostnames.Resolver
	conflicts  process.ConflictMonitor
	fileLock   lock.Lock
	lost       func(sdk.Lost)
	events     events
	servers    *runtimeapi.Group[[]sdk.Server]

	serverRepairs, fileRepairs repairs // of what another program has changed

	begin      sync.Once
	adopting   sync.Once
	stopOnce   sync.Once
	stopped    chan struct{}  // closed by Stop
	background sync.WaitGroup // the supervisor and the persist loop

	// files guards the fields up to change; see locks.go. It is taken before change.
	files      *semaphore.Weighted
	recorded   recordedState
	companions companions
	persisting logdedup.Fault // what runs
	recording  logdedup.Fault // the state file
	ending     logdedup.Fault // old workers
	unwatched  logdedup.Fault // files that HAProxy reads

	// change guards the fields up to state, and every update of state; see locks.go.
	change      sync.Mutex
	client      *runtimeapi.Client
	clientOf    process.Instance // the target of client
	reloadLimit reloadLimit
	correcting  logdedup.Fault        // drift
	starting    logdedup.Fault        // HAProxy
	partial     logdedup.Fault        // servers before a reload
	state       atomic.Pointer[state] // published by update; may be loaded without the lock

	changed      chan struct{} // receives after a change at run time
	observations atomic.Int64  // completed observations of what runs

	// The constants and functions, or others in a test.
	observeEvery, stableAfter, hangAfter time.Duration
	commitStage                          func(*stage.Stage) error
	endpoint                             func(process.Instance) (runtimeapi.Endpoint, error)
	writeStateFile                       func(f stateFile, path string) error
}

// New returns a sink for one HAProxy. It touches neither files nor processes.
func New(env sdk.Env, cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p, err := cfg.paths()
	if err != nil {
		return nil, err
	}
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Sink{
		cfg: cfg, paths: p, log: log, stopped: make(chan struct{}), changed: make(chan struct{}, 1),
		files: semaphore.NewWeighted(1), reloadLimit: reloadLimit{interval: cfg.ReloadInterval}, lost: func(sdk.Lost) {},
		observeEvery: observeEvery, stableAfter: stableAfter, hangAfter: hangAfter,
		commitStage: (*stage.Stage).Commit, writeStateFile: stateFile.write,
	}
	s.state.Store(&state{loaded: &loadedInputs{}})
	infos := runtimeapi.NewInfos(s.stopped, runtimeapi.InfoTimeout)
	if cfg.byCommand() {
		s.controller = process.NewCommand(p.Config, log, infos, s.desiredConfig, s.previousPids)
	} else {
		s.controller = process.NewManaged(p.Config, log, s.stopped, infos)
	}
	s.endpoint = s.controller.Endpoint
	s.servers = runtimeapi.NewGroup[[]sdk.Server](s.stopped, runtimeapi.InfoTimeout)
	s.resolver = &hostnames.Resolver{Lookup: net.DefaultResolver.LookupNetIP, Confirm: s.confirmHostname}
	s.client = runtimeapi.NewClient(infos, s.resolver, cfg.DrainTimeout)
	return s, nil
}

// Claim locks the configuration file and the pid file. It returns an error if the sink of another daemon holds either of them,
// since both identify a HAProxy. It is meant for a plugin: the parent process is the daemon.
//
// A file whose directory does not exist yet is locked before anything is touched.
func (s *Sink) Claim(ctx context.Context) error {
	return s.fileLock.Acquire(ctx, lock.Owner{Daemon: os.Getppid(), Log: s.log},
		lock.File{Path: s.paths.ConfigFile, Key: "config_file"},
		lock.File{Path: s.paths.BaseFile, Name: s.paths.PidFile, Key: "pid_file"})
}

// OnLost sets the function to call when a document that Apply reported as applied was replaced by the previous one: HAProxy did
// not stay up with it, the check rejected a runtime change afterwards, or such a change was not on disk when HAProxy had to load
// something.
func (s *Sink) OnLost(lost func(sdk.Lost)) { s.lost = lost }

// contextUntilStop returns a context with the values of ctx that ends with Stop and not with ctx.
func (s *Sink) contextUntilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	return s.orStopped(context.WithoutCancel(ctx))
}

// orStopped returns a context that ends with ctx and with Stop.
func (s *Sink) orStopped(ctx context.Context) (context.Context, context.CancelFunc) {
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

var errStopped = errors.New("the sink is being stopped")

func (s *Sink) isStopped() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// clientFor returns the runtime client of the HAProxy in now. What is known about another HAProxy is discarded. The caller holds
// s.change.
func (s *Sink) clientFor(now process.Instance) *runtimeapi.Client {
	if !now.Same(s.clientOf) {
		s.resetClient(now)
	}
	return s.client
}

// resetClient makes the HAProxy in now the target of the runtime client, and discards what is known about it. The caller holds
// s.change.
func (s *Sink) resetClient(now process.Instance) {
	s.clientOf = now
	s.client.Reset(runtimeapi.Target{
		Name:     fmt.Sprintf("process %d", now.Pid()),
		Endpoint: func() (runtimeapi.Endpoint, error) { return s.endpoint(now) },
		Answered: now.Answered,
	})
}

// desiredConfig returns the configuration that HAProxy should run, or nil if it is unknown.
func (s *Sink) desiredConfig() *syntax.Config {
	if doc := s.state.Load().desired; doc != nil {
		return doc.config
	}
	return nil
}

// previousPids returns the processes in the state file, and false if there is none.
func (s *Sink) previousPids() (pids []int, known bool) {
	recorded, known := readStateFile(s.paths.state)
	return recorded.Pids, known
}

var (
	_ sdk.Claimer  = (*Sink)(nil)
	_ sdk.Notifier = (*Sink)(nil)
)
