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

// nginx controls the program by its pid file and by its processes in /proc: it has no other interface to query.
type nginx struct{ cfg config }

// run runs the program until it exits or continues in the background, and returns its output. run sets the pid file and the
// background mode: nginx rejects a document that sets them too, as a duplicate.
func (n nginx) run(ctx context.Context, pidFile, errorLog string, args ...string) (string, error) {
	directives := fmt.Sprintf("pid %q; error_log %q warn; daemon on; master_process on;", pidFile, errorLog)
	// -e is the log before the configuration is read. Those messages are on standard error too.
	args = append(args, "-p", n.cfg.Prefix, "-e", os.DevNull, "-g", directives)
	cmd := exec.CommandContext(ctx, n.cfg.Binary, args...)
	cmd.WaitDelay = time.Second // a child of nginx may keep the pipe open
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return strings.TrimSpace(string(out)), err
}

// check has nginx check the staged files and returns its warnings. nginx opens the logs that they name, but not the live pid
// file.
func (n nginx) check(ctx context.Context, st *stage) ([]string, error) {
	slow := fmt.Errorf("it took longer than check_timeout (%v)", n.cfg.CheckTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.CheckTimeout, slow)
	defer cancel()
	output, err := n.run(ctx, st.pid(), os.DevNull, "-t", "-q", "-c", st.main())
	output = st.original(output)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return nil, sdk.Rejectf("nginx rejects the configuration: %s", oneLine(output))
	}
	if err != nil {
		return nil, fmt.Errorf("checking the configuration with %s: %w", n.cfg.Binary, err)
	}
	return lines(output), nil
}

// start starts nginx, which goes on in a session of its own when the plugin ends, and waits until it serves.
func (n nginx) start(ctx context.Context) error {
	ctx, cancel := n.withReloadTimeout(ctx)
	defer cancel()
	output, err := n.run(ctx, n.cfg.PidFile, n.cfg.errorLog, "-c", n.cfg.ConfigFile)
	if err != nil {
		return fmt.Errorf("nginx did not start: %w: %s", err, oneLine(output))
	}
	return n.waitFor(ctx, func() bool { return len(n.workers(n.master())) > 0 })
}

// reload has the master load its configuration and waits until all workers are new. A master that cannot load it writes to
// its log and keeps its workers.
func (n nginx) reload(ctx context.Context, master int) error {
	ctx, cancel := n.withReloadTimeout(ctx)
	defer cancel()
	before := n.workers(master)
	if err := syscall.Kill(master, syscall.SIGHUP); err != nil {
		return fmt.Errorf("signalling nginx's master %d to reload: %w", master, err)
	}
	return n.waitFor(ctx, func() bool {
		now := n.workers(master)
		stays := func(pid int) bool { return slices.Contains(before, pid) }
		return len(now) > 0 && !slices.ContainsFunc(now, stays)
	})
}

func (n nginx) withReloadTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, n.cfg.ReloadTimeout,
		fmt.Errorf("nginx started no new workers within %v; see its error log", n.cfg.ReloadTimeout))
}

// waitFor polls until done returns true, because the kernel notifies only the parent of a process.
func (n nginx) waitFor(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// quit makes nginx finish its requests and exit. Once ctx is done, nginx must exit at once.
func (n nginx) quit(ctx context.Context) error {
	master := n.master()
	if master == 0 {
		return nil
	}
	if err := syscall.Kill(master, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("signalling nginx's master %d to quit: %w", master, err)
	}
	err := n.waitFor(ctx, func() bool { return n.master() != master })
	if err != nil {
		_ = syscall.Kill(master, syscall.SIGTERM)
		return fmt.Errorf("nginx was stopped before it had finished its requests: %w", err)
	}
	return nil
}

// master returns the process id of nginx's master, and 0 if none runs. A pid file may be old, and its process another program
// now.
func (n nginx) master() int {
	content, err := os.ReadFile(n.cfg.PidFile)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || !strings.HasPrefix(processTitle(pid), "nginx: master process") {
		return 0
	}
	return pid
}

// workers returns the master's workers that accept requests. A worker has another process title before and after that.
func (n nginx) workers(master int) []int {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", master))
	var workers []int
	for _, word := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(word); err == nil && processTitle(pid) == "nginx: worker process" {
			workers = append(workers, pid)
		}
	}
	return workers
}

// processTitle returns the title that a process has given itself.
func processTitle(pid int) string {
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

// logSince returns the first lines that nginx wrote to its log after the log had the given size.
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

// oneLine joins the lines of text, without repeated ones.
func oneLine(text string) string { return strings.Join(slices.Compact(lines(text)), "; ") }

func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}
