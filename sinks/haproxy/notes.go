package haproxy

import (
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// notes is what the sink knows about its HAProxy, for readers that must not wait for a change to end.
type notes struct {
	mu      sync.Mutex
	content []stage.File // the files that were last in effect, the main one first; nil while there is nothing to keep alive
	known   bool         // content is what the HAProxy in now serves
	guarded bool         // HAProxy is to run: something was in effect before, by us or by the process before us
	now     running      // the HAProxy that serves
	since   time.Time    // when it began to
	renewal time.Time    // when the renewal under way began; zero if none is
	trouble error        // why HAProxy could not be started again
}

// settle notes that now serves files; nil is for not knowing which. From then on HAProxy is to run if there are files.
func (n *notes) settle(files []stage.File, now running) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !now.same(n.now) {
		n.since = time.Now()
	}
	n.now, n.trouble, n.known = now, nil, files != nil
	if files != nil {
		n.content, n.guarded = files, true
	}
}

// owe notes that HAProxy should run, with files if they are known, and does not.
func (n *notes) owe(files []stage.File) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.content, n.guarded = files, true
}

// failed notes that HAProxy could not be started.
func (n *notes) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trouble = err
}

// renewing notes that HAProxy is, or no longer is, being told to load something.
func (n *notes) renewing(begins bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.renewal = time.Time{}
	if begins {
		n.renewal = time.Now()
	}
}

// inEffect returns the files that the HAProxy in now serves, or nil if that is not known.
func (n *notes) inEffect(now running) []stage.File {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.known || !now.same(n.now) {
		return nil
	}
	return n.content
}

// wanted returns the files that were last in effect, or nil if they are not known.
func (n *notes) wanted() []stage.File {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.content
}

func (n *notes) running() running {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// A view is one moment of the notes.
type view struct {
	guarded bool
	now     running
	uptime  time.Duration // how long now has served
	renewal time.Duration // how long the renewal under way has taken; 0 if none is
	trouble error
}

func (n *notes) view() view {
	n.mu.Lock()
	defer n.mu.Unlock()
	v := view{guarded: n.guarded, now: n.now, trouble: n.trouble}
	if !n.now.none() {
		v.uptime = time.Since(n.since)
	}
	if !n.renewal.IsZero() {
		v.renewal = time.Since(n.renewal)
	}
	return v
}
