package daemon

import (
	"context"
	"net"
	"sync"
)

// httpServers serves HTTP at the current address and, until its requests have finished, at the previous one.
type httpServers struct {
	serve func(context.Context, net.Listener) // blocks until its context is done and its requests have finished

	mu      sync.Mutex
	closed  bool
	current net.Addr           // nil before the first start
	stop    context.CancelFunc // stops the current server; nil before the first start
	running sync.WaitGroup
}

// start serves on listener and then stops the previous server. After close it only closes the listener.
func (s *httpServers) start(listener net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = listener.Close()
		return
	}
	stopPrevious := s.stop
	ctx, stop := context.WithCancel(context.Background())
	s.current, s.stop = listener.Addr(), stop
	s.running.Go(func() {
		defer stop()
		s.serve(ctx, listener)
	})
	if stopPrevious != nil {
		stopPrevious()
	}
}

// address returns the current address.
func (s *httpServers) address() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// close stops all servers. It returns at once with a channel that is closed when all requests have finished.
func (s *httpServers) close() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.stop != nil {
		s.stop()
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		s.running.Wait()
	}()
	return finished
}
