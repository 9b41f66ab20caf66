package haproxy

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// defunct reports whether the process is a zombie. Its state is the first word after the program's name, which is in
// parentheses and may contain any character.
func defunct(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return os.IsNotExist(err)
	}
	after := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(after) > 0 && (after[0] == 'Z' || after[0] == 'X')
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
