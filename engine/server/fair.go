package server

import (
	"net"
	"net/netip"
	"sync"
)

// A fair listener closes at once what comes from an address that has its share of connections already: one client who keeps them
// open for nothing must not keep all others out.
type fair struct {
	net.Listener
	share int

	mu   sync.Mutex
	open map[netip.Addr]int
}

func newFair(listener net.Listener, share int) *fair {
	return &fair{Listener: listener, share: share, open: map[netip.Addr]int{}}
}

// Accept implements [net.Listener].
func (l *fair) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := householdOf(conn.RemoteAddr().String())
		if l.enter(peer) {
			return &fairConn{Conn: conn, leave: sync.OnceFunc(func() { l.exit(peer) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *fair) enter(peer netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[peer] >= l.share {
		return false
	}
	l.open[peer]++
	return true
}

func (l *fair) exit(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[peer]--; l.open[peer] == 0 {
		delete(l.open, peer)
	}
}

// householdOf returns a peer's address: of an IPv6 one the part that somebody has who has any address of it.
func householdOf(peer string) netip.Addr {
	addr, _ := addressOf(peer)
	if addr.Is6() {
		const household = 64
		prefix, _ := addr.Prefix(household) // an address has so many bits
		return prefix.Addr()
	}
	return addr
}

// A fairConn counts until it is closed.
type fairConn struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *fairConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
