//go:build !linux

package haproxy

import (
	"errors"
	"os/exec"
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

// workingDir is not told here.
func workingDir(int) (string, error) { return "", errors.ErrUnsupported }
