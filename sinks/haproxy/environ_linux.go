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
