package host

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Options say which program to run as a plugin, and with what.
type Options struct {
	Name   string   // the sink's or source's name in the configuration
	Kind   string   // "sink" or "source"
	Path   string   // the program
	SHA256 string   // what the program must hash to, in hexadecimal; empty for anything
	Args   []string // its arguments
	Env    []string // added to the daemon's own environment
	Block  sdk.Block
	Log    *slog.Logger

	pulse pulse // zero for the usual one
}

// pulse says how soon a program that hangs is noticed.
type pulse struct{ every, within time.Duration }

// supervisor keeps one plugin running.
type supervisor struct {
	opts Options
	quit context.CancelFunc
	over chan struct{} // closed when run returned

	mu      sync.Mutex
	current *process // nil while the program is down

	restarted chan struct{} // one slot: see Sink.Restarted
}

// supervise starts the plugin and keeps it running until close. A fault in its configuration, or a program that does not
// start at all, is the caller's to report; later ends are outlasted.
func supervise(ctx context.Context, opts Options) (*supervisor, error) {
	if opts.pulse == (pulse{}) {
		opts.pulse = pulse{every: 5 * time.Second, within: 10 * time.Second}
	}
	first, err := start(ctx, opts)
	if err != nil {
		return nil, err
	}
	opts.Log.Info("plugin started", "plugin", opts.Name, "version", first.info.Version, "pid", first.program.pid())
	life, quit := context.WithCancel(context.WithoutCancel(ctx))
	s := &supervisor{opts: opts, quit: quit, over: make(chan struct{}), current: first, restarted: make(chan struct{}, 1)}
	go s.run(life, first)
	return s, nil
}

func (s *supervisor) run(ctx context.Context, p *process) {
	defer close(s.over)
	for {
		if !s.attend(ctx, p) {
			return
		}
		s.set(nil)
		p.kill() // collects the process and its socket
		if ctx.Err() != nil {
			return
		}
		s.opts.Log.Warn("plugin died and is started again", "plugin", s.opts.Name, "pid", p.program.pid())
		next, err := s.restart(ctx)
		if err != nil {
			return // only ctx ends the attempts
		}
		p = next
		s.set(p)
		s.opts.Log.Info("plugin started again", "plugin", s.opts.Name, "pid", p.program.pid())
		s.announce()
	}
}

// attend waits until p is of no more use and returns true, or returns false when ctx is done. A program that hangs is as
// good as dead.
func (s *supervisor) attend(ctx context.Context, p *process) bool {
	ticks := time.NewTicker(s.opts.pulse.every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-p.done:
			return true
		case <-ticks.C:
			if err := p.ping(ctx, s.opts.pulse.within); err != nil && ctx.Err() == nil {
				s.opts.Log.Error("plugin hangs and is killed", "plugin", s.opts.Name, "pid", p.program.pid())
				return true
			}
		}
	}
}

func (s *supervisor) restart(ctx context.Context) (*process, error) {
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval = 100 * time.Millisecond
	pace.MaxInterval = 30 * time.Second
	return backoff.Retry(ctx, func() (*process, error) { return start(ctx, s.opts) },
		backoff.WithBackOff(pace),
		backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, wait time.Duration) {
			s.opts.Log.Error("plugin does not start", "plugin", s.opts.Name, "error", err, "again_in", wait)
		}))
}

func (s *supervisor) announce() {
	select {
	case s.restarted <- struct{}{}:
	default: // not yet heard from the last time: once is enough
	}
}

func (s *supervisor) set(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = p
}

func (s *supervisor) process() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, ErrGone
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

// Abandon lets go of the program as a daemon does that is killed: the program has to end by itself. It returns when the
// program ended or ctx is done, and the cause then; the program is dead afterwards either way.
func (s *supervisor) Abandon(ctx context.Context) error {
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

// stop ends supervision and then the program, in order until ctx is done.
func (s *supervisor) stop(ctx context.Context) error {
	p := s.end()
	if p == nil {
		return nil
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
