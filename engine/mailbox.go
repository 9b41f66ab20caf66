package engine

import "sync"

// A mailbox holds the newest value and notifies one reader of new ones. Older values that were not read are dropped.
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

// fill sets the value without notifying the reader.
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

// A signal notifies one receiver. Signals that are raised before it receives are merged into one.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}
