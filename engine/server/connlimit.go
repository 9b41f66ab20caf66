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

// A connLimiter bounds the connections of a listener, and those of each client. Where there are too many, one that waits for
// nothing but its client is closed for a new one: the one that has waited longest, of the client that has most. While all of
// them are at work, a few more are taken in reserve, which are for probes and pushes alone.
type connLimiter struct {
	net.Listener
	limits limits

	mu       sync.Mutex
	open     map[netip.Addr][]*limitedConn
	counted  int
	reserved int
	changed  chan struct{} // closed, and made anew, when a connection ended or waits
	closed   bool
}

func newConnLimiter(listener net.Listener, l limits) *connLimiter {
	return &connLimiter{Listener: listener, limits: l, open: map[netip.Addr][]*limitedConn{}, changed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *connLimiter) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &limitedConn{Conn: conn, limiter: l, client: clientOf(conn.RemoteAddr().String()), since: time.Now()}
		if l.admit(c) {
			return c, nil
		}
		_ = conn.Close()
	}
}

// Close implements [net.Listener].
func (l *connLimiter) Close() error {
	l.mu.Lock()
	l.closed = true
	l.change()
	l.mu.Unlock()
	return l.Listener.Close()
}

// admit makes room for c, or waits for it, and reports whether there is any.
func (l *connLimiter) admit(c *limitedConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed {
		own := len(l.open[c.client]) >= l.limits.share
		switch victim := l.idle(c.client, own); {
		case !own && l.counted < l.limits.connections:
			l.add(c)
			return true
		case victim != nil:
			l.remove(victim)
			_ = victim.Conn.Close()
			continue
		case l.reserved < l.limits.reserve && len(l.open[c.client]) < l.limits.share+l.limits.reserve/4:
			c.reserved = true
			l.add(c)
			return true
		case own:
			return false
		}
		l.await()
	}
	return false
}

// idle returns the connection to close for another one: of that client, or of the one with most; nil for none.
func (l *connLimiter) idle(client netip.Addr, own bool) *limitedConn {
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

func (l *connLimiter) longestIdle(client netip.Addr) *limitedConn {
	var longest *limitedConn
	for _, c := range l.open[client] {
		if !c.busy && time.Since(c.since) >= l.limits.grace && (longest == nil || c.since.Before(longest.since)) {
			longest = c
		}
	}
	return longest
}

// await waits until something may have changed. It is called with the lock held and lets go of it meanwhile.
func (l *connLimiter) await() {
	changed := l.changed
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-changed:
	case <-time.After(max(l.limits.grace, time.Millisecond)):
	}
}

func (l *connLimiter) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *connLimiter) add(c *limitedConn) {
	l.open[c.client] = append(l.open[c.client], c)
	if c.reserved {
		l.reserved++
	} else {
		l.counted++
	}
}

func (l *connLimiter) remove(c *limitedConn) {
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
	l.change()
}

// A limitedConn counts until it is closed. Its fields are guarded by the limiter's lock.
type limitedConn struct {
	net.Conn
	limiter  *connLimiter
	client   netip.Addr
	reserved bool
	busy     bool      // with a request whose header was read
	since    time.Time // when it was accepted, or its last request ended
}

// Close implements [net.Conn].
func (c *limitedConn) Close() error {
	c.limiter.mu.Lock()
	c.limiter.remove(c)
	c.limiter.mu.Unlock()
	return c.Conn.Close()
}

// begin notes that a request is being answered, and reports whether the connection is good for it.
func (c *limitedConn) begin(r *http.Request) bool {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	if c.reserved && !isProbe(r) && !isPush(r) {
		return false
	}
	c.busy = true
	return true
}

func (c *limitedConn) end() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.busy, c.since = false, time.Now()
	c.limiter.change()
}

type connKey struct{}

// withConn is for [http.Server.ConnContext].
func withConn(ctx context.Context, conn net.Conn) context.Context {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = wrapped.NetConn()
	}
	if c, ok := conn.(*limitedConn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// clientOf returns a peer's address: of an IPv6 one the /64, which who has any address of it has whole.
func clientOf(peer string) netip.Addr {
	addr, _ := addressOf(peer)
	if addr.Is6() {
		const subnet = 64
		prefix, _ := addr.Prefix(subnet) // an address has so many bits
		return prefix.Addr()
	}
	return addr
}
