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

func (s *Server) getState(w http.ResponseWriter, r *http.Request) {
	snap, ok := s.cfg.Engine.Snapshot(s.front.Load().Source)
	if !ok {
		writeErrors(w, http.StatusInternalServerError, "there is no state yet: nothing was received")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.stateCopyWait)
	defer cancel()
	state, err := s.states.acquire(ctx, snap)
	if err != nil {
		writeErrors(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer s.states.release(state)
	if state.err != nil {
		s.encodeFault.Error(s.cfg.Log, "the state cannot be encoded", state.err)
		writeErrors(w, http.StatusInternalServerError, "the state cannot be encoded; the log has the reason")
		return
	}
	s.encodeFault.Resolve(s.cfg.Log, "the state can be encoded again")
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(state.content) // an error means that the client is gone
}

// stateCopies are the encoded states that are being written to clients. Clients that read the same state share one copy, however
// slowly they read. Only a few copies are held at once, because encoding one takes many times the memory of the state.
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
	ready    chan struct{} // closed once content and err are set
	content  []byte
	err      error
}

var errTooManyStates = errors.New("too many clients are reading older states: ask again in a moment")

// acquire returns an encoded copy of snap, which the caller must release. It waits until ctx is done for a slot or for the
// encoding by another caller, and then returns errTooManyStates.
func (c *stateCopies) acquire(ctx context.Context, snap sdk.Snapshot) (*stateCopy, error) {
	if shared := c.share(snap); shared != nil {
		return c.wait(ctx, shared)
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, errTooManyStates
	}
	c.mu.Lock()
	if shared := c.shareLocked(snap); shared != nil { // made by another caller meanwhile
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
		c.release(shared)
		return nil, errTooManyStates
	}
}

// share returns the newest copy with one more reader if it is one of snap, or nil.
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

// release removes a reader. The last one frees the copy.
func (c *stateCopies) release(state *stateCopy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state.readers--; state.readers > 0 {
		return
	}
	if c.newest == state {
		c.newest = nil
	}
	<-c.slots
}

// sameSnapshot reports whether a and b are the same observation. It compares addresses, because snapshots are never modified.
func sameSnapshot(a, b sdk.Snapshot) bool {
	if a.Source != b.Source || a.Cluster != b.Cluster || !a.Taken.Equal(b.Taken) || !a.Changed.Equal(b.Changed) ||
		a.Last != b.Last || len(a.Services) != len(b.Services) {
		return false
	}
	return len(a.Services) == 0 || &a.Services[0] == &b.Services[0]
}
