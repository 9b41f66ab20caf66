package lock

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain is also a process that acquires a lock, reports that, and holds it until its standard input ends.
func TestMain(m *testing.M) {
	if path := os.Getenv("LOCK_PATH"); path != "" {
		var l Lock
		if err := l.Acquire(context.Background(), owner(os.Getpid(), io.Discard), on(path)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0) // without a release
	}
	os.Exit(m.Run())
}

func owner(pid int, log io.Writer) Owner {
	return Owner{Daemon: pid, Log: slog.New(slog.NewTextHandler(log, nil))}
}

func on(path string) File { return File{Path: path, Key: "config_file"} }

func take(t *testing.T, path string, pid int) (*Lock, error) {
	t.Helper()
	l := &Lock{}
	t.Cleanup(l.Release)
	return l, l.Acquire(t.Context(), owner(pid, t.Output()), on(path))
}

// soon returns a context that shortens the wait for another holder.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*retryInterval)
	t.Cleanup(cancel)
	return ctx
}

// hold acquires the lock in a process of its own and returns that process.
func hold(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "LOCK_PATH="+path)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("%q %v", line, err)
	}
	return cmd
}

func TestAcquire_NamesTheHolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "haproxy.cfg")
	holder := hold(t, path)
	var l Lock
	err := l.Acquire(soon(t), owner(os.Getpid(), t.Output()), on(path))
	want := fmt.Sprintf("%s is managed by another haproxy-api (process %d)", path, holder.Process.Pid)
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "config_file") {
		t.Errorf("%v\nwant %s and the key", err, want)
	}
	if _, err := take(t, filepath.Join(dir, "other.cfg"), 1); err != nil {
		t.Errorf("another file: %v", err)
	}
}

func TestAcquire_SpellingsOfAPath(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(dir))
	if _, err := take(t, filepath.Join(dir, "a"), 1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		filepath.Join(link, "a"), filepath.Join(filepath.Base(dir), "a"), dir + "//./a", dir + "/../" + filepath.Base(dir) + "/a",
	} {
		var l Lock
		if err := l.Acquire(soon(t), owner(1, t.Output()), on(path)); err == nil {
			t.Errorf("%s was locked as well", path)
		}
	}
}

func TestAcquire_AfterTheHolderWasKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	holder := hold(t, path)
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := take(t, path, 1); err != nil { // the process may need a moment to end
		t.Error(err)
	}
}

func TestAcquire_AnotherSinkOfTheSameDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	first, err := take(t, path, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	var l Lock
	err = l.Acquire(soon(t), owner(os.Getpid(), t.Output()), on(path))
	if err == nil || !strings.Contains(err.Error(), "another sink of this haproxy-api") {
		t.Errorf("said %v", err)
	}
	taken := make(chan error)
	go func() { taken <- l.Acquire(t.Context(), owner(os.Getpid(), t.Output()), on(path)) }()
	first.Release()
	if err := <-taken; err != nil {
		t.Error(err)
	}
	l.Release()
	l.Release()
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestAcquire_WhereLockingIsImpossible(t *testing.T) {
	for name, path := range map[string]string{
		"read-only":    "/proc/haproxy.cfg", // also for root
		"a link":       linked(t),
		"no directory": "/dev/null/haproxy.cfg",
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			var l Lock
			if err := l.Acquire(t.Context(), owner(1, &log), on(path)); err != nil {
				t.Error(err)
			}
			if !strings.Contains(log.String(), "cannot lock the file") {
				t.Errorf("logged %q", log.String())
			}
			l.Release()
		})
	}
}

// linked returns a path whose lock file is a symbolic link.
func linked(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.Symlink("/etc/passwd", lockPath(path)); err != nil {
		t.Fatal(err)
	}
	return path
}

// HAProxy continues to run after the process that started it.
func TestAcquire_ChildrenDoNotInheritTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	l, err := take(t, path, 1)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	_ = l.locks[0].held.Close() // as at the end of the process
	l.locks = nil
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var next Lock
	defer next.Release()
	if err := next.Acquire(ctx, owner(1, t.Output()), on(path)); err != nil {
		t.Error(err)
	}
}

func TestAcquire_FileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if _, err := take(t, path, 1); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(lockPath(path))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

// Files in a directory that does not exist yet are locked when it exists, and must not be used before.
func TestEnsure_DirectoryMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	path := filepath.Join(dir, "haproxy.cfg")
	first, err := take(t, path, 1)
	if err != nil {
		t.Fatal(err)
	}
	second, err := take(t, path, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Lock{first, second} {
		missing, ok := errors.AsType[*MissingError](l.Ensure())
		if !ok || missing.Directory != dir || missing.Key != "config_file" {
			t.Errorf("without the directory: %v", l.Ensure())
		}
	}
	for range 2 { // it may be removed and created again
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := first.Ensure(); err != nil {
			t.Error(err)
		}
		if err := second.Ensure(); err == nil {
			t.Error("both hold it")
		}
		if err := first.Ensure(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if _, ok := errors.AsType[*MissingError](first.Ensure()); !ok {
			t.Errorf("without the directory: %v", first.Ensure())
		}
	}
}

// An owner that could not acquire the lock acquires it with Ensure once it is free.
func TestEnsure_AfterTheHolderEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	holder := hold(t, path)
	var l Lock
	defer l.Release()
	if err := l.Acquire(soon(t), owner(1, t.Output()), on(path)); err == nil {
		t.Fatal("was acquired")
	}
	if err := l.Ensure(); err == nil {
		t.Error("is held by two")
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	if err := l.Ensure(); err != nil {
		t.Error(err)
	}
}

// Owners with one file in common exclude each other.
func TestAcquire_SeveralFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) File { return File{Path: filepath.Join(dir, name), Key: name} }
	var first, second, third Lock
	defer first.Release()
	defer second.Release()
	defer third.Release()
	if err := first.Acquire(t.Context(), owner(1, t.Output()), file("a.cfg"), file("pid")); err != nil {
		t.Fatal(err)
	}
	err := second.Acquire(soon(t), owner(2, t.Output()), file("b.cfg"), file("pid"))
	if err == nil || !strings.Contains(err.Error(), "another pid") {
		t.Errorf("said %v", err)
	}
	if err := third.Acquire(t.Context(), owner(3, t.Output()), file("b.cfg"), file("other")); err != nil {
		t.Errorf("a lock of the failed Acquire is held: %v", err)
	}
}

func TestEnsure_WithoutAcquire(t *testing.T) {
	var l Lock
	if err := l.Ensure(); err != nil {
		t.Error(err)
	}
}
