// Package statestore keeps the last good snapshots and documents on disk, over a restart of the daemon. It knows neither what
// produces nor what consumes them.
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
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/internal/filelock"
	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/internal/trust"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Store is a directory with one file for each source and each pipeline. It writes what was saved within about a second, or
// when it is closed; if something is saved more often, only the newest is written. Each file is replaced atomically. A Store
// is safe for concurrent use.
type Store struct {
	dir  string
	log  *slog.Logger
	lock *filelock.Lock
	stop context.CancelFunc
	done chan struct{}
	wake chan struct{} // has one element while there is something to write

	mu      sync.Mutex
	unsaved map[string]any         // what is still to be written, by file name
	newest  map[string]any         // what was saved last, written or not, by file name
	faults  map[string]*fileFaults // by file name

	histories map[string]*history.Log // by pipeline
}

const (
	// writeInterval is the least time between two writes, so that a busy source does not keep the disk busy.
	writeInterval = time.Second
	// writeRetry is the time after which a write that failed is tried again.
	writeRetry = 10 * time.Second
	// readAttempts is how often reading a file is tried, readRetry apart.
	readAttempts = 5
	readRetry    = 200 * time.Millisecond
)

// ErrInUse means that another process uses the directory.
var ErrInUse = errors.New("another haproxy-api uses it")

// Open creates dir if necessary, locks it, and starts a goroutine that writes to it; [Store.Close] stops that. Open fails for
// a directory that other users may write to, because the content of its files is trusted. The error names dir; it wraps
// [ErrInUse] if another process has locked it.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if err := prepare(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	removeTempFiles(dir)
	ctx, stop := context.WithCancel(context.Background())
	s := &Store{
		dir: dir, log: log, lock: lock, stop: stop, done: make(chan struct{}), wake: make(chan struct{}, 1),
		unsaved: map[string]any{}, newest: map[string]any{}, faults: map[string]*fileFaults{},
		histories: map[string]*history.Log{},
	}
	go s.write(ctx)
	return s, nil
}

func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating the state_dir %s: %w", dir, withoutPath(err))
	}
	return Check(dir)
}

// Check returns an error if dir, which must exist, may not be the directory of a store, because other users could change its
// content. It changes nothing.
func Check(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("opening the state_dir %s: %w", dir, withoutPath(err))
	case !info.IsDir():
		return fmt.Errorf("the state_dir %s is not a directory", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("the state_dir %s %w: chmod 700 it", dir, errWritable)
	}
	if err := trust.Check(dir); err != nil {
		return fmt.Errorf("the content of the state_dir %s cannot be trusted: %w", dir, err)
	}
	return nil
}

var errWritable = errors.New("can be written by other users, so its content cannot be trusted")

// lockDir locks dir for this process. Closing the lock unlocks it, and so does the end of the process.
func lockDir(dir string) (*filelock.Lock, error) {
	lock, err := filelock.TryLock(filepath.Join(dir, "lock"))
	if errors.Is(err, filelock.ErrLocked) {
		return nil, fmt.Errorf("locking the state_dir %s: %w; each daemon needs its own", dir, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("locking the state_dir %s: %w", dir, withoutPath(err))
	}
	return lock, nil
}

// removeTempFiles removes the files that were being written during a crash.
func removeTempFiles(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, "*"+tempSuffix))
	for _, name := range names {
		_ = os.Remove(name)
	}
}

// Close writes what is still unsaved and unlocks the directory. Nothing must be saved afterwards.
func (s *Store) Close() error {
	s.stop()
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, log := range s.histories {
		log.Close()
	}
	return s.lock.Close()
}

// Snapshot implements [engine.StateStore].
func (s *Store) Snapshot(source string) (sdk.Snapshot, bool) {
	name := sourceFile(source)
	if snap, ok := s.last(name).(sdk.Snapshot); ok {
		return snap, true
	}
	var snap sdk.Snapshot
	return snap, s.read(name, kindSnapshot, &snap)
}

// SaveSnapshot implements [engine.StateStore].
func (s *Store) SaveSnapshot(source string, snap sdk.Snapshot) {
	s.save(sourceFile(source), snap)
}

// AppliedDocument implements [engine.StateStore].
func (s *Store) AppliedDocument(pipeline string) (engine.AppliedDocument, bool) {
	name := pipelineFile(pipeline)
	if doc, ok := s.last(name).(engine.AppliedDocument); ok {
		return doc, true
	}
	var doc engine.AppliedDocument
	if !s.read(name, kindApplied, &doc) {
		return engine.AppliedDocument{}, false
	}
	if doc.Document.Digest == "" { // the sink lost the document
		return doc, true
	}
	if sdk.DigestOf(doc.Document.Files) != doc.Document.Digest {
		s.setAside(name, errDigest)
		return engine.AppliedDocument{}, false
	}
	return doc, true
}

// SaveAppliedDocument implements [engine.StateStore].
func (s *Store) SaveAppliedDocument(pipeline string, doc engine.AppliedDocument) {
	name := pipelineFile(pipeline)
	before, known := s.last(name).(engine.AppliedDocument)
	if known && before.SinkType == doc.SinkType && before.Document.Digest == doc.Document.Digest &&
		slices.Equal(before.Excluded, doc.Excluded) {
		return
	}
	s.save(name, doc)
}

var errDigest = errors.New("the document does not have its digest")

func sourceFile(name string) string   { return "source-" + name + ".json" }
func pipelineFile(name string) string { return "pipeline-" + name + ".json" }

func (s *Store) save(name string, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved[name], s.newest[name] = v, v
	s.wakeWriter()
}

// last returns what this process saved last in the file of that name, and nil for nothing.
func (s *Store) last(name string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest[name]
}

func (s *Store) wakeWriter() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write writes what is unsaved until ctx is done, and then once more.
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
		wait := writeRetry
		if s.flush() {
			wait = max(writeInterval, 10*time.Since(began))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// flush writes what is unsaved and reports whether all writes succeeded. What failed stays unsaved.
func (s *Store) flush() bool {
	s.mu.Lock()
	unsaved := s.unsaved
	s.unsaved = map[string]any{}
	s.mu.Unlock()
	all := true
	for name, v := range unsaved {
		err := save(filepath.Join(s.dir, name), v)
		s.reportWrite(name, err)
		if err != nil {
			all = false
			s.saveUnlessNewer(name, v)
		}
	}
	return all
}

// Problem returns why something cannot be written at the moment, or "" if everything can.
func (s *Store) Problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.faults)) {
		if cause := s.faults[name].write.Cause(); cause != "" {
			return fmt.Sprintf("writing %s: %s", filepath.Join(s.dir, name), cause)
		}
	}
	for _, pipeline := range slices.Sorted(maps.Keys(s.histories)) {
		if cause := s.histories[pipeline].Problem(); cause != "" {
			return fmt.Sprintf("writing %s: %s", filepath.Join(s.dir, historyFile(pipeline)), cause)
		}
	}
	return ""
}

func (s *Store) saveUnlessNewer(name string, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, newer := s.unsaved[name]; !newer {
		s.unsaved[name] = v
	}
	s.wakeWriter()
}

// fileFaults are the faults of one file.
type fileFaults struct{ write, read logdedup.Fault }

func (s *Store) faultsOf(name string) *fileFaults {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults[name] == nil {
		s.faults[name] = &fileFaults{}
	}
	return s.faults[name]
}

// reportWrite logs the beginning and the end of write errors.
func (s *Store) reportWrite(name string, err error) {
	write := &s.faultsOf(name).write
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err // the path is that of the temporary file
	}
	if err != nil {
		write.Error(s.log, "saving the last good state failed, retrying; it would be missing after a restart", err, "file", name)
		return
	}
	if write.Resolve(s.log, "the last good state is saved again", "file", name) {
		s.mu.Lock()
		defer s.mu.Unlock()
		// The disk may have lost the other files as well.
		maps.Copy(s.unsaved, s.newest)
		s.wakeWriter()
	}
}

// read decodes the file of that name into v and reports whether it could. It renames a damaged file.
func (s *Store) read(name, kind string, v any) bool {
	return s.retryRead(name, func(path string) error {
		content, err := readFile(path)
		if err != nil {
			return err
		}
		if err := decode(content, kind, v); err != nil {
			return damagedError{err}
		}
		return nil
	})
}

// retryRead calls read with the path of a file and reports whether that succeeded. It renames a damaged file. If reading fails
// for another reason, such as missing permissions or file descriptors, it retries for a moment and leaves the file for the next
// call.
func (s *Store) retryRead(name string, read func(path string) error) bool {
	path := filepath.Join(s.dir, name)
	var err error
	for attempt := range readAttempts {
		if attempt > 0 {
			time.Sleep(readRetry)
		}
		err = read(path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			break
		}
		if damaged, ok := errors.AsType[damagedError](err); ok {
			s.setAside(name, damaged.error)
			return false
		}
	}
	fault := &s.faultsOf(name).read
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		fault.Error(s.log, "reading the last good state failed; the file is not used for now", err, "file", path)
	} else {
		fault.Resolve(s.log, "the last good state can be read again", "file", path)
	}
	return err == nil
}

// setAside renames a damaged file.
func (s *Store) setAside(name string, why error) {
	damaged := filepath.Join(s.dir, name+".damaged")
	err := os.Rename(filepath.Join(s.dir, name), damaged)
	s.log.Error("a file of the last good state is damaged; it is renamed and not used", "file", damaged,
		"error", errors.Join(why, err))
}

// withoutPath returns the cause of an error of package os, for a message that names the path already.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

var _ engine.StateStore = (*Store)(nil)
