package haproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/cli"
)

// errBusy says that HAProxy has not answered in time although somebody takes connections at its socket. Mostly, as many
// connections are open as it accepts: ten to a worker, those by way of its master among them, and ten to the master.
var errBusy = errors.New("HAProxy does not answer on its socket: too many connections to it may be open, or it is busy")

// A question is asked at most once at a time under one key. Who asks while an answer is awaited gets that answer.
//
// An answer that does not come leaves its connection open until it does, and no other connection is opened meanwhile: a
// master goes on waiting for its worker's answer when who asked has left, so that ten questions that were given up would
// make it as deaf as its worker. Measured on 2.6.12, 3.0.11 and 3.2.26.
type question[T any] struct {
	stopped <-chan struct{} // ends every wait
	limit   time.Duration   // how long an answer is waited for before the question is asked again

	mu      sync.Mutex
	pending map[string]*answer[T]
}

// busyAfter is how long HAProxy has to be silent before it is taken to be busy.
const busyAfter = answerLimit / 2

// An answer is there once done is closed.
type answer[T any] struct {
	asked time.Time
	done  chan struct{}
	value T
	err   error
}

// put returns the answer, or errBusy where there is none before ctx is done although there was time for one.
func (q *question[T]) put(ctx context.Context, key string, ask func(ctx context.Context) (T, error)) (T, error) {
	a := q.begin(key, ask)
	select {
	case <-a.done:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		if time.Since(a.asked) < busyAfter {
			return none, context.Cause(ctx)
		}
		return none, errBusy
	}
}

func (q *question[T]) begin(key string, ask func(ctx context.Context) (T, error)) *answer[T] {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a := q.pending[key]; a != nil {
		return a
	}
	if q.pending == nil {
		q.pending = map[string]*answer[T]{}
	}
	a := &answer[T]{asked: time.Now(), done: make(chan struct{})}
	q.pending[key] = a
	ctx, cancel := context.WithTimeout(context.Background(), q.limit)
	go func() {
		select {
		case <-q.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	go func() {
		defer cancel()
		a.value, a.err = ask(ctx)
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.pending[key] == a {
			delete(q.pending, key)
		}
		close(a.done)
	}()
	return a
}

// forget has the next question under key asked although an answer is still awaited.
func (q *question[T]) forget(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pending, key)
}

// socketKey names the socket that is at path now, and not one that was there before.
func socketKey(path string) string {
	found, err := os.Stat(path)
	if err != nil {
		return path
	}
	if system, ok := found.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%s %d", path, system.Ino)
	}
	return path
}

// infos asks workers about themselves.
type infos struct{ question[info] }

const (
	// infoLimit is long, because each question that is given up may take one of the master's ten connections.
	infoLimit = time.Minute
	// startingLimit is short: HAProxy 3.2 does not answer some of the questions that reach a worker while it starts.
	startingLimit = 2 * time.Second
)

func newInfos(stopped <-chan struct{}, limit time.Duration) *infos {
	return &infos{question[info]{stopped: stopped, limit: limit}}
}

// handsOver reports whether a HAProxy hands its listening sockets over on the admin socket. One that takes no command does not.
func (i *infos) handsOver(ctx context.Context, admin string, log *slog.Logger) bool {
	if !answers(admin) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if _, err := i.of(ctx, cli.Endpoint{Path: admin}); errors.Is(err, errBusy) {
		log.Warn("the listening sockets are not handed over, so that connections may be lost", "error", err)
		return false
	}
	return true
}

func infoKey(to cli.Endpoint) string { return fmt.Sprintf("%s %d", socketKey(to.Path), to.Worker) }

// of asks the worker at that endpoint, and no other one, about itself.
func (i *infos) of(ctx context.Context, to cli.Endpoint) (info, error) {
	return i.put(ctx, infoKey(to), func(ctx context.Context) (info, error) {
		return masterSocket{to.Path}.info(ctx, to.Worker)
	})
}
