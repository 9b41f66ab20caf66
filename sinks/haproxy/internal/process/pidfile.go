package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/internal/replace"
)

// maxPidFile bounds what is read of a pid file, in bytes.
const maxPidFile = 4096

// readPids returns the process ids in a pid file: one a line, and several from versions with nbproc. It returns none for a file
// that does not exist and for an empty one, which a full disk leaves. Any other file that cannot be read is an error, because a
// second HAProxy would be started beside the one that the file names.
func readPids(path string) ([]int, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the pid file %s, so it is unknown whether HAProxy runs: %w", path, replace.Cause(err))
	}
	var pids []int
	for _, word := range strings.Fields(string(content[:min(len(content), maxPidFile)])) {
		pid, err := strconv.Atoi(word)
		if err != nil || pid <= 0 {
			return nil, fmt.Errorf("the pid file %s contains %q instead of a process id: remove the file if HAProxy does not run",
				path, word)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// removePidFile removes a stale pid file, or empties one that cannot be removed, such as a mount point.
func (p Paths) removePidFile() error {
	if err := replace.Remove(p.PidFile); err != nil {
		return fmt.Errorf("cannot remove the stale pid file %s: %w", p.PidFile, replace.Cause(err))
	}
	return nil
}
