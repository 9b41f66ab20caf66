// Package filelock locks files, so that only one process uses what a file stands for. The system releases a lock when the process
// ends, however it ends. Child processes do not inherit it.
package filelock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrLocked means that another [Lock] is held on the file, by this process or another one.
var ErrLocked = errors.New("locked by another process")

// A Lock is held on a file until [Lock.Close] or [Lock.Remove].
type Lock struct {
	path string
	file *os.File
}

// TryLock locks the file at path, which it creates with mode 0600 if it does not exist. It does not wait: the error is
// [ErrLocked] while another Lock is held. A symbolic link at path is an error.
func TryLock(path string) (*Lock, error) {
	// For reading, since a disk with a file that is open for writing cannot be made read-only.
	l, err := tryLock(path, os.O_RDONLY)
	if errors.Is(err, syscall.EBADF) { // NFS locks only files that are open for writing
		l, err = tryLock(path, os.O_RDWR)
	}
	return l, err
}

// flock is replaced in tests.
var flock = syscall.Flock

// tryLock is TryLock with the access mode with which it opens the file.
func tryLock(path string, mode int) (*Lock, error) {
	file, err := os.OpenFile(path, mode|os.O_CREATE|syscall.O_NOFOLLOW, 0o600) // package os sets O_CLOEXEC
	if err != nil {
		return nil, err
	}
	l := &Lock{path: path, file: file}
	err = flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = ErrLocked
	case err != nil:
		err = fmt.Errorf("cannot lock %s: %w", path, err)
	case !l.IsCurrent():
		err = ErrLocked // the previous holder removed the file before it was locked here; the next call creates another one
	default:
		return l, nil
	}
	_ = file.Close()
	return nil, err
}

// IsCurrent reports whether the locked file is still the one at its path. If not, another process can lock a new file there.
func (l *Lock) IsCurrent() bool {
	held, err := l.file.Stat()
	if err != nil {
		return false
	}
	present, err := os.Lstat(l.path)
	return err == nil && os.SameFile(held, present)
}

// Close releases the lock and keeps the file.
func (l *Lock) Close() error { return l.file.Close() }

// Remove removes the file if it is current, and then releases the lock. A process that has opened the file meanwhile notices
// that, see [TryLock].
func (l *Lock) Remove() {
	if l.IsCurrent() {
		_ = os.Remove(l.path)
	}
	_ = l.file.Close()
}
