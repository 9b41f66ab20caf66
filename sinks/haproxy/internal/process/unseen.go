package process

import "sync"

// An unseenTracker knows whether a reload command serves a HAProxy of which no process is visible from here, because it runs in
// another container or on another host. Only a HAProxy that was never visible is assumed to run unseen. One that was visible
// and is gone has ended.
type unseenTracker struct {
	// previous returns the processes of the instance that an earlier process has recorded, and false if it recorded none.
	previous func() (pids []int, known bool)

	mu      sync.Mutex
	loaded  bool
	visible bool // a process was visible, to this process or the previous one
	assumed bool // the command was run, and no process was visible afterwards
}

// observe records whether a process is visible, and reports whether HAProxy is assumed to run unseen.
func (u *unseenTracker) observe(visible bool) (unseen bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.loaded {
		u.loaded = true
		if pids, known := u.previous(); known {
			u.visible, u.assumed = len(pids) > 0, len(pids) == 0
		}
	}
	if visible {
		u.visible, u.assumed = true, false
	}
	return u.assumed
}

// assume records that the command was run and no process is visible. It reports whether HAProxy can be assumed to run unseen.
func (u *unseenTracker) assume() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.assumed = !u.visible
	return u.assumed
}
