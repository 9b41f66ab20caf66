package claim

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
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMain is also a process that takes a claim, says so, and holds it until its standard input ends.
func TestMain(m *testing.M) {
	if path := os.Getenv("CLAIM_PATH"); path != "" {
		var c Claim
		if err := c.Take(context.Background(), owner(os.Getpid(), io.Discard), on(path)); err != nil {
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

func take(t *testing.T, path string, pid int) (*Claim, error) {
	t.Helper()
	c := &Claim{}
	t.Cleanup(c.Release)
	return c, c.Take(t.Context(), owner(pid, t.Output()), on(path))
}

// soon ends a refusal early.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*tryEvery)
	t.Cleanup(cancel)
	return ctx
}

// hold takes the claim in a process of its own and returns that.
func hold(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "CLAIM_PATH="+path)
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

func TestASecondOneIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "haproxy.cfg")
	holder := hold(t, path)
	var c Claim
	err := c.Take(soon(t), owner(os.Getpid(), t.Output()), on(path))
	want := fmt.Sprintf("%s is kept by another haproxy-api (process %d); stop it, or give this one another config_file",
		path, holder.Process.Pid)
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	if _, err := take(t, filepath.Join(dir, "other.cfg"), 1); err != nil {
		t.Errorf("another file: %v", err)
	}
}

func TestEveryWayToWriteThePathIsTheSame(t *testing.T) {
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
		var c Claim
		if err := c.Take(soon(t), owner(1, t.Output()), on(path)); err == nil {
			t.Errorf("%s was taken as well", path)
		}
	}
}

func TestADeadHolderHoldsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	holder := hold(t, path)
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := take(t, path, 1); err != nil { // it may still be on its way out
		t.Error(err)
	}
}

func TestAnotherSinkOfTheSameDaemonTakesOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	first, err := take(t, path, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	var c Claim
	err = c.Take(soon(t), owner(os.Getpid(), t.Output()), on(path))
	if err == nil || !strings.Contains(err.Error(), "another sink of this haproxy-api") {
		t.Errorf("said %v", err)
	}
	taken := make(chan error)
	go func() { taken <- c.Take(t.Context(), owner(os.Getpid(), t.Output()), on(path)) }()
	first.Release()
	if err := <-taken; err != nil {
		t.Error(err)
	}
	c.Release()
	c.Release()
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestNoTwoHoldItHoweverOftenItChangesHands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	var holders, most atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				file, err := open(lockPath(path))
				if errors.Is(err, errHeld) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), holders.Add(1)))
				holders.Add(-1)
				(&Claim{locks: []*lock{{path: lockPath(path), file: file}}}).Release()
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d held it at once", most.Load())
	}
}

func TestWhereNothingCanBeLockedNobodyIsKeptOut(t *testing.T) {
	for name, path := range map[string]string{
		"no writing":  "/proc/haproxy.cfg", // also for root
		"a link":      linked(t),
		"not a place": "/dev/null/haproxy.cfg",
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			var c Claim
			if err := c.Take(t.Context(), owner(1, &log), on(path)); err != nil {
				t.Error(err)
			}
			if !strings.Contains(log.String(), "nothing keeps a second haproxy-api") {
				t.Errorf("logged %q", log.String())
			}
			c.Release()
		})
	}
}

// linked returns a path whose lock leads elsewhere.
func linked(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.Symlink("/etc/passwd", lockPath(path)); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a holder starts, such as HAProxy, lives on without it.
func TestAChildDoesNotInheritIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	c, err := take(t, path, 1)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	_ = c.locks[0].file.Close() // as at a death
	c.locks = nil
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var next Claim
	defer next.Release()
	if err := next.Take(ctx, owner(1, t.Output()), on(path)); err != nil {
		t.Error(err)
	}
}

func TestTheLockIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if _, err := take(t, path, 1); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(lockPath(path))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

// What is in a folder that does not exist yet is claimed once it does, and nothing may be touched before that.
func TestHold_FolderMissing(t *testing.T) {
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
	for _, c := range []*Claim{first, second} {
		missing, ok := errors.AsType[*MissingError](c.Hold())
		if !ok || missing.Folder != dir || missing.Key != "config_file" {
			t.Errorf("without the folder: %v", c.Hold())
		}
	}
	for range 2 { // it may be removed and made again
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := first.Hold(); err != nil {
			t.Error(err)
		}
		if err := second.Hold(); err == nil {
			t.Error("both hold it")
		}
		if err := first.Hold(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if _, ok := errors.AsType[*MissingError](first.Hold()); !ok {
			t.Errorf("without the folder: %v", first.Hold())
		}
	}
}

// Who was refused may touch nothing, and takes what it needs once that is free.
func TestHold_AfterARefusal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	holder := hold(t, path)
	var c Claim
	defer c.Release()
	if err := c.Take(soon(t), owner(1, t.Output()), on(path)); err == nil {
		t.Fatal("was taken")
	}
	if err := c.Hold(); err == nil {
		t.Error("is held")
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	if err := c.Hold(); err != nil {
		t.Error(err)
	}
}

// One file in common is enough.
func TestTake_SeveralFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) File { return File{Path: filepath.Join(dir, name), Key: name} }
	var first, second, third Claim
	defer first.Release()
	defer second.Release()
	defer third.Release()
	if err := first.Take(t.Context(), owner(1, t.Output()), file("a.cfg"), file("pid")); err != nil {
		t.Fatal(err)
	}
	err := second.Take(soon(t), owner(2, t.Output()), file("b.cfg"), file("pid"))
	if err == nil || !strings.HasSuffix(err.Error(), "another pid") {
		t.Errorf("said %v", err)
	}
	if err := third.Take(t.Context(), owner(3, t.Output()), file("b.cfg"), file("other")); err != nil {
		t.Errorf("what was refused is held: %v", err)
	}
}

func TestHold_NothingTaken(t *testing.T) {
	var c Claim
	if err := c.Hold(); err != nil {
		t.Error(err)
	}
}
