package haproxy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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

// rootDir returns the root folder of the process as a path for us, and "" for our own or where we may not look.
func rootDir(pid int) string {
	root := fmt.Sprintf("/proc/%d/root", pid)
	if _, err := os.Stat(root + "/"); err != nil {
		return ""
	}
	return root
}

// programName returns the name of the executable that the process runs, also where it has been replaced on disk since.
// Where we may not look, it is the name under which the system lists the process, of which it keeps 15 bytes.
func programName(pid int) string {
	executable, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err == nil {
		return filepath.Base(strings.TrimSuffix(executable, " (deleted)"))
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
