package haproxy

import (
	"fmt"
	"sync"
	"time"
)

// notes is what the sink knows about its HAProxy, for readers that must not wait for a change to end.
type notes struct {
	mu      sync.Mutex
	content *placed // what HAProxy should run; nil while there is nothing to keep alive
	disk    *placed // what was last put on disk, after the check; another one than content while the disk follows
	known   bool    // content is what the HAProxy in now serves
	ours    bool    // content was offered to this process, and is not only what the one before left
	guarded bool    // HAProxy is to run: something was in effect before, by us or by the process before us
	loaded  *loaded // what HAProxy loaded beside content

	proven   *placed   // what HAProxy last stayed up with, or what it served first; nil while that is not known
	now      running   // the HAProxy that serves
	since    time.Time // when it began to
	renewal  time.Time // when the renewal under way began; zero if none is
	trouble  error     // why HAProxy could not be started again
	unsaved  error     // why what runs could not be written to disk
	refused  error     // what HAProxy was changed to and back again, because its check refused it
	straying error     // what HAProxy runs that it should not, and a reload has not helped

	loads             int    // how often HAProxy was told to load something
	reloads, runtimes int    // how often HAProxy was changed by each way
	restarts          int    // how often it was started again after it ended
	old               []int  // workers that were replaced, as of the last look
	oldEnded          int    // how many of them were ended because there were too many
	leaving           int    // servers that finish what they have
	tooOld            string // says that HAProxy's version takes no changes at run time
	last              string // the last change, for people
}

// settle notes that now serves doc, which is also on disk; nil is for not knowing which. From then on HAProxy is to run
// if there is a document.
func (n *notes) settle(doc *placed, now running) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.meet(now)
	if n.proven == nil && doc != nil && doc != n.content {
		n.proven = n.content // has not run for long, or may not run now, and is still the best one to go back to
	}
	n.trouble, n.known = nil, doc != nil
	if doc != nil {
		n.content, n.disk, n.guarded, n.unsaved, n.refused = doc, doc, true, nil, nil
	}
}

// load notes what HAProxy loaded beside the document.
func (n *notes) load(l loaded) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loaded = &l
}

// loadedBeside returns what HAProxy loaded beside the document, as far as that is known. It is never nil.
func (n *notes) loadedBeside() *loaded {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.loaded == nil {
		n.loaded = &loaded{}
	}
	return n.loaded
}

// changed notes that the HAProxy that serves was changed to doc while it runs. The disk has to follow.
func (n *notes) changed(doc *placed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.content, n.ours, n.refused = doc, true, nil
	n.runtimes++
}

// tookBack notes that HAProxy was changed back to what is on disk.
func (n *notes) tookBack(cause error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.content, n.unsaved, n.refused = n.disk, nil, cause
}

// discardChanges notes that what HAProxy was changed to at run time cannot be brought back.
func (n *notes) discardChanges() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.content, n.unsaved = n.disk, nil
}

// stray notes what HAProxy runs that it should not; nil is for nothing.
func (n *notes) stray(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.straying = err
}

// persisted notes that doc, which HAProxy was changed to, is on disk.
func (n *notes) persisted(doc *placed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.disk, n.unsaved = doc, nil
}

// persistFailed notes why what runs could not be written to disk.
func (n *notes) persistFailed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unsaved = err
}

// persistFault returns why what runs could not be written to disk, and nil once something that ran later is there.
func (n *notes) persistFault() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.unsaved
}

// served returns what was last on disk of what HAProxy serves, and that HAProxy; nil where that is not known.
func (n *notes) served() (disk *placed, now running) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.known {
		return nil, n.now
	}
	return n.disk, n.now
}

// pending returns what HAProxy was changed to where that is not on disk, and nil otherwise.
func (n *notes) pending() *placed {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.known || n.content == n.disk {
		return nil
	}
	return n.content
}

// owe notes that HAProxy should run, with doc if that is known, and does not.
func (n *notes) owe(doc *placed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.content, n.disk, n.guarded = doc, doc, true
}

// offered notes that what is in effect was offered to this process.
func (n *notes) offered() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ours, n.refused = true, nil
}

// lose notes that now serves something that is not known.
func (n *notes) lose(now running) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.meet(now)
	n.known = false
}

func (n *notes) meet(now running) {
	if !now.same(n.now) {
		n.since = time.Now()
	}
	n.now = now
}

// astray returns what HAProxy should serve, if it was offered to this process and it is not known that it does.
func (n *notes) astray() *placed {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known || !n.ours {
		return nil
	}
	return n.content
}

// prove notes that HAProxy has stayed up with what it should run.
func (n *notes) prove() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known {
		n.proven = n.content
	}
}

// unproven returns what HAProxy should run and what it last stayed up with; nil is for not knowing.
func (n *notes) unproven() (content, proven *placed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.content, n.proven
}

// restarting notes that HAProxy is started again after it ended.
func (n *notes) restarting() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.restarts++
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
		n.loads++
	}
}

// reloading notes that the HAProxy that runs is told to load something.
func (n *notes) reloading() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reloads++
}

// tell notes the last change for people.
func (n *notes) tell(last string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = last
}

// oldWorkers notes which workers that were replaced are there, and how many more were ended now.
func (n *notes) oldWorkers(old []int, ended int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.old = old
	n.oldEnded += ended
}

// leave notes how many servers finish what they have.
func (n *notes) leave(leaving int, tooOld string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leaving, n.tooOld = leaving, tooOld
}

// inEffect returns what the HAProxy in now serves, or nil if that is not known.
func (n *notes) inEffect(now running) *placed {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.known || !now.same(n.now) {
		return nil
	}
	return n.content
}

// wanted returns what HAProxy should run and what is on disk, or nil where that is not known.
func (n *notes) wanted() (content, disk *placed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.content, n.disk
}

// servingSince returns when the HAProxy that serves, or served last, began to.
func (n *notes) servingSince() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.since
}

func (n *notes) running() running {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// A view is one moment of the notes.
type view struct {
	guarded bool
	known   bool
	now     running
	uptime  time.Duration // how long now has served
	renewal time.Duration // how long the renewal under way has taken; 0 if none is
	trouble error
	wrong   []error // what else is wrong

	loads, reloads, runtimes, restarts, leaving, oldEnded int

	old          []int
	tooOld, last string
}

func (n *notes) view() view {
	n.mu.Lock()
	defer n.mu.Unlock()
	v := view{
		guarded: n.guarded, known: n.known, now: n.now, trouble: n.trouble,
		loads: n.loads, reloads: n.reloads, runtimes: n.runtimes, restarts: n.restarts, leaving: n.leaving,
		tooOld: n.tooOld, last: n.last, old: n.old, oldEnded: n.oldEnded,
	}
	if n.unsaved != nil {
		v.wrong = append(v.wrong, fmt.Errorf("the configuration on disk does not follow what HAProxy runs, so that a restart "+
			"would bring back the one before: %w", n.unsaved))
	}
	for _, err := range []error{n.refused, n.straying} {
		if err != nil {
			v.wrong = append(v.wrong, err)
		}
	}
	if !n.now.none() {
		v.uptime = time.Since(n.since)
	}
	if !n.renewal.IsZero() {
		v.renewal = time.Since(n.renewal)
	}
	return v
}
