//go:build !linux

package haproxy

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// defunct reports whether the process is a zombie. There is no cheap way to ask here, and the first process of these
// systems collects all of them.
func defunct(int) bool { return false }

// commandLine returns the arguments that the process was started with, the program first. ps joins them with spaces,
// so a path with a space in it comes apart.
func commandLine(pid int) ([]string, error) {
	line, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(line)), nil
}

// parentOf returns the process that the process was started by, and 0 where that is not known.
func parentOf(pid int) int {
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

// workingDir is not told here.
func workingDir(int) (string, error) { return "", errors.ErrUnsupported }

// rootDir returns the root folder of the process as a path for us: here all processes have the same.
func rootDir(int) string { return "" }

// programName returns the name of the executable that the process runs.
func programName(pid int) string {
	path, err := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return filepath.Base(strings.TrimSpace(string(path)))
}
