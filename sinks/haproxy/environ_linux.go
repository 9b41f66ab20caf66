package haproxy

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// environ returns the environment that the process was executed with.
func environ(pid int) (map[string]string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil, err
	}
	return environmentOf(strings.Split(string(content), "\x00")), nil
}

// children returns the processes that the main thread of the process has started and that are there still.
func children(pid int) ([]int, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, word := range strings.Fields(string(content)) {
		if child, err := strconv.Atoi(word); err == nil && exists(child) {
			pids = append(pids, child)
		}
	}
	return pids, nil
}

// listens reports whether the process has a TCP socket that takes connections.
func listens(pid int) (bool, error) {
	listening := map[string]bool{}
	for _, table := range []string{"tcp", "tcp6"} {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil && !os.IsNotExist(err) {
			return false, err
		}
		for line := range strings.Lines(string(content)) {
			const state, listen, inode = 3, "0A", 9
			if fields := strings.Fields(line); len(fields) > inode && fields[state] == listen {
				listening["socket:["+fields[inode]+"]"] = true
			}
		}
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil && listening[target] {
			return true, nil
		}
	}
	return false, nil
}
