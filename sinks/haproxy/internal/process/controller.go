package process

import (
	"context"
	"errors"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// A Controller controls one HAProxy. Load and Log are called by one goroutine at a time. The other methods change nothing and may
// be called concurrently.
type Controller interface {
	// Find returns the instance that runs, which is the zero value if none does. The error says why that cannot be known.
	Find(ctx context.Context) (Instance, error)

	// Load makes HAProxy serve the files that are on disk: it reloads a running HAProxy and starts a missing one. It returns
	// nil only after it has verified that HAProxy serves them, and a [LoadError] if HAProxy did not load them. It has no time
	// limit but ctx: loading a large configuration may take long, and a reload that is given up would only be started again.
	Load(ctx context.Context) (LoadResult, error)

	// Invocation returns how HAProxy is going to load the files on disk, for the check.
	Invocation(ctx context.Context) (Invocation, error)

	// Endpoint returns where the instance takes commands on the runtime API. It is an error if it takes none.
	Endpoint(now Instance) (runtimeapi.Endpoint, error)

	// ServingPid returns the process that accepts the connections of the instance, or 0 if it is unknown.
	ServingPid(now Instance) int

	// Log returns what HAProxy has logged since the last Load began, as far as that is known.
	Log() []string

	// SharesNetwork reports whether the instance, or the one that Load is going to start, is known to be in the network
	// namespace of this process, so that it can listen where this process can.
	SharesNetwork(now Instance) bool

	// Health returns what is wrong with the HAProxy that runs, within a second.
	Health(ctx context.Context) sdk.Health
}

// defaultResponseTimeout is how long a process may exist without doing what it otherwise does at once: write its pid file,
// answer on its socket, count a reload. It does not bound the time in which HAProxy loads a configuration.
const defaultResponseTimeout = 10 * time.Second

// notRunning is the problem that Health reports if no HAProxy runs.
const notRunning = "HAProxy is not running"

// A LoadResult is the outcome of a successful [Controller.Load].
type LoadResult struct {
	Instance Instance
	Action   string   // sdk.ActionReload or sdk.ActionRestart
	Reason   string   // why it was a restart; empty for a reload
	Log      []string // what HAProxy warned about
}

// A LoadError reports that HAProxy did not load the files, or did not keep running with them.
type LoadError struct {
	Message string
	Log     []string // what HAProxy logged
}

func (e *LoadError) Error() string {
	if causes := messages.Causes(e.Log); len(causes) > 0 {
		return e.Message + ": " + messages.Quote(causes)
	}
	return e.Message
}

// LogOf returns what HAProxy logged before a [LoadError], and nil for any other error.
func LogOf(err error) []string {
	if e, ok := errors.AsType[*LoadError](err); ok {
		return e.Log
	}
	return nil
}

// An UnchangedError is a [LoadError] after which the HAProxy from before runs on with the configuration that it had.
type UnchangedError struct{ LoadError }

func (e *UnchangedError) Unwrap() error { return &e.LoadError }
