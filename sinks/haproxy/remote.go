package haproxy

import "sync"

// A remote knows whether a reload command serves a HAProxy of which no process can be seen from here: in another container
// or on another host. Only a HAProxy that was never seen is taken for one. One that was seen and is gone has ended.
type remote struct {
	mu      sync.Mutex
	begun   bool
	visible bool // a process was seen, in this life or the one before
	assumed bool // the command was run and nothing was seen afterwards
}

// seen notes whether a process was seen, and reports whether HAProxy is assumed to run where none can be. The state file is
// what the process before us has left: one without process ids is about such a HAProxy.
func (r *remote) seen(visible bool, stateFile string) (unseen bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun {
		r.begun = true
		if left, have := readStateFile(stateFile); have {
			r.visible, r.assumed = len(left.Pids) > 0, len(left.Pids) == 0
		}
	}
	if visible {
		r.visible, r.assumed = true, false
	}
	return r.assumed
}

// assume notes that HAProxy may run where it cannot be seen, and reports whether that can be.
func (r *remote) assume() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.assumed = !r.visible
	return r.assumed
}
