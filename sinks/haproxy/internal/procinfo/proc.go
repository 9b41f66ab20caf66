package procinfo

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// stat returns the fields of /proc/PID/stat from the third one on: the state, the parent, and so on. The name before them is in
// parentheses and may contain any character.
func stat(pid int) ([]string, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:])), err
}

// Indexes of what [stat] returns.
const (
	statState   = 0
	statParent  = 1
	statStarted = 19
)

// isInState reports whether the process is in one of the states, which are those of /proc/PID/stat.
func isInState(pid int, states ...string) bool {
	fields, err := stat(pid)
	return err == nil && len(fields) > statState && slices.Contains(states, fields[statState])
}

// IsStopped reports whether a signal or a debugger has stopped the process.
func IsStopped(pid int) bool { return isInState(pid, "T", "t") }

// IsSuspended reports whether a signal, and not a debugger, has stopped the process.
func IsSuspended(pid int) bool { return isInState(pid, "T") }

// List returns all visible processes but zombies, by id.
func List() (map[int]Process, error) {
	names, err := readNames("/proc")
	if err != nil {
		return nil, err
	}
	all := make(map[int]Process, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		fields, err := stat(pid)
		if err != nil || len(fields) <= statStarted || fields[statState] == "Z" || fields[statState] == "X" {
			continue
		}
		p := Process{}
		p.Parent, _ = strconv.Atoi(fields[statParent])
		p.Started, _ = strconv.ParseUint(fields[statStarted], 10, 64)
		all[pid] = p
	}
	return all, nil
}

// readNames returns the names in a directory, in no order.
func readNames(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	return dir.Readdirnames(-1)
}

// Children returns the running processes that the main thread of the process has started.
func Children(pid int) ([]int, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, word := range strings.Fields(string(content)) {
		if child, err := strconv.Atoi(word); err == nil && Exists(child) {
			pids = append(pids, child)
		}
	}
	return pids, nil
}

// Environment returns the environment that the process was executed with.
func Environment(pid int) (map[string]string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil, err
	}
	return environment(strings.Split(string(content), "\x00")), nil
}

// WorkingDir returns the working directory of the process.
func WorkingDir(pid int) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
}

// RootDir returns a path at which this process finds the root directory of the process pid, or "" if it may not read that.
func RootDir(pid int) string {
	root := fmt.Sprintf("/proc/%d/root", pid)
	if _, err := os.Stat(root + "/"); err != nil {
		return ""
	}
	return root
}

// NetworkNamespace returns a name of the network namespace of the process. Processes in different ones can listen on the same
// address without a conflict.
func NetworkNamespace(pid int) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
}

// SystemdUnit returns the name of the systemd service that the process belongs to, or "" if it belongs to none.
func SystemdUnit(pid int) string {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(groups)) {
		path := strings.TrimSpace(line)
		if unit := path[strings.LastIndexByte(path, '/')+1:]; strings.HasSuffix(unit, ".service") {
			return unit
		}
	}
	return ""
}
