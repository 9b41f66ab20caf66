// Package claim keeps two daemons from managing the same files.
//
// A claim is a lock on a hidden file beside what it is about. The system lets go of it when the process ends, however that
// comes about, so none outlives its holder. Nothing that the holder starts inherits it.
package claim

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

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
)

// patience is how long [Claim.Take] waits for a holder that may be on its way out: the plugin of a daemon that was killed ends
// moments after it.
const patience = 3 * time.Second

// tryEvery is the time between two tries: the system tells nobody that a lock is free.
const tryEvery = 20 * time.Millisecond

// An Owner is who takes a claim, as others are told of it.
type Owner struct {
	Daemon int // its process id
	Log    *slog.Logger
}

// A File is what a claim is on.
type File struct {
	Path string // of the file, or of a folder's entry that stands for several
	Name string // what people know it by; Path if empty
	Key  string // of the configuration, that says which file it is
}

func (f File) name() string { return cmp.Or(f.Name, f.Path) }

// A Claim is on some files. The zero value is ready to be taken. Its methods may be called from any goroutine.
type Claim struct {
	mu    sync.Mutex
	owner Owner
	locks []*lock

	missing logdedup.Fault // a folder of the files
}

// A lock is on one file.
type lock struct {
	File
	path   string
	file   *os.File       // nil while it is not held
	failed logdedup.Fault // nobody is kept out
}

// Take makes the owner the only one with a claim on the files. It is called once. It waits a few seconds, but not beyond
// ctx, for a holder to end, and returns an error that names the holder if that does not happen.
//
// A folder that does not exist yet is no error: see [Claim.Hold].
func (c *Claim) Take(ctx context.Context, owner Owner, files ...File) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owner, c.locks = owner, nil
	for _, f := range files {
		c.locks = append(c.locks, &lock{File: f})
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := c.hold()
		if _, missing := errors.AsType[*MissingError](err); missing {
			c.missing.Warn(owner.Log, "nothing is done before the folder exists", err)
			return nil
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err // and so does Hold, for as long as it is true
		case <-time.After(tryEvery):
		}
	}
}

// Hold returns nil where nobody else has a claim on the files, so that they may be touched. It is cheap, and takes what is
// not held yet or not any more, such as after a folder was made, or removed and made again. It returns a [MissingError]
// while a folder does not exist, and an error that names the holder where there is one. Where nothing was to be taken it
// returns nil.
//
// Where the system cannot lock, as in a folder that may not be written, nobody is kept out: that is logged.
func (c *Claim) Hold() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hold()
}

func (c *Claim) hold() error {
	for _, l := range c.locks { // all in the same order, so that no two keep one another out
		err := l.hold(c.owner)
		if _, missing := errors.AsType[*MissingError](err); err != nil && !missing {
			c.release()
		}
		if err != nil {
			return err
		}
	}
	if c.locks != nil {
		c.missing.Resolve(c.owner.Log, "the folder exists now", "folder", filepath.Dir(c.locks[0].Path))
	}
	return nil
}

func (l *lock) hold(owner Owner) error {
	if l.file != nil {
		if isAt(l.file, l.path) {
			return nil
		}
		_ = l.file.Close()
		l.file = nil
	}
	l.path = lockPath(l.Path)
	file, err := open(l.path)
	switch {
	case err == nil:
		l.file = file
		l.failed.Resolve(owner.Log, "a second haproxy-api is kept from managing the same file again", "file", l.name())
		sign(l.path, owner.Daemon)
	case errors.Is(err, errHeld):
		return l.refusal(owner)
	case errors.Is(err, fs.ErrNotExist) && isMissing(filepath.Dir(l.path)):
		return &MissingError{Folder: filepath.Dir(l.Path), Key: l.Key}
	default:
		l.failed.Warn(owner.Log, "nothing keeps a second haproxy-api from managing the same file", err, "file", l.name())
	}
	return nil
}

func isMissing(folder string) bool {
	_, err := os.Stat(folder)
	return errors.Is(err, fs.ErrNotExist)
}

// A MissingError says that a folder does not exist, so that nothing can be claimed in it.
type MissingError struct{ Folder, Key string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("the folder %s of %s does not exist: create it", e.Folder, e.Key)
}

// Release gives the claim up and leaves nothing behind. It may be called again.
func (c *Claim) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release()
	c.locks = nil
}

func (c *Claim) release() {
	for _, l := range c.locks {
		if l.file == nil {
			continue
		}
		if isAt(l.file, l.path) {
			_ = os.Remove(l.path) // while it is locked: who opened it meanwhile finds that it is gone, see open
		}
		_ = l.file.Close()
		l.file = nil
	}
}

// lockPath is the same for every way to write path.
func lockPath(path string) string {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		dir = filepath.Dir(path)
	}
	return filepath.Join(dir, "."+filepath.Base(path)+".lock")
}

// errHeld says that somebody else has the lock.
var errHeld = errors.New("somebody else holds the lock")

// open returns the lock file, locked.
func open(lock string) (*os.File, error) {
	// For reading, since a disk with a file open for writing cannot be made read-only. os sets O_CLOEXEC.
	file, err := os.OpenFile(lock, os.O_RDONLY|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = errHeld
	case err != nil:
		err = fmt.Errorf("cannot lock %s: %w", lock, err)
	case !isAt(file, lock):
		err = errHeld // the holder took it away before it let go: the next try makes another
	default:
		return file, nil
	}
	_ = file.Close()
	return nil, err
}

func isAt(file *os.File, path string) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(held, there)
}

// sign writes who holds the lock. It serves a sentence only, so a full disk is no trouble.
func sign(lock string, daemon int) {
	_ = os.WriteFile(lock, []byte(strconv.Itoa(daemon)+"\n"), 0o600)
}

// refusal names the holder as far as that is known. A process of another PID namespace is not.
func (l *lock) refusal(owner Owner) error {
	who := "another haproxy-api"
	switch pid := signed(l.path); {
	case pid == owner.Daemon:
		return fmt.Errorf("%s is kept by another sink of this haproxy-api; give one of them another %s", l.name(), l.Key)
	case pid > 0 && exists(pid):
		who += fmt.Sprintf(" (process %d)", pid)
	}
	return fmt.Errorf("%s is kept by %s; stop it, or give this one another %s", l.name(), who, l.Key)
}

// signed returns 0 where the file does not tell.
func signed(lock string) int {
	content, err := os.ReadFile(lock)
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
