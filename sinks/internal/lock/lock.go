// Package lock keeps two daemons from managing the same files.
//
// A [Lock] is held on a hidden file beside each managed file. The lock file contains the process id of the daemon, so that an
// error can name the holder.
package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/filelock"
	"github.com/haproxy-api/haproxy-api/internal/logdedup"
)

// acquireTimeout is how long [Lock.Acquire] waits for the plugin of a daemon that was killed to end.
const acquireTimeout = 3 * time.Second

// retryInterval is the time between two attempts: the system does not report that a lock is free.
const retryInterval = 20 * time.Millisecond

// An Owner acquires locks.
type Owner struct {
	Daemon int // the process id of the daemon
	Log    *slog.Logger
}

// A File is a managed file.
type File struct {
	Path string // of the file, or a path in its directory that stands for several files
	Name string // in messages; empty for Path
	Key  string // the configuration key that sets the path
}

func (f File) name() string { return cmp.Or(f.Name, f.Path) }

// A Lock is held on some files. The zero value is ready for use. Its methods may be called from any goroutine.
type Lock struct {
	mu    sync.Mutex
	owner Owner
	locks []*fileLock

	missing logdedup.Fault // a directory of the files
}

// A fileLock is the lock on one file.
type fileLock struct {
	File
	lockFile string
	held     *filelock.Lock // nil if it is not held
	failed   logdedup.Fault // locking is impossible
}

// Acquire locks the files. It is called once. It waits up to three seconds, but not longer than ctx, for another holder to end,
// and returns an error that names the holder if that does not end.
//
// A directory that does not exist yet is no error: see [Lock.Ensure].
func (l *Lock) Acquire(ctx context.Context, owner Owner, files ...File) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owner, l.locks = owner, nil
	for _, f := range files {
		l.locks = append(l.locks, &fileLock{File: f})
	}
	ctx, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	for {
		err := l.ensure()
		if _, missing := errors.AsType[*MissingError](err); missing {
			l.missing.Warn(owner.Log, "a directory does not exist; waiting until it is created", err)
			return nil
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err // Ensure returns it too while it applies
		case <-time.After(retryInterval):
		}
	}
}

// Ensure returns nil if the files may be used: they are locked, or none were to be locked. It locks files that are not
// locked, for example after a directory was created, or removed and created again. It returns a [MissingError] while a directory
// does not exist, and an error that names the holder if there is another one. It does not wait.
//
// If the system cannot lock a file, as in a directory that cannot be written, Ensure logs that and returns nil.
func (l *Lock) Ensure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ensure()
}

func (l *Lock) ensure() error {
	for _, f := range l.locks { // every owner has the same order, which prevents deadlocks
		err := f.ensure(l.owner)
		if _, missing := errors.AsType[*MissingError](err); err != nil && !missing {
			l.release()
		}
		if err != nil {
			return err
		}
	}
	if l.locks != nil {
		l.missing.Resolve(l.owner.Log, "the directory exists now", "file", filepath.Dir(l.locks[0].Path))
	}
	return nil
}

func (f *fileLock) ensure(owner Owner) error {
	if f.held != nil {
		if f.held.IsCurrent() {
			return nil
		}
		_ = f.held.Close()
		f.held = nil
	}
	f.lockFile = lockPath(f.Path)
	held, err := filelock.TryLock(f.lockFile)
	switch {
	case err == nil:
		f.held = held
		f.failed.Resolve(owner.Log, "the file is locked again", "file", f.name())
		writeOwner(f.lockFile, owner.Daemon)
	case errors.Is(err, filelock.ErrLocked):
		return f.lockedError(owner)
	case errors.Is(err, fs.ErrNotExist) && isMissing(filepath.Dir(f.lockFile)):
		return &MissingError{Directory: filepath.Dir(f.Path), Key: f.Key}
	default:
		f.failed.Warn(owner.Log, "cannot lock the file, so another haproxy-api could manage it at the same time", err,
			"file", f.name())
	}
	return nil
}

func isMissing(directory string) bool {
	_, err := os.Stat(directory)
	return errors.Is(err, fs.ErrNotExist)
}

// A MissingError means that a directory does not exist, so that nothing can be locked in it.
type MissingError struct{ Directory, Key string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("the directory %s of %s does not exist: create it", e.Directory, e.Key)
}

// Release releases the locks and removes the lock files. It may be called again.
func (l *Lock) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release()
	l.locks = nil
}

func (l *Lock) release() {
	for _, f := range l.locks {
		if f.held != nil {
			f.held.Remove()
			f.held = nil
		}
	}
}

// lockPath returns the path of the lock file, which is the same for every spelling of path.
func lockPath(path string) string {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		dir = filepath.Dir(path)
	}
	return filepath.Join(dir, "."+filepath.Base(path)+".lock")
}

// writeOwner writes the holder into the lock file. Only a message needs it, so an error, such as that of a full disk, is ignored.
func writeOwner(lockFile string, daemon int) {
	_ = os.WriteFile(lockFile, []byte(strconv.Itoa(daemon)+"\n"), 0o600)
}

// lockedError names the holder if it is known. The process id of another PID namespace is not.
func (f *fileLock) lockedError(owner Owner) error {
	holder := "another haproxy-api"
	switch pid := readOwner(f.lockFile); {
	case pid == owner.Daemon:
		return fmt.Errorf("%s is managed by another sink of this haproxy-api: set another %s for one of them", f.name(), f.Key)
	case pid > 0 && exists(pid):
		holder += fmt.Sprintf(" (process %d)", pid)
	}
	return fmt.Errorf("%s is managed by %s: stop it, or set another %s for this one", f.name(), holder, f.Key)
}

// readOwner returns the process id in the lock file, or 0 if there is none.
func readOwner(lockFile string) int {
	content, err := os.ReadFile(lockFile)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(content)))
	return pid
}

func exists(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
