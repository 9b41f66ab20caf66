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
	Name  string   // the sink's or source's name in the configuration
	Kind  string   // "sink" or "source"
	Path  string   // the program
	Args  []string // its arguments
	Env   []string // added to the daemon's own environment
	Block sdk.Block
	Log   *slog.Logger
}

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
	first, err := start(ctx, opts)
	if err != nil {
		return nil, err
	}
	opts.Log.Info("plugin started", "plugin", opts.Name, "version", first.info.Version, "pid", first.pid)
	life, quit := context.WithCancel(context.WithoutCancel(ctx))
	s := &supervisor{opts: opts, quit: quit, over: make(chan struct{}), current: first, restarted: make(chan struct{}, 1)}
	go s.run(life, first)
	return s, nil
}

func (s *supervisor) run(ctx context.Context, p *process) {
	defer close(s.over)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.done:
		}
		s.set(nil)
		p.kill() // collects the process and its socket
		if ctx.Err() != nil {
			return
		}
		s.opts.Log.Warn("plugin died and is started again", "plugin", s.opts.Name, "pid", p.pid)
		next, err := s.restart(ctx)
		if err != nil {
			return // only ctx ends the attempts
		}
		p = next
		s.set(p)
		s.opts.Log.Info("plugin started again", "plugin", s.opts.Name, "pid", p.pid)
		s.announce()
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

// end ends supervision and returns the process that is left, nil where there is none.
func (s *supervisor) end() *process {
	s.quit()
	<-s.over
	p, _ := s.process()
	return p
}
