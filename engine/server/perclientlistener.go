package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A perClientListener limits the connections of a listener, in total and for each client. When a limit is reached, it closes an
// idle connection for a new one: the one that has been idle longest, of the client with the most connections. While no connection
// is idle, it accepts a few more in reserve, which serve only probes and pushes.
type perClientListener struct {
	net.Listener
	limits limits

	mu       sync.Mutex
	open     map[netip.Addr][]*clientConn
	counted  int           // open connections that are not reserved
	reserved int           // open connections in reserve
	changed  chan struct{} // closed and replaced when a connection ends or becomes idle
	closed   bool
}

func newPerClientListener(listener net.Listener, l limits) *perClientListener {
	return &perClientListener{
		Listener: listener, limits: l, open: map[netip.Addr][]*clientConn{}, changed: make(chan struct{}),
	}
}

// Accept implements [net.Listener].
func (l *perClientListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &clientConn{Conn: conn, listener: l, client: clientOf(conn.RemoteAddr().String()), since: time.Now()}
		if l.acquire(c) {
			return c, nil
		}
		_ = conn.Close()
	}
}

// Close implements [net.Listener].
func (l *perClientListener) Close() error {
	l.mu.Lock()
	l.closed = true
	l.notify()
	l.mu.Unlock()
	return l.Listener.Close()
}

// acquire adds c to the open connections. It waits until the limits allow that, and reports false if the client has too many
// connections or the listener is closed.
func (l *perClientListener) acquire(c *clientConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed {
		full := len(l.open[c.client]) >= l.limits.perClient
		switch idle := l.idleConn(c.client, full); {
		case !full && l.counted < l.limits.connections:
			l.add(c)
			return true
		case idle != nil:
			l.remove(idle)
			_ = idle.Conn.Close()
			continue
		case l.reserved < l.limits.reserve && len(l.open[c.client]) < l.limits.perClient+l.limits.reserve/4:
			c.reserved = true
			l.add(c)
			return true
		case full:
			return false
		}
		l.wait()
	}
	return false
}

// idleConn returns the connection to close for a new one, or nil: a connection of the client if own is set, and otherwise of any
// client, preferring those with the most connections.
func (l *perClientListener) idleConn(client netip.Addr, own bool) *clientConn {
	if own {
		return l.longestIdle(client)
	}
	var clients []netip.Addr
	for other := range l.open {
		clients = append(clients, other)
	}
	slices.SortFunc(clients, func(a, b netip.Addr) int { return len(l.open[b]) - len(l.open[a]) })
	for _, other := range clients {
		if c := l.longestIdle(other); c != nil {
			return c
		}
	}
	return nil
}

func (l *perClientListener) longestIdle(client netip.Addr) *clientConn {
	var longest *clientConn
	for _, c := range l.open[client] {
		if !c.busy && time.Since(c.since) >= l.limits.idleGrace && (longest == nil || c.since.Before(longest.since)) {
			longest = c
		}
	}
	return longest
}

// wait waits until a connection may have become available. It releases the lock meanwhile.
func (l *perClientListener) wait() {
	changed := l.changed
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-changed:
	case <-time.After(max(l.limits.idleGrace, time.Millisecond)):
	}
}

// notify wakes up wait.
func (l *perClientListener) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *perClientListener) add(c *clientConn) {
	l.open[c.client] = append(l.open[c.client], c)
	if c.reserved {
		l.reserved++
	} else {
		l.counted++
	}
}

func (l *perClientListener) remove(c *clientConn) {
	i := slices.Index(l.open[c.client], c)
	if i < 0 {
		return
	}
	if l.open[c.client] = slices.Delete(l.open[c.client], i, i+1); len(l.open[c.client]) == 0 {
		delete(l.open, c.client)
	}
	if c.reserved {
		l.reserved--
	} else {
		l.counted--
	}
	l.notify()
}

// A clientConn is a connection that counts until it is closed. Its fields are guarded by the listener's lock.
type clientConn struct {
	net.Conn
	listener *perClientListener
	client   netip.Addr
	reserved bool
	busy     bool      // serving a request whose header was read
	since    time.Time // when it was accepted, or its last request ended
}

// Close implements [net.Conn].
func (c *clientConn) Close() error {
	c.listener.mu.Lock()
	c.listener.remove(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// begin marks the connection as busy with the request. It reports false if the connection is reserved for other requests.
func (c *clientConn) begin(r *http.Request) bool {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.reserved && !isProbe(r) && !isPush(r) {
		return false
	}
	c.busy = true
	return true
}

// end marks the connection as idle.
func (c *clientConn) end() {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	c.busy, c.since = false, time.Now()
	c.listener.notify()
}

type connKey struct{}

// withClientConn is for [http.Server.ConnContext].
func withClientConn(ctx context.Context, conn net.Conn) context.Context {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = wrapped.NetConn()
	}
	if c, ok := conn.(*clientConn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// clientOf returns the address of a peer. An IPv6 address is reduced to its /64 network, because one client has all of that.
func clientOf(peer string) netip.Addr {
	addr, _ := addressOf(peer)
	if addr.Is6() {
		const subnet = 64
		prefix, _ := addr.Prefix(subnet) // cannot fail for an IPv6 address
		return prefix.Addr()
	}
	return addr
}

var _ net.Listener = (*perClientListener)(nil)
