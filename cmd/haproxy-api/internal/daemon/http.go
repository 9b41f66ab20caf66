package main

import (
	"context"
	"net"
	"sync"
)

// desks are where HTTP is served: at one address, and for a moment after that has changed at the one before as well.
type desks struct {
	serve func(context.Context, net.Listener)

	mu     sync.Mutex
	closed bool
	at     net.Addr           // of the current one; nil for none
	leave  context.CancelFunc // ends the current one; nil for none
	busy   sync.WaitGroup
}

// open serves at listener, and lets requests finish where it was served before. Once all is closed nothing is opened.
func (d *desks) open(listener net.Listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = listener.Close()
		return
	}
	before := d.leave
	ctx, leave := context.WithCancel(context.Background())
	d.at, d.leave = listener.Addr(), leave
	d.busy.Go(func() {
		defer leave()
		d.serve(ctx, listener)
	})
	if before != nil {
		before()
	}
}

// address returns where HTTP is served.
func (d *desks) address() net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

// close lets requests under way finish and returns what is closed when they have.
func (d *desks) close() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.leave != nil {
		d.leave()
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		d.busy.Wait()
	}()
	return closed
}
