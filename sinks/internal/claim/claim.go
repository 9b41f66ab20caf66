// Package claim keeps two daemons from managing the same files.
//
// A claim is a lock on a hidden file beside what it is about. The system lets go of it when the process ends, however that
// comes about, so none outlives its holder. Nothing that the holder starts inherits it.
package claim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long [Claim.Take] waits for a holder that may be on its way out: the plugin of a daemon that was killed ends
// moments after it.
const patience = 3 * time.Second

// tryEvery is the time between two tries: the system tells nobody that a lock is free.
const tryEvery = 20 * time.Millisecond

// An Owner is who takes a claim, as others are told of it.
type Owner struct {
	Daemon int    // its process id
	Key    string // of the configuration, that says which file it is
	Log    *slog.Logger
}

// A Claim is on one file. The zero value is ready to be taken. Its methods may be called from any goroutine.
type Claim struct {
	mu   sync.Mutex
	file *os.File // nil where nothing is held
}

// Take makes the owner the only one with a claim on the file at path. It is called once. It
// waits a few seconds, but not beyond ctx, for a holder to end, and returns an error that names the holder if that does not
// happen.
//
// Where the system cannot lock, as in a folder that may not be written, nobody is kept out: that is logged, and the claim holds
// nothing.
func (c *Claim) Take(ctx context.Context, path string, owner Owner) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	lock := lockPath(path)
	for {
		file, err := open(lock)
		switch {
		case err == nil:
			sign(lock, owner.Daemon)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.file = file
			return nil
		case !errors.Is(err, errHeld):
			owner.Log.Warn("nothing keeps a second haproxy-api from managing the same file", "file", path, "error", err)
			return nil
		}
		select {
		case <-ctx.Done():
			return refusal(path, lock, owner)
		case <-time.After(tryEvery):
		}
	}
}

// Release gives the claim up and leaves nothing behind. It may be called again.
func (c *Claim) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return
	}
	_ = os.Remove(c.file.Name()) // while it is locked: who opened it meanwhile finds that it is gone, see open
	_ = c.file.Close()
	c.file = nil
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
func refusal(path, lock string, owner Owner) error {
	who := "another haproxy-api"
	switch pid := signed(lock); {
	case pid == owner.Daemon:
		return fmt.Errorf("%s is kept by another sink of this haproxy-api; give one of them another %s", path, owner.Key)
	case pid > 0 && exists(pid):
		who += fmt.Sprintf(" (process %d)", pid)
	}
	return fmt.Errorf("%s is kept by %s; stop it, or give this one another %s", path, who, owner.Key)
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
