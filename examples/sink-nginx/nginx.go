package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// nginx is the program, known by its pid file and, since it has nothing else that could be asked, by its processes as
// Linux shows them in /proc.
type nginx struct{ cfg config }

// run starts the program in the foreground, as far as it stays there, and returns what it wrote. Where to put the pid
// file and whether to go into the background is ours to say: a document that says so too is rejected as having it twice.
func (n nginx) run(ctx context.Context, pidFile, errorLog string, args ...string) (string, error) {
	directives := fmt.Sprintf("pid %q; error_log %q warn; daemon on; master_process on;", pidFile, errorLog)
	// -e is for what happens before the configuration is read. That is on standard error as well.
	args = append(args, "-p", n.cfg.Prefix, "-e", os.DevNull, "-g", directives)
	cmd := exec.CommandContext(ctx, n.cfg.Binary, args...)
	cmd.WaitDelay = time.Second // no child of nginx may hold us up by holding the pipe
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return strings.TrimSpace(string(out)), err
}

// check has nginx judge the staged files and returns its warnings. It opens the logs that they name, but not the live
// pid file.
func (n nginx) check(ctx context.Context, st *stage) ([]string, error) {
	slow := fmt.Errorf("it took longer than check_timeout, which is %v", n.cfg.CheckTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.CheckTimeout, slow)
	defer cancel()
	words, err := n.run(ctx, st.pid(), os.DevNull, "-t", "-q", "-c", st.main())
	words = st.original(words)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return nil, sdk.Rejectf("nginx rejects the configuration: %s", sentence(words))
	}
	if err != nil {
		return nil, fmt.Errorf("the configuration could not be checked by %s: %w", n.cfg.Binary, err)
	}
	return lines(words), nil
}

// start starts nginx in a session of its own, where it outlives us, and waits until it serves.
func (n nginx) start(ctx context.Context) error {
	ctx, cancel := n.patience(ctx)
	defer cancel()
	words, err := n.run(ctx, n.cfg.PidFile, n.cfg.errorLog, "-c", n.cfg.ConfigFile)
	if err != nil {
		return fmt.Errorf("nginx did not start: %w: %s", err, sentence(words))
	}
	return n.until(ctx, func() bool { return len(n.workers(n.master())) > 0 })
}

// reload has the master load its configuration. A master that cannot says so in its log and keeps its workers; one that
// can starts new workers and bids the old ones finish. So it is the workers that tell.
func (n nginx) reload(ctx context.Context, master int) error {
	ctx, cancel := n.patience(ctx)
	defer cancel()
	before := n.workers(master)
	if err := syscall.Kill(master, syscall.SIGHUP); err != nil {
		return fmt.Errorf("nginx's master %d cannot be told to reload: %w", master, err)
	}
	return n.until(ctx, func() bool {
		now := n.workers(master)
		stays := func(pid int) bool { return slices.Contains(before, pid) }
		return len(now) > 0 && !slices.ContainsFunc(now, stays)
	})
}

func (n nginx) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, n.cfg.ReloadTimeout,
		fmt.Errorf("nginx brought up no new workers within %v; its error log says why", n.cfg.ReloadTimeout))
}

// until asks again and again, because the kernel tells nobody but the parent of a process about it.
func (n nginx) until(ctx context.Context, is func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// quit has nginx finish the requests that it has and end, or end at once where ctx does not give it the time.
func (n nginx) quit(ctx context.Context) error {
	master := n.master()
	if master == 0 {
		return nil
	}
	if err := syscall.Kill(master, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("nginx's master %d cannot be stopped: %w", master, err)
	}
	err := n.until(ctx, func() bool { return n.master() != master })
	if err != nil {
		_ = syscall.Kill(master, syscall.SIGTERM)
		return fmt.Errorf("nginx had requests left and was stopped all the same: %w", err)
	}
	return nil
}

// master returns the process id of nginx's master, 0 where none runs. A pid file may be years old, and the process that
// it names another program by now.
func (n nginx) master() int {
	content, err := os.ReadFile(n.cfg.PidFile)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || !strings.HasPrefix(title(pid), "nginx: master process") {
		return 0
	}
	return pid
}

// workers returns the master's workers that take requests. One takes that title once it is ready, and another one when
// it only finishes what it has.
func (n nginx) workers(master int) []int {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", master))
	var workers []int
	for _, word := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(word); err == nil && title(pid) == "nginx: worker process" {
			workers = append(workers, pid)
		}
	}
	return workers
}

// title is what a process calls itself, without the padding.
func title(pid int) string {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return string(bytes.TrimRight(content, "\x00 "))
}

func (n nginx) logSize() int64 {
	info, err := os.Stat(n.cfg.errorLog)
	if err != nil {
		return 0
	}
	return info.Size()
}

// logSince returns the first lines that nginx wrote into its log after it had that size.
func (n nginx) logSince(size int64) []string {
	f, err := os.Open(n.cfg.errorLog)
	if err != nil {
		return nil
	}
	defer f.Close()
	content := make([]byte, 2<<10)
	read, _ := f.ReadAt(content, size)
	return lines(string(content[:read]))
}

// sentence makes one line of several, without what nginx says at every attempt anew.
func sentence(text string) string { return strings.Join(slices.Compact(lines(text)), "; ") }

func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}
