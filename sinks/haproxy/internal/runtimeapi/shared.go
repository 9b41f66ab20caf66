package runtimeapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// AnswerTimeout bounds one request to a master or worker that is not loading a configuration.
const AnswerTimeout = 800 * time.Millisecond

// ErrBusy reports that HAProxy has not answered in time although it accepts connections on its socket. Usually its connection
// limit is reached: a worker takes ten connections, those through its master included, and a master takes ten.
var ErrBusy = errors.New("HAProxy does not answer on its socket: too many connections to it may be open, or it is busy")

// A Group runs at most one request at a time for each key. Callers that come while a request runs share its answer. Make
// one with [NewGroup].
//
// A request that a caller has given up continues, and keeps its connection, until HAProxy answers or the group's timeout has
// passed. A master continues to wait for its worker's answer after the client has left, so ten abandoned requests would leave it
// without a connection. Measured on 2.6.12, 3.0.11 and 3.2.26.
//
// Unlike golang.org/x/sync/singleflight, a Group knows when a request began, which tells a busy HAProxy from an impatient caller.
type Group[T any] struct {
	stopped <-chan struct{}
	timeout time.Duration

	mu      sync.Mutex
	pending map[string]*request[T]
}

// A request is answered once done is closed.
type request[T any] struct {
	began time.Time
	done  chan struct{}
	value T
	err   error
}

// busyAfter is how long HAProxy has to be silent before it is taken to be busy.
const busyAfter = AnswerTimeout / 2

// NewGroup returns a group whose requests end after timeout, and when stopped is closed.
func NewGroup[T any](stopped <-chan struct{}, timeout time.Duration) *Group[T] {
	return &Group[T]{stopped: stopped, timeout: timeout, pending: map[string]*request[T]{}}
}

// Do returns the answer of the pending request for key, or of a new one that calls ask. If ctx is done first, it returns ErrBusy
// if HAProxy has had time to answer, and the cause of ctx otherwise.
func (g *Group[T]) Do(ctx context.Context, key string, ask func(ctx context.Context) (T, error)) (T, error) {
	r := g.join(key, ask)
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		if time.Since(r.began) < busyAfter {
			return none, context.Cause(ctx)
		}
		return none, ErrBusy
	}
}

func (g *Group[T]) join(key string, ask func(ctx context.Context) (T, error)) *request[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.pending[key]; r != nil {
		return r
	}
	r := &request[T]{began: time.Now(), done: make(chan struct{})}
	g.pending[key] = r
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	go func() {
		select {
		case <-g.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	go func() {
		defer cancel()
		r.value, r.err = ask(ctx)
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.pending[key] == r {
			delete(g.pending, key)
		}
		close(r.done)
	}()
	return r
}

// Forget makes the next Do for key send a new request, even while one is pending.
func (g *Group[T]) Forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.pending, key)
}

// SocketKey returns a key for the socket that is at path now. A socket that is created there later has another key.
func SocketKey(path string) string {
	found, err := os.Stat(path)
	if err != nil {
		return path
	}
	if system, ok := found.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%s %d", path, system.Ino)
	}
	return path
}
