// Package host runs plugins: it finds and verifies a plugin's program, starts and configures it, supervises it, and
// restarts it when it ends. The daemon uses a plugin as an [sdk.Sink] or an [sdk.Source]. The package knows the contract and
// the protocol, and nothing about the engine or about concrete plugins.
package host

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Options say which program to run as a plugin, and how.
type Options struct {
	Name   string   // the name of the sink or source in the configuration
	Path   string   // the program
	SHA256 string   // the required hash of the program, in hexadecimal; empty for any
	Args   []string // its arguments
	Env    []string // added to the daemon's environment, from which the variables that set the daemon's secrets are removed
	Block  sdk.Block
	Log    *slog.Logger

	StateDir string // passed on as [sdk.Env].StateDir; empty for none

	// RetryStart makes [StartSink] and [StartSource] return a plugin whose first start fails, takes long, or ends in a
	// [StartError]; the start continues in the background. Without it they return the error. In both cases they return faults
	// of the configuration block, unless the start takes long.
	RetryStart bool

	// OnRestart is called each time the program runs again after it ended; nil for none. It must not block.
	OnRestart func()

	kind  wire.Kind
	lost  func(sdk.Lost)  // called with what a sink has lost; does not block
	event func(sdk.Event) // called with an event that a sink reports; does not block
	// The following replace the constants in tests; zero for the constant.
	protocol      int
	startWait     time.Duration
	claimWait     time.Duration
	pingInterval  time.Duration
	pingTimeout   time.Duration
	slowCall      time.Duration
	cancelTimeout time.Duration
	attachTimeout time.Duration
}

func (o Options) withDefaults() Options {
	o.protocol = cmp.Or(o.protocol, wire.ProtocolVersion)
	o.startWait = cmp.Or(o.startWait, startWait)
	o.claimWait = cmp.Or(o.claimWait, claimWait)
	o.pingInterval = cmp.Or(o.pingInterval, pingInterval)
	o.pingTimeout = cmp.Or(o.pingTimeout, pingTimeout)
	o.slowCall = cmp.Or(o.slowCall, slowCall)
	o.cancelTimeout = cmp.Or(o.cancelTimeout, cancelTimeout)
	o.attachTimeout = cmp.Or(o.attachTimeout, attachTimeout)
	return o
}

const (
	// startWait is how long a first start may delay the start of the daemon.
	startWait = 2 * time.Second
	// claimWait is how long Claim waits for a first start that takes longer, so that a refused claim is reported at the start.
	claimWait = 3 * time.Second
	// maxEvents is how many events of a sink wait to be received.
	maxEvents = 64
	// stableAfter is how long a program has to run until it is restarted without delay when it ends.
	stableAfter = 30 * time.Second
	// pingInterval and pingTimeout say how soon the supervisor notices a program that hangs.
	pingInterval = 5 * time.Second
	pingTimeout  = 10 * time.Second
)

// supervisor keeps one plugin running.
type supervisor struct {
	opts    Options
	cancel  context.CancelFunc
	stopped chan struct{} // closed when run has returned

	firstStart chan struct{} // closed when the first start has succeeded or failed
	firstErr   error         // of the first start; valid once firstStart is closed

	mu         sync.Mutex
	current    *process // nil while the program does not run
	mustClaim  bool     // every process must claim before it becomes current
	claimError error    // of the last claim at a start
	restarts   int
	lastEnd    string    // how the program last ended, or why it did not start; empty if neither happened
	endedAt    time.Time // when it last ended; zero if it did not start

	startFault logdedup.Fault // the program does not start
	looping    logdedup.Fault // it ends soon after each start
	unstable   bool           // it ended soon after its last start; only run and what it calls access it

	newestGeneration atomic.Uint64  // of the documents that were passed to the plugin
	restarted        chan struct{}  // one slot, see Sink.Restarted
	lost             chan sdk.Lost  // one slot, see Sink.Lost
	events           chan sdk.Event // maxEvents slots, see Sink.Events
}

// supervise starts the plugin and keeps it running until stopSupervising. ctx bounds only the start.
func supervise(ctx context.Context, opts Options) (*supervisor, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &supervisor{
		opts: opts.withDefaults(), cancel: cancel, stopped: make(chan struct{}), firstStart: make(chan struct{}),
		restarted: make(chan struct{}, 1), lost: make(chan sdk.Lost, 1), events: make(chan sdk.Event, maxEvents),
	}
	s.opts.lost, s.opts.event = s.recordLost, s.recordEvent
	go s.run(life)

	var tooLong <-chan time.Time
	if opts.RetryStart {
		tooLong = time.After(s.opts.startWait)
	}
	var err error
	select {
	case <-s.firstStart:
		err = s.firstErr
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-tooLong:
		s.recordNotStarted("plugin is slow to start", fmt.Errorf("the start takes longer than %s", s.opts.startWait))
		go func() {
			<-s.firstStart
			if s.firstErr != nil && life.Err() == nil {
				s.recordStartFailure(s.firstErr)
			}
		}()
		return s, nil
	}
	_, faulty := errors.AsType[sdk.Faults](err)
	if err != nil && (faulty || !opts.RetryStart || ctx.Err() != nil) {
		_ = s.Close()
		return nil, err
	}
	if err != nil {
		s.recordStartFailure(err)
	}
	return s, nil
}

// run starts the program, and restarts it whenever it has ended, until ctx is done. It sets firstErr to the error of the first
// start and records the errors of later starts. The backoff continues from one end to the next, so that a program that ends soon
// after its start is not restarted without a pause.
func (s *supervisor) run(ctx context.Context) {
	defer close(s.stopped)
	retries := backoff.NewExponentialBackOff()
	retries.InitialInterval = 100 * time.Millisecond
	retries.MaxInterval = stableAfter
	ran := false
	for first := true; ; first = false {
		p, err := s.startOnce(ctx, ran)
		if first {
			s.firstErr = err
			close(s.firstStart)
		}
		var minWait time.Duration
		if err != nil {
			if !first && ctx.Err() == nil {
				s.recordStartFailure(err)
			}
			if retry, ok := errors.AsType[*sdk.RetryError](err); ok {
				minWait = retry.After
			}
		} else {
			ran = true
			began := time.Now()
			why, ended := s.awaitEnd(ctx, p, began)
			if !ended {
				return
			}
			if time.Since(began) > stableAfter {
				retries.Reset()
				s.unstable = false
			}
			s.recordEnd(p, why)
			s.unstable = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(retries.NextBackOff(), minWait)):
		}
	}
}

// startOnce starts the program and makes its process the current one. restart says that the program ran before.
func (s *supervisor) startOnce(ctx context.Context, restart bool) (*process, error) {
	p, err := start(ctx, s.opts)
	if err != nil {
		return nil, err
	}
	if err := s.activate(ctx, p); err != nil {
		return nil, err
	}
	s.recordStart(p, restart)
	return p, nil
}

// awaitEnd waits until p, which began at that time, has ended or does not answer a liveness ping. why is empty if the exit status
// is the reason. ended is false if ctx is done.
func (s *supervisor) awaitEnd(ctx context.Context, p *process, began time.Time) (why string, ended bool) {
	ticker := time.NewTicker(s.opts.pingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", false
		case <-p.done:
			return "", true
		case <-ticker.C:
			if err := p.ping(ctx, s.opts.pingTimeout); err != nil && ctx.Err() == nil {
				return "it did not answer a liveness ping", true
			}
			if time.Since(began) > stableAfter {
				s.looping.Resolve(s.opts.Log, "plugin keeps running again", "plugin", s.opts.Name, "pid", p.program.pid())
			}
		}
	}
}

// activate makes p the current process. If processes must claim, p claims first. If that fails, activate terminates p.
func (s *supervisor) activate(ctx context.Context, p *process) error {
	if s.setCurrent(p, false) {
		return nil
	}
	err := p.claim(ctx)
	s.mu.Lock()
	s.claimError = err
	s.mu.Unlock()
	if err != nil {
		p.terminate()
		return err
	}
	s.setCurrent(p, true)
	return nil
}

// setCurrent makes p the current process. It returns false if p must claim first.
func (s *supervisor) setCurrent(p *process, claimed bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mustClaim && !claimed {
		return false
	}
	s.current = p
	return true
}

// requireClaim makes every later process claim at its start. It returns the current process, which has not claimed, or nil if
// none runs.
func (s *supervisor) requireClaim() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustClaim = true
	return s.current
}

// awaitFirstStart waits for the first start, but not longer than claimWait, and returns the error of its claim.
func (s *supervisor) awaitFirstStart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.claimWait)
	defer cancel()
	select {
	case <-s.firstStart:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claimError
}

// recordStart records that p runs.
func (s *supervisor) recordStart(p *process, restart bool) {
	s.mu.Lock()
	wasDown := s.lastEnd != ""
	if restart {
		s.restarts++
	}
	s.mu.Unlock()
	args := []any{"plugin", s.opts.Name, "name", p.info.Name, "version", p.info.Version, "pid", p.program.pid()}
	if !s.startFault.Resolve(s.opts.Log, "plugin started", args...) && s.looping.Cause() == "" {
		s.opts.Log.Info("plugin started", args...)
	}
	if restart && s.opts.OnRestart != nil {
		s.opts.OnRestart()
	}
	if !wasDown {
		return
	}
	select {
	case s.restarted <- struct{}{}:
	default: // the previous restart was not received yet
	}
}

// recordEnd terminates p and records why it ended. If why is empty, the exit status is the reason.
func (s *supervisor) recordEnd(p *process, why string) {
	s.mu.Lock()
	s.current = nil
	s.mu.Unlock()
	killed := p.terminate()
	switch {
	case why == "":
		why = p.program.exitStatus()
	case killed:
		why += " and was killed"
	}
	s.mu.Lock()
	s.lastEnd, s.endedAt = why, time.Now()
	s.mu.Unlock()
	args := []any{"plugin", s.opts.Name, "pid", p.program.pid()}
	if s.unstable {
		s.looping.Error(s.opts.Log, "plugin keeps ending, restarting it after growing pauses", errLoop,
			append(args, "reason", why)...)
	} else {
		s.opts.Log.Error("plugin ended, restarting", append(args, "error", why)...)
	}
}

// errLoop is the error of a plugin that was restarted and ended soon again.
var errLoop = fmt.Errorf("it ended within %v after a restart", stableAfter)

func (s *supervisor) recordStartFailure(err error) {
	s.recordNotStarted("plugin does not start, retrying", err)
}

// recordNotStarted logs message and records err as the reason why the plugin does not run.
func (s *supervisor) recordNotStarted(message string, err error) {
	s.startFault.Error(s.opts.Log, message, err, "plugin", s.opts.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastEnd, s.endedAt = err.Error(), time.Time{}
}

// recordLost replaces a report that was not received yet. It ignores a generation that the plugin never got and a digest that
// is too long for one.
func (s *supervisor) recordLost(lost sdk.Lost) {
	if lost.Generation > s.newestGeneration.Load() {
		lost.Generation = 0
	}
	if len(lost.Digest) > hex.EncodedLen(sha256.Size) {
		lost.Digest = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.lost:
	default:
	}
	s.lost <- lost
}

// recordEvent replaces the oldest event if too many were not received yet. It ignores a generation that the plugin never got.
func (s *supervisor) recordEvent(event sdk.Event) {
	if event.Generation > s.newestGeneration.Load() {
		event.Generation = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == cap(s.events) {
		select {
		case <-s.events:
		default: // received meanwhile
		}
	}
	s.events <- event
}

// currentProcess returns the current process, or an [ErrGone] if none runs.
func (s *supervisor) currentProcess() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, fmt.Errorf("%w: %s", ErrGone, s.lastEnd)
	}
	return s.current, nil
}

// Info returns name and version of the running plugin, and the zero value while it does not run.
func (s *supervisor) Info() sdk.Info {
	p, err := s.currentProcess()
	if err != nil {
		return sdk.Info{}
	}
	return p.info
}

// PID returns the id of the plugin's process, and 0 while it does not run.
func (s *supervisor) PID() int {
	p, err := s.currentProcess()
	if err != nil {
		return 0
	}
	return p.program.pid()
}

// addFacts adds what is known about the plugin's process to health. err, the error of getting health, is a problem like any
// other.
func (s *supervisor) addFacts(health sdk.Health, err error) sdk.Health {
	if err != nil {
		health = sdk.Health{Problems: []string{err.Error()}}
	}
	if health.Facts == nil {
		health.Facts = map[string]string{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	health.Facts["plugin_restarts"] = strconv.Itoa(s.restarts)
	if s.lastEnd != "" {
		health.Facts["plugin_last_end"] = s.lastEnd
		if !s.endedAt.IsZero() {
			health.Facts["plugin_last_end"] += " at " + s.endedAt.Format(time.RFC3339)
		}
	}
	if p := s.current; p != nil {
		health.Facts["plugin"] = p.info.Name + " " + p.info.Version
		health.Facts["plugin_pid"] = strconv.Itoa(p.program.pid())
	}
	return health
}

// errNotRunning says that a Stop did not reach the plugin.
var errNotRunning = errors.New("the plugin did not run, so it could not release what it manages")

// Stop stops the plugin gracefully: it has until ctx is done to release its resources, then exitTimeout to exit, and is killed
// after that. The error is not nil if the plugin was not running or had to be killed.
func (s *supervisor) Stop(ctx context.Context) error {
	p := s.stopSupervising()
	if p == nil {
		return errNotRunning
	}
	return p.stop(ctx)
}

// Close stops the plugin as a crash of the daemon does: the plugin releases nothing.
func (s *supervisor) Close() error {
	if p := s.stopSupervising(); p != nil {
		p.terminate()
	}
	return nil
}

// Detach ends the plugin's call Attach, as the end of the daemon does, and waits until the plugin exits. Once ctx is done it
// kills the plugin and returns the cause.
func (s *supervisor) Detach(ctx context.Context) error {
	p := s.stopSupervising()
	if p == nil {
		return nil
	}
	p.detach()
	var err error
	select {
	case <-p.program.exited:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.terminate()
	return err
}

// stopSupervising stops the supervision and returns the process that still runs, or nil.
func (s *supervisor) stopSupervising() *process {
	s.cancel()
	<-s.stopped
	p, _ := s.currentProcess()
	return p
}
