package procinfo

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// These functions have another implementation on systems without /proc.

func isZombie(pid int) bool {
	fields, err := stat(pid)
	if err != nil {
		return os.IsNotExist(err) // it has been reaped
	}
	return len(fields) > statState && (fields[statState] == "Z" || fields[statState] == "X")
}

// Parent returns the parent of the process, or 0 if it is unknown.
func Parent(pid int) int {
	fields, err := stat(pid)
	if err != nil || len(fields) <= statParent {
		return 0
	}
	parent, err := strconv.Atoi(fields[statParent])
	if err != nil {
		return 0
	}
	return parent
}

// CommandLine returns the arguments that the process was started with, the program first.
func CommandLine(pid int) ([]string, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), nil
}

// ProgramName returns the base name of the executable that the process runs, also where the file has been replaced since. Where
// the executable may not be read, it returns the name under which the system lists the process, which has at most 15 bytes.
func ProgramName(pid int) string {
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
