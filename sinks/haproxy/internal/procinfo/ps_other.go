//go:build !linux

package procinfo

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// isZombie always returns false: there is no cheap way to ask, and init reaps all zombies.
func isZombie(int) bool { return false }

// CommandLine returns the arguments that the process was started with, the program first. ps joins them with spaces, so that a
// path with a space is split.
func CommandLine(pid int) ([]string, error) {
	line, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(line)), nil
}

// Parent returns the parent of the process, or 0 if it is unknown.
func Parent(pid int) int {
	line, err := exec.Command("ps", "-o", "ppid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0
	}
	parent, err := strconv.Atoi(strings.TrimSpace(string(line)))
	if err != nil {
		return 0
	}
	return parent
}

// ProgramName returns the base name of the executable that the process runs.
func ProgramName(pid int) string {
	path, err := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return filepath.Base(strings.TrimSpace(string(path)))
}
