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

// Options say which program to run as a plugin, and with what.
type Options struct {
	Name   string   // the sink's or source's name in the configuration
	Path   string   // the program
	SHA256 string   // what the program must hash to, in hexadecimal; empty for anything
	Args   []string // its arguments
	Env    []string // added to the daemon's own environment, which is passed on without what sets the daemon's secrets
	Block  sdk.Block
	Log    *slog.Logger

	StateDir string // passed on as [sdk.Env].StateDir; empty for none

	// Outlast has a program that does not start, or not soon, or that cannot work at the moment ([StartError]), tried again
	// like one that ended. Without it that is the caller's to report. Faults in the block always are, if they come soon.
	Outlast bool

	// OnRestart is called, if set, each time the program runs again after it ended. It must not block.
	OnRestart func()

	kind         wire.Kind
	protocol     int            // the version to speak; zero for the constant
	lost         func(sdk.Lost) // called with what a sink lost; does not block
	pulse        pulse          // zero for the usual one
	patience     time.Duration  // zero for the constant
	cancelWithin time.Duration  // zero for the constant
	attachWithin time.Duration  // zero for the constant
}

// pulse says how soon a program that hangs is noticed.
type pulse struct{ every, within time.Duration }

// supervisor keeps one plugin running.
type supervisor struct {
	opts  Options
	quit  context.CancelFunc
	over  chan struct{} // closed when run returned
	tried chan struct{} // closed when the first start has succeeded or failed

	mu       sync.Mutex
	current  *process // nil while the program is down
	claimed  bool     // the sink is to be the only one on what it manages
	refusal  error    // of the last claim at a start
	restarts int
	lastEnd  string // how the program ended the last time, and when; empty for not yet

	notStarting logdedup.Fault

	offered   atomic.Uint64 // the generation of the newest document
	restarted chan struct{} // one slot: see Sink.Restarted
	lost      chan sdk.Lost // one slot: see Sink.Lost
}

const (
	// soon is how long a start may hold up everybody else's.
	soon = 2 * time.Second
	// claimSoon is how long one that is slow may do so after that: who is refused a claim should hear of it at the start.
	claimSoon = 3 * time.Second
)

// supervise starts the plugin and keeps it running until end. ctx bounds the start alone.
func supervise(ctx context.Context, opts Options) (*supervisor, error) {
	if opts.pulse == (pulse{}) {
		opts.pulse = pulse{every: 5 * time.Second, within: 10 * time.Second}
	}
	opts.protocol = cmp.Or(opts.protocol, wire.ProtocolVersion)
	opts.patience = cmp.Or(opts.patience, patience)
	opts.cancelWithin = cmp.Or(opts.cancelWithin, cancelWithin)
	opts.attachWithin = cmp.Or(opts.attachWithin, attachWithin)
	life, quit := context.WithCancel(context.WithoutCancel(ctx))
	s := &supervisor{
		opts: opts, quit: quit, over: make(chan struct{}), tried: make(chan struct{}), restarted: make(chan struct{}, 1),
		lost: make(chan sdk.Lost, 1),
	}
	s.opts.lost = s.noteLost
	first := make(chan error, 1)
	go s.run(life, first)

	var patience <-chan time.Time
	if opts.Outlast {
		patience = time.After(soon)
	}
	var err error
	select {
	case err = <-first:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-patience:
		s.failed(errors.New("its handshake is not over yet"))
		go func() { // nobody waits for it any more, and what comes of it is told like any other start
			if err := <-first; err != nil && life.Err() == nil {
				s.failed(err)
			}
		}()
		return s, nil
	}
	_, faulty := errors.AsType[sdk.Faults](err)
	if err != nil && (faulty || !opts.Outlast || ctx.Err() != nil) {
		_ = s.close()
		return nil, err
	}
	if err != nil {
		s.failed(err)
	}
	return s, nil
}

// run starts the program and starts it again whenever it ended, until ctx is done. first gets the outcome of the first start;
// of the others it tells. The pace goes on from one end to the next, so that a program which dies as soon as it has started
// is not started all the time.
func (s *supervisor) run(ctx context.Context, first chan<- error) {
	defer close(s.over)
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval = 100 * time.Millisecond
	pace.MaxInterval = 30 * time.Second
	ran := false
	for attempt := 1; ; attempt++ {
		p, err := start(ctx, s.opts)
		if err == nil {
			err = s.admit(ctx, p)
		}
		if attempt == 1 {
			close(s.tried)
		}
		if err == nil {
			s.started(p, ran)
			ran = true
		}
		switch {
		case attempt == 1:
			first <- err
		case err != nil && ctx.Err() == nil:
			s.failed(err)
		}
		if err == nil {
			began := time.Now()
			why, ended := s.attend(ctx, p)
			if !ended {
				return
			}
			s.ended(p, why)
			if time.Since(began) > pace.MaxInterval {
				pace.Reset()
			}
		}
		wait := pace.NextBackOff()
		if hint, ok := errors.AsType[*sdk.RetryError](err); ok {
			wait = max(wait, hint.After)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// attend waits until p is of no more use and says why, or returns false when ctx is done. A program that hangs is as good
// as dead.
func (s *supervisor) attend(ctx context.Context, p *process) (why string, ended bool) {
	ticks := time.NewTicker(s.opts.pulse.every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", false
		case <-p.done:
			return "", true
		case <-ticks.C:
			if err := p.ping(ctx, s.opts.pulse.within); err != nil && ctx.Err() == nil {
				return "it did not answer and was killed", true
			}
		}
	}
}

// ended collects the process and its socket and notes how it ended; why is empty where its exit tells.
func (s *supervisor) ended(p *process, why string) {
	s.mu.Lock()
	s.current = nil
	s.mu.Unlock()
	p.kill()
	if why == "" {
		why = p.program.lastWord()
	}
	s.mu.Lock()
	s.lastEnd = why + " at " + time.Now().Format(time.RFC3339)
	s.mu.Unlock()
	s.opts.Log.Error("plugin ended and is started again", "plugin", s.opts.Name, "pid", p.program.pid(), "why", why)
}

// failed notes that the program did not start.
func (s *supervisor) failed(err error) {
	s.notStarting.Error(s.opts.Log, "plugin does not start and is tried again", err, "plugin", s.opts.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastEnd = err.Error()
}

// claim notes that every process from now on has to claim, and returns the one that has not, nil where none runs.
func (s *supervisor) claim() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed = true
	return s.current
}

// firstTry waits for the first start, if that is still under way, but not for long, and returns why its claim was refused.
func (s *supervisor) firstTry(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, claimSoon)
	defer cancel()
	select {
	case <-s.tried:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusal
}

// admit makes p the current process, once it has claimed where it has to. After an error p is no more.
func (s *supervisor) admit(ctx context.Context, p *process) error {
	if s.take(p, false) {
		return nil
	}
	err := p.claim(ctx)
	s.mu.Lock()
	s.refusal = err
	s.mu.Unlock()
	if err != nil {
		p.kill()
		return err
	}
	s.take(p, true)
	return nil
}

// take makes p the current process, unless it has to claim and has not.
func (s *supervisor) take(p *process, claimed bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claimed && !claimed {
		return false
	}
	s.current = p
	return true
}

// started says that p runs. Whoever had to do without is told.
func (s *supervisor) started(p *process, again bool) {
	s.mu.Lock()
	missed := s.lastEnd != ""
	if again {
		s.restarts++
	}
	s.mu.Unlock()
	about := []any{"plugin", p.info.Name, "version", p.info.Version, "pid", p.program.pid()}
	if !s.notStarting.Resolve(s.opts.Log, "plugin started", about...) {
		s.opts.Log.Info("plugin started", about...)
	}
	if again && s.opts.OnRestart != nil {
		s.opts.OnRestart()
	}
	if !missed {
		return
	}
	select {
	case s.restarted <- struct{}{}:
	default: // not yet heard from the last time: once is enough
	}
}

// noteLost replaces what was not read yet: only the newest counts. A generation that was never offered is none, and nor is what
// is longer than a digest one.
func (s *supervisor) noteLost(lost sdk.Lost) {
	if lost.Generation > s.offered.Load() {
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

// facts tells a person about the program.
func (s *supervisor) facts() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	facts := map[string]string{"plugin_restarts": strconv.Itoa(s.restarts)}
	if s.lastEnd != "" {
		facts["plugin_last_end"] = s.lastEnd
	}
	if p := s.current; p != nil {
		facts["plugin"] = p.info.Name + " " + p.info.Version
		facts["plugin_pid"] = strconv.Itoa(p.program.pid())
	}
	return facts
}

func (s *supervisor) process() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, fmt.Errorf("%w: %s", ErrGone, s.lastEnd)
	}
	return s.current, nil
}

// Info names the program that runs now; it is empty while none does.
func (s *supervisor) Info() sdk.Info {
	p, err := s.process()
	if err != nil {
		return sdk.Info{}
	}
	return p.info
}

// PID returns the process that runs now, 0 while none does.
func (s *supervisor) PID() int {
	p, err := s.process()
	if err != nil {
		return 0
	}
	return p.program.pid()
}

// Detach ends the plugin's call Attach, as the death of the daemon does: the plugin has to end by itself. Detach returns nil when the
// plugin has ended. Once ctx is done it kills the plugin and returns the cause.
func (s *supervisor) Detach(ctx context.Context) error {
	p := s.end()
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
	p.kill()
	return err
}

// errDown says that an order to release things did not reach anybody.
var errDown = errors.New("the plugin was down: what it manages was left as it is")

// stop ends supervision and then the program, in order until ctx is done.
func (s *supervisor) stop(ctx context.Context) error {
	p := s.end()
	if p == nil {
		return errDown
	}
	return p.stop(ctx)
}

// close ends supervision and then the program, which is told nothing.
func (s *supervisor) close() error {
	if p := s.end(); p != nil {
		p.kill()
	}
	return nil
}

// end ends supervision and returns the process that is left, nil where there is none.
func (s *supervisor) end() *process {
	s.quit()
	<-s.over
	p, _ := s.process()
	return p
}
