// Package systemd reports the state of the daemon to the service manager that started it: readiness, a line of status, reloads of
// the configuration, the end, and the pings of the watchdog. It implements the protocol of sd_notify(3).
package systemd

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/internal/logdedup"
)

const (
	// statusInterval is the time between two reports of the status.
	statusInterval = 5 * time.Second
	// readyInterval is the time between two reports until the daemon is ready.
	readyInterval = 200 * time.Millisecond
	// sendTimeout bounds one message. A service manager that hangs must not keep the daemon from shutting down.
	sendTimeout = 500 * time.Millisecond
)

// A Reporter reports the state of the daemon. [*server.Server] is one.
type Reporter interface {
	// NotReady returns why the daemon is not ready, and nothing if it is.
	NotReady() []string
	// Status returns within a few seconds, also if a sink or a source hangs.
	Status(ctx context.Context) server.Status
}

// A Notifier sends messages to the service manager. A nil Notifier sends none.
type Notifier struct {
	send     func(message string) error
	watchdog time.Duration // the service manager ends the daemon after this time without a ping; 0 for never
	failed   logdedup.Fault
	log      *slog.Logger

	mu      sync.Mutex // also keeps the messages in order
	ready   bool       // READY=1 was sent
	text    string     // the last status that was sent
	stopped bool       // STOPPING=1 was sent, which only Failed may follow
}

// FromEnvironment returns a notifier for the service manager in the environment variables NOTIFY_SOCKET, WATCHDOG_USEC and
// WATCHDOG_PID, and nil if there is none. It removes the variables, so that plugins, HAProxy and commands do not inherit them: a
// HAProxy with the option -Ws would report its own state for the daemon.
func FromEnvironment(log *slog.Logger) *Notifier {
	socket := os.Getenv("NOTIFY_SOCKET")
	_ = os.Unsetenv("NOTIFY_SOCKET") // fails only for an invalid name
	watchdog, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		log.Warn("watchdog of the service manager cannot be used", "error", err)
	}
	if socket == "" {
		return nil
	}
	// Not daemon.SdNotify, which reads the environment variable each time.
	address := &net.UnixAddr{Name: socket, Net: "unixgram"}
	return &Notifier{log: log, watchdog: watchdog, send: func(message string) error {
		conn, err := net.DialUnix("unixgram", nil, address)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
			return err
		}
		_, err = conn.Write([]byte(message))
		return err
	}}
}

// Run reports readiness and the status until ctx is done. It pings the watchdog as long as it gets the status: a daemon whose
// engine is deadlocked is restarted, and one whose sink hangs is not.
func (n *Notifier) Run(ctx context.Context, reporter Reporter) {
	if n == nil {
		return
	}
	for {
		began := time.Now()
		status := reporter.Status(ctx)
		if ctx.Err() != nil {
			return
		}
		interval := n.report(status, len(reporter.NotReady()) == 0)
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval - time.Since(began)): // the watchdog does not wait for a slow sink
		}
	}
}

// report sends what has changed and a ping, and returns the time from one report to the next. What could not be sent is sent the
// next time. Readiness is reported once: a configuration reload that adds a pipeline does not make the service start again.
func (n *Notifier) report(status server.Status, ready bool) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return statusInterval
	}
	var messages []string
	if ready && !n.ready {
		messages = append(messages, daemon.SdNotifyReady)
	}
	text := describe(status)
	if text != n.text {
		messages = append(messages, "STATUS="+text)
	}
	if n.watchdog > 0 {
		messages = append(messages, daemon.SdNotifyWatchdog)
	}
	if n.notifyLocked(messages...) {
		n.ready, n.text = n.ready || ready, text
	}
	interval := statusInterval
	if !n.ready {
		interval = readyInterval
	}
	if n.watchdog > 0 {
		interval = min(interval, n.watchdog/2)
	}
	return interval
}

// Reloading reports that a configuration reload begins. Reloaded must follow. Before the daemon is ready neither reports
// anything, because the end of a reload is reported as readiness.
func (n *Notifier) Reloading() {
	n.notifyIfReady(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
}

// Reloaded reports that a configuration reload has ended, with or without success.
func (n *Notifier) Reloaded() { n.notifyIfReady(daemon.SdNotifyReady) }

// Stopping reports that the daemon shuts down. Only Failed sends something after it.
func (n *Notifier) Stopping() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notifyLocked(daemon.SdNotifyStopping, "STATUS=stopping")
	n.stopped = true
}

// Failed reports why the daemon ends.
func (n *Notifier) Failed(err error) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notifyLocked("STATUS=" + oneLine("failed: "+err.Error()))
}

// notifyIfReady sends the messages if the daemon is ready and does not shut down. If that fails, the daemon is reported as ready
// again, so that the service manager does not wait for the end of a reload.
func (n *Notifier) notifyIfReady(messages ...string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ready && !n.stopped {
		n.ready = n.notifyLocked(messages...)
	}
}

// notifyLocked sends the messages in one datagram and reports whether it could.
func (n *Notifier) notifyLocked(messages ...string) bool {
	if len(messages) == 0 {
		return true
	}
	if err := n.send(strings.Join(messages, "\n")); err != nil {
		n.failed.Warn(n.log, "the service manager cannot be notified", err)
		return false
	}
	n.failed.Resolve(n.log, "service manager notified again")
	return true
}
