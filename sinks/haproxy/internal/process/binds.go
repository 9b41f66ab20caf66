package process

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/listen"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// bindRetry is when an address that is in use may be free again.
const bindRetry = 10 * time.Second

// CheckBinds returns a rejection with the lines of the main configuration file whose addresses are in use by other processes,
// or which cannot be bound on this machine. It does not try the addresses that the instance has. applied is the main file that
// the instance runs, or nil if that is unknown. If the addresses of the instance cannot be known, it leaves the check
// to HAProxy.
//
// Processes start and end while they are read, for example at the end of an interrupted reload, so that a listener of the
// instance may seem to belong to another process. CheckBinds therefore returns a rejection only if a second check confirms it.
//
// HAProxy itself finds out which addresses are in use, but at the cost of traffic: measured on 2.6.12, a new process that
// cannot bind tells the old one to stop listening and retries for about two seconds, in which every new connection is refused.
// `haproxy -c` does not check addresses.
func (c Config) CheckBinds(ctx context.Context, now Instance, main stage.File, applied []byte) error {
	if err := c.checkBindsOnce(ctx, now, main, applied); err == nil {
		return nil
	}
	return c.checkBindsOnce(ctx, now, main, applied)
}

func (c Config) checkBindsOnce(ctx context.Context, now Instance, main stage.File, applied []byte) error {
	others, own, err := c.listening(now)
	if applied != nil {
		own = listen.Addresses(applied)
	} else if err != nil && !now.None() {
		return nil
	}
	return checkBinds(ctx, main, own, others)
}

func checkBinds(ctx context.Context, main stage.File, own []listen.Address, others []socketHolder) error {
	var positions []sdk.Position
	var first error
	for _, l := range listen.Listeners(main.Content) {
		err := checkBind(ctx, l, own, others)
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		positions = append(positions, sdk.Position{File: main.Name, Path: main.Path, Line: l.Line, Problem: fmt.Sprintf(
			"HAProxy cannot bind %s: %v; free the address or offer the service elsewhere", l.Address, err)})
	}
	if first == nil {
		return nil
	}
	return sdk.RetryAfter(&sdk.Rejection{Err: &bindError{first}, Positions: positions}, bindRetry)
}

// A bindError wraps the reason why the first of several addresses cannot be bound. The positions have the reasons of all.
type bindError struct{ first error }

func (e *bindError) Error() string { return "HAProxy cannot listen on an address of the configuration" }
func (e *bindError) Unwrap() error { return e.first }

// checkBind returns why HAProxy cannot bind l, or nil if it can or that is unknown. A new HAProxy gets the
// listeners of the one that it replaces.
func checkBind(ctx context.Context, l listen.Listener, own []listen.Address, others []socketHolder) error {
	if slices.Contains(own, l.Address) || !l.CanTry() {
		return nil
	}
	for _, other := range others {
		if other.Address.Overlaps(l.Address) {
			return other
		}
	}
	if slices.ContainsFunc(own, l.Overlaps) {
		return nil
	}
	return l.TryBind(ctx)
}

// A socketHolder is the error for an address on which another process listens.
type socketHolder struct{ procinfo.Socket }

func (h socketHolder) Error() string {
	pid := procinfo.SocketOwner(h.Inode)
	if pid == 0 {
		return fmt.Sprintf("another process listens on %s", h.Address)
	}
	return fmt.Sprintf("process %d (%s) listens on %s", pid, procinfo.ProgramName(pid), h.Address)
}

// Is reports that the address is in use.
func (h socketHolder) Is(target error) bool { return target == syscall.EADDRINUSE }
