package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
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
		return nil, fmt.Errorf("cannot read the pid file %s, so whether HAProxy runs is not known: %w", path, replace.Cause(err))
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

// removePidFile removes a pid file that is stale, or empties one that cannot be removed, such as a mount point.
func (p paths) removePidFile() error {
	if err := replace.Remove(p.pid); err != nil {
		return fmt.Errorf("cannot remove the stale pid file %s: %w", p.pid, replace.Cause(err))
	}
	return nil
}

// ours returns those of pids that are living HAProxy processes which were started for our files. Any other process has
// come by the id after ours had ended, and is no business of ours.
func (p paths) ours(pids []int, binary string) []int {
	return slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return !procinfo.Exists(pid) || !p.started(pid, binary) })
}

// started reports whether pid is a HAProxy whose command line names our configuration or pid file.
func (p paths) started(pid int, binary string) bool {
	if !isHAProxy(pid, binary) {
		return false
	}
	options := optionsOf(pid)
	return !options.check && (options.loads(p.config) || options.hasPidFile(p.pid))
}

// loads reports whether pid was started with our configuration file: a master loads that one at every reload.
func (p paths) loads(pid int) bool { return optionsOf(pid).loads(p.config) }

// hasSocket reports whether pid was started with our master socket.
func (p paths) hasSocket(pid int) bool {
	args, err := procinfo.CommandLine(pid)
	return err == nil && slices.ContainsFunc(args, func(arg string) bool {
		path, _, _ := strings.Cut(arg, ",")
		return path == p.socket
	})
}

// haproxyName matches the names that HAProxy's program has in packages, such as haproxy, haproxy24 and hapee-2.8-lb.
// Programs that deal with HAProxy, such as haproxy-api and haproxy_exporter, have others.
var haproxyName = regexp.MustCompile(`^(haproxy|hapee)([-_.]?[0-9][-_.0-9a-z]*)?$`)

// isHAProxy reports whether the program that runs as pid is HAProxy. The executable decides: a program that has our file
// among its arguments, such as an editor, is not HAProxy, whatever name it was given.
func isHAProxy(pid int, binary string) bool {
	return isNamed(procinfo.ProgramName(pid), binaryNames(binary))
}

func isNamed(program string, names []string) bool {
	return slices.Contains(names, program) || haproxyName.MatchString(program)
}

// binaryNames returns the names under which the configured program can run.
func binaryNames(binary string) []string {
	names := []string{filepath.Base(binary)}
	if found, err := findBinary(binary); err == nil {
		if resolved, err := filepath.EvalSymlinks(found); err == nil {
			names = append(names, filepath.Base(resolved))
		}
	}
	return names
}
