package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// tick is how often something is looked at that tells nobody when it changes.
const tick = 10 * time.Millisecond

// poll calls look every tick until it says that it is done, or ctx is.
func poll(ctx context.Context, look func() (done bool, err error)) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if done, err := look(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// maxPidFile bounds what is read of a pid file, in bytes.
const maxPidFile = 4096

// readPids returns the process ids in a pid file: several, one a line, from versions with nbproc. No file and an empty
// one, which a full disk leaves, are none. Anything else that cannot be read is an error, and not the same as none: a
// second HAProxy would be started beside the one that it names.
func readPids(path string) ([]int, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the pid file %s, so whether HAProxy runs is not known: %w", path, stage.Cause(err))
	}
	var pids []int
	for _, word := range strings.Fields(string(content[:min(len(content), maxPidFile)])) {
		pid, err := strconv.Atoi(word)
		if err != nil || pid <= 0 {
			return nil, fmt.Errorf("the pid file %s holds %q where a process id should be: remove it if HAProxy does not run",
				path, word)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// exists reports whether a process with that id runs. One that is dead and only waits for its parent to notice, as in
// a container whose first process collects nobody, does not.
func exists(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := syscall.Kill(pid, 0)
	return (err == nil || errors.Is(err, syscall.EPERM)) && !defunct(pid)
}

// ours returns those of pids that are living HAProxy processes which were started for our files. Any other process has
// come by the id after ours had ended, and is no business of ours.
func (p paths) ours(pids []int, binary string) []int {
	return slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return !exists(pid) || !p.started(pid, binary) })
}

// started reports whether pid is a HAProxy whose command line names our configuration or pid file.
func (p paths) started(pid int, binary string) bool {
	args, err := commandLine(pid)
	if err != nil || len(args) == 0 {
		return false
	}
	program := filepath.Base(args[0])
	if program != filepath.Base(binary) && !strings.Contains(program, "haproxy") {
		return false
	}
	return slices.ContainsFunc(args[1:], func(arg string) bool {
		return samePath(arg, p.config, pid) || samePath(arg, p.pid, pid)
	})
}

// loads reports whether pid was started with our configuration file: a master loads that one at every reload.
func (p paths) loads(pid int) bool {
	args, err := commandLine(pid)
	if err != nil {
		return false
	}
	for i, arg := range args[1:] {
		if args[i] == "-f" && samePath(arg, p.config, pid) {
			return true
		}
	}
	return false
}

// samePath reports whether an argument of process pid names path, be it through a symbolic link.
func samePath(arg, path string, pid int) bool {
	if !filepath.IsAbs(arg) {
		dir, err := workingDir(pid)
		if err != nil { // not told on this system: the last part has to do
			return filepath.Base(arg) == filepath.Base(path)
		}
		arg = filepath.Join(dir, arg)
	}
	if filepath.Clean(arg) == path {
		return true
	}
	named, err := os.Stat(arg)
	if err != nil || !named.Mode().IsRegular() {
		return false
	}
	wanted, err := os.Stat(path)
	return err == nil && os.SameFile(named, wanted)
}

// hasSocket reports whether pid was started with our master socket.
func (p paths) hasSocket(pid int) bool {
	args, err := commandLine(pid)
	return err == nil && slices.ContainsFunc(args, func(arg string) bool {
		path, _, _ := strings.Cut(arg, ",")
		return path == p.socket
	})
}
