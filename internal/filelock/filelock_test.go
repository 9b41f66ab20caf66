package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestTryLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v, want ErrLocked", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := TryLock(path)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	if !second.IsCurrent() {
		t.Error("the lock is not current")
	}
	second.Remove()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file after Remove: %v", err)
	}
}

func TestTryLock_RemovedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if first.IsCurrent() {
		t.Error("a removed file is current")
	}
	second, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	first.Remove() // must not remove the new file
	if !second.IsCurrent() {
		t.Error("Remove removed the file of another lock")
	}
	second.Remove()
}

func TestTryLock_SymbolicLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("target", filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(filepath.Join(dir, "lock")); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "target")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the target: %v", err)
	}
}

// flock(2): NFS emulates the lock by one that needs a file that is open for writing.
func TestTryLock_NFS(t *testing.T) {
	original := flock
	t.Cleanup(func() { flock = original })
	flock = func(fd, how int) error {
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
		if errno != 0 {
			return errno
		}
		if flags&syscall.O_ACCMODE == syscall.O_RDONLY {
			return syscall.EBADF
		}
		return original(fd, how)
	}
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v, want ErrLocked", err)
	}
	lock.Remove()
}

// Lock files are removed and created again while others try to lock them.
func TestTryLock_ExcludesOthersAcrossRemovals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var holders, locked atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				lock, err := TryLock(path)
				if errors.Is(err, ErrLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold it at once", n)
				}
				locked.Add(1)
				holders.Add(-1)
				lock.Remove()
			}
		})
	}
	wg.Wait()
	if locked.Load() == 0 {
		t.Error("nobody got the lock")
	}
}
