// Package statestore keeps the last good snapshots and documents on disk, over a restart of the daemon.
package statestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/internal/trust"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Store is a folder with one file for each source and each pipeline. What it is told to keep it writes within about a second,
// or when it is closed; of what comes faster only the newest. Each file replaces the one before whole, or not at all. It is safe
// for several goroutines.
type Store struct {
	dir  string
	log  *slog.Logger
	lock *os.File
	stop context.CancelFunc
	done chan struct{}
	wake chan struct{} // has one element while there is something to write

	mu      sync.Mutex
	waiting map[string]any         // what has to be written, by file name
	newest  map[string]any         // what there was to write last, by file name
	faults  map[string]*fileFaults // by file name
}

const (
	// pause is the least time between two writes, so that a busy catalogue does not keep a disk busy.
	pause = time.Second
	// retryAfter is how long a disk is left alone that does not take what it is given.
	retryAfter = 10 * time.Second
	// readTries is how often a file is read that cannot be read, readPause apart.
	readTries = 5
	readPause = 200 * time.Millisecond
)

// ErrInUse means that another process uses the folder.
var ErrInUse = errors.New("another haproxy-api uses it")

// Open prepares dir, makes it if need be, and starts writing to it; [Store.Close] ends that. A folder that others may write to is
// refused: what is in it is believed. The error is one sentence that names dir; it wraps [ErrInUse] for one that is taken.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if err := prepare(dir); err != nil {
		return nil, err
	}
	lock, err := claim(dir)
	if err != nil {
		return nil, err
	}
	removeLeftovers(dir)
	ctx, stop := context.WithCancel(context.Background())
	s := &Store{
		dir: dir, log: log, lock: lock, stop: stop, done: make(chan struct{}), wake: make(chan struct{}, 1),
		waiting: map[string]any{}, newest: map[string]any{}, faults: map[string]*fileFaults{},
	}
	go s.write(ctx)
	return s, nil
}

func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the state_dir %s cannot be made: %w", dir, reason(err))
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("the state_dir %s cannot be used: %w", dir, reason(err))
	case !info.IsDir():
		return fmt.Errorf("the state_dir %s is no folder", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("the state_dir %s can be written by others, and what is in it is believed: chmod 700 it", dir)
	}
	if err := trust.Check(dir); err != nil {
		return fmt.Errorf("the state_dir %s cannot be used, since what is in it is believed: %w", dir, err)
	}
	return nil
}

// claim holds dir for this process until the file is closed, by the kernel if need be.
func claim(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the state_dir %s cannot be used: %w", dir, reason(err))
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, fmt.Errorf("the state_dir %s cannot be used: %w; give each its own", dir, err)
	}
	return lock, nil
}

// removeLeftovers takes away what a crash left half written.
func removeLeftovers(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, "*"+halfWritten))
	for _, name := range left {
		_ = os.Remove(name)
	}
}

// Close writes what is still to be written and lets go of the folder. Nothing is to be kept after it.
func (s *Store) Close() error {
	s.stop()
	<-s.done
	return s.lock.Close()
}

// Snapshot implements [engine.StateStore].
func (s *Store) Snapshot(source string) (sdk.Snapshot, bool) {
	name := sourceFile(source)
	if snap, ok := s.last(name).(sdk.Snapshot); ok {
		return snap, true
	}
	var snap sdk.Snapshot
	return snap, s.recall(name, kindSnapshot, &snap)
}

// SaveSnapshot implements [engine.StateStore].
func (s *Store) SaveSnapshot(source string, snap sdk.Snapshot) {
	s.keep(sourceFile(source), snap)
}

// AppliedDocument implements [engine.StateStore].
func (s *Store) AppliedDocument(pipeline string) (engine.AppliedDocument, bool) {
	name := pipelineFile(pipeline)
	if e, ok := s.last(name).(engine.AppliedDocument); ok {
		return e, true
	}
	var e engine.AppliedDocument
	if !s.recall(name, kindApplied, &e) {
		return engine.AppliedDocument{}, false
	}
	if e.Document.Digest == "" { // a document was lost, and nothing is in effect
		return e, true
	}
	if sdk.DigestOf(e.Document.Files) != e.Document.Digest {
		s.setAside(name, errors.New("the document is not the one that it says"))
		return engine.AppliedDocument{}, false
	}
	return e, true
}

// SaveAppliedDocument implements [engine.StateStore].
func (s *Store) SaveAppliedDocument(pipeline string, e engine.AppliedDocument) {
	name := pipelineFile(pipeline)
	before, known := s.last(name).(engine.AppliedDocument)
	if known && before.SinkType == e.SinkType && before.Document.Digest == e.Document.Digest &&
		slices.Equal(before.Excluded, e.Excluded) {
		return
	}
	s.keep(name, e)
}

func sourceFile(name string) string   { return "source-" + name + ".json" }
func pipelineFile(name string) string { return "pipeline-" + name + ".json" }

func (s *Store) keep(name string, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[name], s.newest[name] = v, v
	s.raise()
}

// last returns what is in the file of that name, or will be, as far as this process has given it; nil for what it has not.
func (s *Store) last(name string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest[name]
}

func (s *Store) raise() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write writes what waits until ctx is done, and then for the last time.
func (s *Store) write(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case <-ctx.Done():
			s.flush()
			return
		case <-s.wake:
		}
		began := time.Now()
		wait := retryAfter
		if s.flush() {
			wait = max(pause, 10*time.Since(began))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// flush writes what waits. It reports whether all of it could be; what could not waits on.
func (s *Store) flush() bool {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = map[string]any{}
	s.mu.Unlock()
	all := true
	for name, v := range waiting {
		err := save(filepath.Join(s.dir, name), v)
		s.tell(name, err)
		if err != nil {
			all = false
			s.keepUnlessNewer(name, v)
		}
	}
	return all
}

func (s *Store) keepUnlessNewer(name string, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, newer := s.waiting[name]; !newer {
		s.waiting[name] = v
	}
	s.raise()
}

// fileFaults are what can go wrong with one file.
type fileFaults struct{ write, read logdedup.Fault }

func (s *Store) faultsOf(name string) *fileFaults {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults[name] == nil {
		s.faults[name] = &fileFaults{}
	}
	return s.faults[name]
}

// tell logs what became of a write.
func (s *Store) tell(name string, err error) {
	write := &s.faultsOf(name).write
	if err != nil {
		write.Error(s.log, "what was last good cannot be kept, so a restart would not know it", err, "file", name)
		return
	}
	if write.Resolve(s.log, "what was last good is kept again", "file", name) {
		s.mu.Lock()
		defer s.mu.Unlock()
		// A disk that took nothing may have lost the rest as well.
		maps.Copy(s.waiting, s.newest)
		s.raise()
	}
}

// recall reads the file of that name into v. One that is damaged is set aside. One that cannot be read, for want of a permission
// or of file descriptors, stays where it is and is tried again for a moment, and whenever it is asked for.
func (s *Store) recall(name, kind string, v any) bool {
	path := filepath.Join(s.dir, name)
	var err error
	for try := range readTries {
		if try > 0 {
			time.Sleep(readPause)
		}
		err = load(path, kind, v)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			break
		}
		if damaged, ok := errors.AsType[damagedError](err); ok {
			s.setAside(name, damaged.error)
			return false
		}
	}
	read := &s.faultsOf(name).read
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		read.Error(s.log, "reading what was last good failed: the file is kept and not used for now", err, "file", path)
	} else {
		read.Resolve(s.log, "what was last good can be read again", "file", path)
	}
	return err == nil
}

func (s *Store) setAside(name string, why error) {
	err := os.Rename(filepath.Join(s.dir, name), filepath.Join(s.dir, name+".damaged"))
	s.log.Error("what was kept is no good: it is set aside and not used", "file", filepath.Join(s.dir, name)+".damaged",
		"error", errors.Join(why, err))
}

// reason strips what the sentence around it says already.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

var _ engine.StateStore = (*Store)(nil)
