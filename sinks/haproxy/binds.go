package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
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
func (s *Sink) checkBinds(ctx context.Context, now running, doc *placed) error {
	if !s.proxy.sharesNetwork(now) {
		return nil
	}
	others, own, err := s.paths.listening(now, s.cfg.Binary)
	if inEffect := s.notes.inEffect(now); inEffect != nil {
		own = listenAddresses(inEffect.files[0].Content)
	} else if err != nil && !now.none() {
		return nil
	}
	return rejectTaken(ctx, doc.files[0], own, others)
}

// rejectTaken is checkBinds for a HAProxy that has own, on a machine where others have theirs.
func rejectTaken(ctx context.Context, main stage.File, own []listenAddress, others []holder) error {
	var places []sdk.Place
	var first error
	for _, l := range listenersOf(main.Content) {
		err := l.taken(ctx, own, others)
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		places = append(places, sdk.Place{File: main.Name, Path: main.Path, Line: l.line, Problem: fmt.Sprintf(
			"HAProxy cannot bind %s: %v; free the address or offer the service elsewhere", l.listenAddress, err)})
	}
	if first == nil {
		return nil
	}
	return sdk.RetryAfter(sdk.RejectAt(places, "%w", &bindError{first}), recheckBinds)
}

// A bindError is around the reason why the first of several addresses cannot be bound. The places have all of them.
type bindError struct{ first error }

func (e *bindError) Error() string { return "HAProxy cannot listen as the configuration wants" }
func (e *bindError) Unwrap() error { return e.first }

// taken returns why l cannot be bound, and nil where it can or nobody can tell. A new HAProxy has what the one before has.
func (l listener) taken(ctx context.Context, own []listenAddress, others []holder) error {
	if slices.ContainsFunc(own, func(a listenAddress) bool { return a == l.listenAddress }) ||
		l.network == "unix" || l.has("namespace", "interface", "transparent") {
		return nil
	}
	for _, other := range others {
		if other.address.overlaps(l.listenAddress) {
			return other
		}
	}
	if slices.ContainsFunc(own, l.overlaps) {
		return nil
	}
	return l.try(ctx)
}

// maxTried bounds how many ports of a range are tried.
const maxTried = 100

// try listens for a moment on the addresses of l.
func (l listener) try(ctx context.Context) error {
	for n := range min(int(l.high)-int(l.low)+1, maxTried) {
		address := netip.AddrPortFrom(l.host, l.low+uint16(n)).String()
		// HAProxy may have rights or ways that we have not.
		if err := tryAddress(ctx, l.network+l.family(), address); err != nil && hopeless(err) {
			return causeOf(err)
		}
	}
	return nil
}

func tryAddress(ctx context.Context, network, address string) error {
	var config net.ListenConfig
	if strings.HasPrefix(network, "udp") {
		packets, err := config.ListenPacket(ctx, network, address)
		if err == nil {
			_ = packets.Close()
		}
		return err
	}
	connections, err := config.Listen(ctx, network, address)
	if err == nil {
		_ = connections.Close() // nothing was accepted
	}
	return err
}

// family keeps package net from binding another family than HAProxy.
func (l listener) family() string {
	switch {
	case l.dual:
		return ""
	case l.host.Is4():
		return "4"
	default:
		return "6"
	}
}

// hopeless reports whether HAProxy cannot bind the address either.
func hopeless(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// causeOf leaves out the address, which the sentence has already.
func causeOf(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// A holder is a process that listens on an address.
type holder struct {
	address listenAddress
	inode   uint64 // of its socket
}

func (h holder) Error() string {
	pid := socketOwner(h.inode)
	if pid == 0 {
		return fmt.Sprintf("another process listens on %s", h.address)
	}
	return fmt.Sprintf("process %d (%s) listens on %s", pid, programName(pid), h.address)
}

// Is reports that the address is in use.
func (h holder) Is(target error) bool { return target == syscall.EADDRINUSE }
