package listen

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// maxTried bounds how many ports of a range [Listener.TryBind] tries.
const maxTried = 100

// TryBind listens on the addresses of l and closes them at once. It returns why HAProxy cannot bind one of them either, and nil
// where they are free or where only this process may lack the permission. [Listener.CanTry] must hold.
func (l Listener) TryBind(ctx context.Context) error {
	for n := range min(int(l.High)-int(l.Low)+1, maxTried) {
		address := netip.AddrPortFrom(l.Host, l.Low+uint16(n)).String()
		err := bind(ctx, l.Network+l.family(), address)
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			if op, ok := errors.AsType[*net.OpError](err); ok {
				return op.Err // without the address
			}
			return err
		}
	}
	return nil
}

// CanTry reports whether this process binds the addresses of l as HAProxy does: they are neither unix sockets nor transparent,
// nor of another network namespace or interface.
func (l Listener) CanTry() bool {
	return l.Network != Unix && !l.Has("namespace", "interface", "transparent")
}

func bind(ctx context.Context, network, address string) error {
	var config net.ListenConfig
	if strings.HasPrefix(network, UDP) {
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

// family returns the suffix that keeps package net from binding another address family than HAProxy.
func (l Listener) family() string {
	switch {
	case l.Dual:
		return ""
	case l.Host.Is4():
		return "4"
	default:
		return "6"
	}
}
