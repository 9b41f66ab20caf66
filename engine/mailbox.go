package engine

import "sync"

// A mailbox holds the newest value put into it and tells one reader that there is a new one. Values that were overtaken
// before the reader came are gone.
type mailbox[T any] struct {
	ready signal

	mu     sync.Mutex
	newest T
	filled bool
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{ready: newSignal()} }

func (m *mailbox[T]) put(v T) {
	m.fill(v)
	m.ready.raise()
}

// fill puts a value in that the reader finds when it looks for another reason.
func (m *mailbox[T]) fill(v T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.newest, m.filled = v, true
}

// latest returns the newest value, read before or not, and whether there is one.
func (m *mailbox[T]) latest() (T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest, m.filled
}

// A signal is raised any number of times and received once.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}
