package haproxy

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// stat returns what the system says about the process after its name: its state, its parent, and so on. The name is in
// parentheses and may contain any character.
func stat(pid int) ([]string, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:])), err
}

// defunct reports whether the process is a zombie.
func defunct(pid int) bool {
	fields, err := stat(pid)
	if err != nil {
		return os.IsNotExist(err)
	}
	return len(fields) > 0 && (fields[0] == "Z" || fields[0] == "X")
}

// parentOf returns the process that the process was started by, and 0 where that is not known.
func parentOf(pid int) int {
	fields, err := stat(pid)
	if err != nil || len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return parent
}

// commandLine returns the arguments that the process was started with, the program first.
func commandLine(pid int) ([]string, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), nil
}

// workingDir returns the folder that the process's relative paths start from.
func workingDir(pid int) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
}
