package haproxy

import (
	"context"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// companions remembers which companion files the sink has written, also before a restart, so that those are removed that no
// document has any more. The zero value remembers none.
type companions struct {
	mu      sync.Mutex
	written stage.Written // may be on disk; those that are in effect too
	settled stage.Written // what else was written when the files in effect were last put there
	loads   int           // how often HAProxy had been told to load something then
	since   time.Time     // when HAProxy last loaded something, or another companion was no longer needed

	unremoved logdedup.Fault
}

// load takes over what the process before has written.
func (c *companions) load(left stateFile, main string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = left.companions(main)
	c.since = time.Now()
}

// add notes that files, the main one first, are about to be written, and reports whether that has to be recorded first.
func (c *companions) add(files []stage.File) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written == nil {
		c.written = stage.Written{}
	}
	return c.written.Add(files)
}

// settle notes that files are in effect, after HAProxy was told so often to load something, and returns a copy of what else is
// written.
func (c *companions) settle(files []stage.File, loads int) stage.Written {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written == nil {
		c.written = stage.Written{}
	}
	obsolete := c.written.Replace(files)
	for name := range obsolete {
		if _, before := c.settled[name]; !before || loads != c.loads {
			c.since = time.Now()
		}
	}
	c.settled, c.loads = maps.Clone(obsolete), loads
	return obsolete
}

// all returns a copy of what is written, whether it is in effect or not.
func (c *companions) all() stage.Written {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.written)
}

// obsolete returns a copy of what is written and not among files, and since when no process that needs it was started.
func (c *companions) obsolete(files []stage.File) (stage.Written, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written.Obsolete(files), c.since
}

func (c *companions) forget(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		delete(c.written, name)
	}
}

// announce records that files, the main one first, are about to be written, so that a crash leaves no companion that nobody
// remembers. The caller holds s.files.
func (s *Sink) announce(files []stage.File) {
	if s.companions.add(files) {
		left, _ := readStateFile(s.paths.state)
		left.Written = s.companions.all()
		s.record(left)
	}
}

// record writes the state file and reports whether that was possible. The caller holds s.files.
func (s *Sink) record(r stateFile) bool {
	if err := s.writeStateFile(r, s.paths.state); err != nil {
		s.recording.Warn(s.log, "a restart of haproxy-api will cost a reload of HAProxy", err)
		return false
	}
	s.recording.Resolve(s.log, "a restart of haproxy-api costs no reload of HAProxy again")
	return true
}

// observeCompanions removes companions that were still needed when others took their place.
func (s *supervisor) observeCompanions(ctx context.Context) {
	doc := s.state.Load().appliedOnDisk()
	if doc == nil {
		return
	}
	if obsolete, _ := s.companions.obsolete(doc.files); len(obsolete) == 0 {
		return
	}
	now, err := s.controller.Find(ctx) // which workers are left is known only now
	if err != nil || !s.tryLockFiles() {
		return
	}
	defer s.unlockFiles()
	s.removeObsolete(now)
}

// removeObsolete removes the companion files that the document on disk, which the HAProxy in now serves, has no more. It waits
// until no process is left that may have loaded them. The caller holds s.files.
func (s *Sink) removeObsolete(now process.Instance) {
	st := s.state.Load()
	doc := st.appliedOnDisk()
	if doc == nil || !now.Same(st.running) {
		return
	}
	obsolete, since := s.companions.obsolete(doc.files)
	if len(obsolete) == 0 || !s.hasDrained(now, since) {
		return
	}
	texts := s.loadedTexts()
	for _, f := range doc.files {
		texts = append(texts, f.Content)
	}
	forgot, err := obsolete.Remove(s.paths.ConfigFile, s.log, texts...)
	if err != nil {
		s.companions.unremoved.Warn(s.log, "files that are no longer needed stay for now", err)
	} else {
		s.companions.unremoved.Resolve(s.log, "files that are no longer needed can be removed again")
	}
	if len(forgot) > 0 {
		s.companions.forget(forgot)
		s.recordedDoc = nil
		s.updateStateFile()
	}
}

// hasDrained reports whether the processes have ended that were replaced, those of a master that was itself replaced too. A
// reload command does not tell, but they have drain_timeout.
func (s *Sink) hasDrained(now process.Instance, since time.Time) bool {
	if s.cfg.byCommand() {
		return time.Since(since) >= s.cfg.DrainTimeout
	}
	return len(s.paths.OldWorkers(now)) == 0
}

// loadedTexts returns the content of the configuration files that HAProxy reads besides those of the document.
func (s *Sink) loadedTexts() [][]byte {
	l, err := s.controller.Invocation(context.Background())
	if err != nil {
		return nil
	}
	var texts [][]byte
	for _, file := range l.Files() {
		if file == s.paths.ConfigFile {
			continue
		}
		if content, err := os.ReadFile(file); err == nil {
			texts = append(texts, content)
		}
	}
	return texts
}
