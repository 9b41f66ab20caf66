package sdk

import (
	"context"
	"net/http"
)

// A Source watches one service registry.
type Source interface {
	// Watch calls emit with a complete [Snapshot] as soon as it has one and again after every change, from one goroutine at a
	// time. emit does not block for long. The snapshot must not be modified after the call.
	//
	// Watch blocks. It returns nil soon after ctx is done, and an error only when it cannot go on. It logs temporary
	// problems, such as a registry that does not answer, and emits nothing while they last. The daemon calls Watch again
	// after an error, but never twice at the same time.
	Watch(ctx context.Context, emit func(Snapshot)) error
}

// A Receiver is a [Source] that receives changes over HTTP instead of asking for them. The daemon serves its handler for POST
// /update and its aliases, before, during and after Watch. Only sources that are built into the daemon can be Receivers.
type Receiver interface {
	Source
	http.Handler
}

// A Reporter is a [Source] that reports its health. The daemon shows the problems, and keeps using the newest snapshot.
type Reporter interface {
	Source
	// Health returns the present problems. It may be called at any time and should answer within a second.
	Health(ctx context.Context) (Health, error)
}

// A Stopper is a [Source] or a [Sink] that releases something when it is stopped gracefully. Stop is the last call. It is not
// called when the daemon or the plugin crashes, so what must survive a crash must not depend on it.
type Stopper interface {
	Stop(ctx context.Context) error
}

// Health is the health of a [Sink] or a [Reporter].
type Health struct {
	Problems []string          // one sentence each; empty if there is no problem
	Facts    map[string]string // such as a version or a process id
}

// OK reports whether there is no problem.
func (h Health) OK() bool { return len(h.Problems) == 0 }
