package haproxy

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

// HAProxy would find out by itself which addresses are taken, but at the cost of traffic: measured on 2.6.12, a new process that
// cannot bind tells the old one to stop listening and goes on trying for about two seconds, in which every new connection is
// refused. `haproxy -c` does not look at addresses at all.

// recheckBinds is when an address that was taken may be free again.
const recheckBinds = 10 * time.Second

// checkBinds returns a rejection with the lines whose addresses others have, or which cannot be bound on this machine. It checks
// those only that the HAProxy which runs does not have. Where it is not known what that has, or where it listens, it is left to
// HAProxy.
func (s *Sink) checkBinds(ctx context.Context, now running, doc *document) error {
	if !s.proxy.sharesNetwork(now) {
		return nil
	}
	others, own, err := s.paths.listening(now, s.cfg.Binary)
	if inEffect := s.state.Load().applied(now); inEffect != nil {
		own = listen.Addresses(inEffect.files[0].Content)
	} else if err != nil && !now.none() {
		return nil
	}
	return rejectTaken(ctx, doc.files[0], own, others)
}

// rejectTaken is checkBinds for a HAProxy that has own, on a machine where others have theirs.
func rejectTaken(ctx context.Context, main stage.File, own []listen.Address, others []holder) error {
	var places []sdk.Position
	var first error
	for _, l := range listen.Listeners(main.Content) {
		err := taken(ctx, l, own, others)
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		places = append(places, sdk.Position{File: main.Name, Path: main.Path, Line: l.Line, Problem: fmt.Sprintf(
			"HAProxy cannot bind %s: %v; free the address or offer the service elsewhere", l.Address, err)})
	}
	if first == nil {
		return nil
	}
	return sdk.RetryAfter(&sdk.Rejection{Err: &bindError{first}, Positions: places}, recheckBinds)
}

// A bindError is around the reason why the first of several addresses cannot be bound. The places have all of them.
type bindError struct{ first error }

func (e *bindError) Error() string { return "HAProxy cannot listen as the configuration wants" }
func (e *bindError) Unwrap() error { return e.first }

// taken returns why HAProxy cannot bind l, and nil where it can or where that is not known. A new HAProxy has the listeners of the
// one before.
func taken(ctx context.Context, l listen.Listener, own []listen.Address, others []holder) error {
	if slices.Contains(own, l.Address) || !l.CanTry() {
		return nil
	}
	for _, other := range others {
		if other.address.Overlaps(l.Address) {
			return other
		}
	}
	if slices.ContainsFunc(own, l.Overlaps) {
		return nil
	}
	return l.TryBind(ctx)
}

// A holder is a process that listens on an address.
type holder struct {
	address listen.Address
	inode   uint64 // of its socket
}

func (h holder) Error() string {
	pid := procinfo.SocketOwner(h.inode)
	if pid == 0 {
		return fmt.Sprintf("another process listens on %s", h.address)
	}
	return fmt.Sprintf("process %d (%s) listens on %s", pid, procinfo.ProgramName(pid), h.address)
}

// Is reports that the address is in use.
func (h holder) Is(target error) bool { return target == syscall.EADDRINUSE }
