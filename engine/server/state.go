package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// stateCopies are the encoded states that clients read at the moment. Those who read the same one share it, however slowly they
// do; only a few different ones are held at once, since each takes many times a state's size while it is made.
type stateCopies struct {
	encode func(io.Writer, sdk.Snapshot) error
	slots  chan struct{} // has an element for each copy

	mu     sync.Mutex
	newest *stateCopy // nil for none
}

// A stateCopy is one encoded state.
type stateCopy struct {
	snapshot sdk.Snapshot
	readers  int           // guarded by stateCopies.mu
	ready    chan struct{} // closed once what follows is there
	content  []byte
	err      error
}

var errTooManyStates = errors.New("too many read older states now: ask again in a moment")

// get returns a copy of snap, to be given back with put. It waits for a slot until ctx is done, and returns errTooManyStates
// then.
func (c *stateCopies) get(ctx context.Context, snap sdk.Snapshot) (*stateCopy, error) {
	if shared := c.share(snap); shared != nil {
		return c.wait(ctx, shared)
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, errTooManyStates
	}
	c.mu.Lock()
	if shared := c.shareLocked(snap); shared != nil { // somebody else was faster
		c.mu.Unlock()
		<-c.slots
		return c.wait(ctx, shared)
	}
	made := &stateCopy{snapshot: snap, readers: 1, ready: make(chan struct{})}
	c.newest = made
	c.mu.Unlock()
	defer close(made.ready)
	var content bytes.Buffer
	made.err = c.encode(&content, snap)
	made.content = content.Bytes()
	return made, nil
}

func (c *stateCopies) wait(ctx context.Context, shared *stateCopy) (*stateCopy, error) {
	select {
	case <-shared.ready:
		return shared, nil
	case <-ctx.Done():
		c.put(shared)
		return nil, errTooManyStates
	}
}

func (c *stateCopies) share(snap sdk.Snapshot) *stateCopy {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shareLocked(snap)
}

func (c *stateCopies) shareLocked(snap sdk.Snapshot) *stateCopy {
	if c.newest == nil || !sameSnapshot(c.newest.snapshot, snap) {
		return nil
	}
	c.newest.readers++
	return c.newest
}

// put gives a copy back. The last one who does lets go of it.
func (c *stateCopies) put(one *stateCopy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one.readers--; one.readers > 0 {
		return
	}
	if c.newest == one {
		c.newest = nil
	}
	<-c.slots
}

// sameSnapshot reports whether a and b are the very same: snapshots never change.
func sameSnapshot(a, b sdk.Snapshot) bool {
	if a.Source != b.Source || a.Cluster != b.Cluster || !a.Taken.Equal(b.Taken) || !a.Changed.Equal(b.Changed) ||
		a.Last != b.Last || len(a.Services) != len(b.Services) {
		return false
	}
	return len(a.Services) == 0 || &a.Services[0] == &b.Services[0]
}

func (s *Server) state(w http.ResponseWriter, r *http.Request) {
	snap, ok := s.cfg.Engine.Snapshot(s.front.Load().Source)
	if !ok {
		answerErrors(w, http.StatusInternalServerError, "there is no state yet: nothing was received")
		return
	}
	turn, cancel := context.WithTimeout(r.Context(), s.limits.turn)
	defer cancel()
	one, err := s.states.get(turn, snap)
	if err != nil {
		answerErrors(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer s.states.put(one)
	if one.err != nil {
		s.cfg.Log.Error("the state cannot be encoded", "error", one.err)
		answerErrors(w, http.StatusInternalServerError, "the state cannot be encoded; the log has the reason")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(one.content) // a client that went away is no news
}
