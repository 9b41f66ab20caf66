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

// companions are the companion files that the sink has written, also before a restart. They are removed when the applied document
// no longer has them, and no process needs them. The zero value is empty. It is safe for concurrent use.
type companions struct {
	mu       sync.Mutex
	written  stage.Written // all that may be on disk
	replaced stage.Written // those that were not part of the applied document when it was last recorded
	loads    int           // how often HAProxy had been told to load something then
	since    time.Time     // when HAProxy last loaded something, or another companion was replaced

	removing logdedup.Fault
}

// load takes over what the previous process has written.
func (c *companions) load(left stateFile, main string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = left.companions(main)
	c.since = time.Now()
}

// add records that files, the main one first, are about to be written. It reports whether the state file does not list them yet.
func (c *companions) add(files []stage.File) (isNew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written == nil {
		c.written = stage.Written{}
	}
	return c.written.Add(files)
}

// replace records that files are those of the applied document, after HAProxy was told loads times to load something. It returns
// a copy of the other written ones.
func (c *companions) replace(files []stage.File, loads int) stage.Written {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written == nil {
		c.written = stage.Written{}
	}
	obsolete := c.written.Replace(files)
	for name := range obsolete {
		if _, before := c.replaced[name]; !before || loads != c.loads {
			c.since = time.Now()
		}
	}
	c.replaced, c.loads = maps.Clone(obsolete), loads
	return obsolete
}

// all returns a copy of everything written.
func (c *companions) all() stage.Written {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.written)
}

// obsolete returns a copy of what is written and not among files, and since when no process was started that needs it.
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

// announce lists files, the main one first, in the state file before they are written, so that a later process knows about them
// after a crash. The caller holds s.files.
func (s *Sink) announce(files []stage.File) {
	if s.companions.add(files) {
		left, _ := readStateFile(s.paths.state)
		left.Written = s.companions.all()
		s.saveStateFile(left)
	}
}

// removeUnneededCompanions removes companions that were still needed when they were replaced.
func (s *supervisor) removeUnneededCompanions(ctx context.Context) {
	doc := s.state.Load().appliedOnDisk()
	if doc == nil {
		return
	}
	if obsolete, _ := s.companions.obsolete(doc.files); len(obsolete) == 0 {
		return
	}
	now, err := s.controller.Find(ctx) // for the workers that are left
	if err != nil || !s.tryLockFiles() {
		return
	}
	defer s.unlockFiles()
	s.removeObsolete(now)
}

// removeObsolete removes the companion files that the applied document does not have, once no process is left that may have
// loaded them. The caller holds s.files.
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
	texts := s.otherConfigFiles()
	for _, f := range doc.files {
		texts = append(texts, f.Content)
	}
	removed, err := obsolete.Remove(s.paths.ConfigFile, s.log, texts...)
	if err != nil {
		s.companions.removing.Warn(s.log, "cannot remove files that are no longer needed", err)
	} else {
		s.companions.removing.Resolve(s.log, "removed files that are no longer needed")
	}
	if len(removed) > 0 {
		s.companions.forget(removed)
		s.recorded.doc = nil
		s.updateStateFile()
	}
}

// hasDrained reports whether the replaced processes have ended, including those of a replaced master. With a reload command they
// are not known, so it waits for drain_timeout.
func (s *Sink) hasDrained(now process.Instance, since time.Time) bool {
	if s.cfg.byCommand() {
		return time.Since(since) >= s.cfg.DrainTimeout
	}
	return len(s.paths.OldWorkers(now)) == 0
}

// otherConfigFiles returns the content of the configuration files that HAProxy reads besides the main file.
func (s *Sink) otherConfigFiles() [][]byte {
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
