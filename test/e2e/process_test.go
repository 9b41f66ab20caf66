package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// masterPID returns the process id in HAProxy's pid file, or 0.
func (env *testEnv) masterPID() int {
	pid, _ := strconv.Atoi(strings.TrimSpace(env.read("haproxy.pid")))
	return pid
}

// workerPID returns the process id of the current worker, the master's newest child.
func (env *testEnv) workerPID() int {
	newest, began := 0, 0
	for _, pid := range childPIDs(env.masterPID()) {
		// Process ids wrap around, so the highest is not always the newest.
		if at := startTime(pid); at >= began {
			newest, began = pid, at
		}
	}
	return newest
}

// pluginPID returns the process id of the default plugin, or 0.
func (env *testEnv) pluginPID() int {
	for _, pid := range childPIDs(env.cmd.Process.Pid) {
		if strings.Contains(commandLine(pid), "plugin haproxy") {
			return pid
		}
	}
	return 0
}

func childPIDs(parent int) []int {
	var children []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		content, err := os.ReadFile(stat)
		if err != nil {
			continue // the process has ended
		}
		fields := statFields(content)
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) && fields[0] != "Z" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			children = append(children, pid)
		}
	}
	return children
}

// statFields returns the fields after the name of the program, which is in parentheses and may contain anything.
func statFields(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// startTime returns when the process started, in clock ticks since boot, or 0.
func startTime(pid int) int {
	const began = 19 // the index in statFields
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if fields := statFields(stat); err == nil && len(fields) > began {
		ticks, _ := strconv.Atoi(fields[began])
		return ticks
	}
	return 0
}

func commandLine(pid int) string {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(content), "\x00", " "))
}

// killHAProxyIn kills each HAProxy whose command line names the directory.
func killHAProxyIn(directory string) {
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, entry := range entries {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
		if line := commandLine(pid); strings.Contains(line, "haproxy ") && strings.Contains(line, directory+"/") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// descendantPIDs returns the processes below parent.
func descendantPIDs(parent int) []int {
	var all []int
	for _, child := range childPIDs(parent) {
		all = append(append(all, child), descendantPIDs(child)...)
	}
	return all
}

// isStopped reports whether every thread of the process is stopped by a signal: the third field of
// /proc/PID/task/TID/stat is T (proc(5)).
func isStopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // the thread has ended
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return len(threads) > 0
}

// isRunning reports whether a process below parent has a command line that contains command.
func isRunning(parent int, command string) bool {
	for _, pid := range descendantPIDs(parent) {
		if strings.Contains(commandLine(pid), command) {
			return true
		}
	}
	return false
}

func openFiles(pid int) int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return len(files)
}

func residentKiB(pid int) int { return statusNumber(pid, "VmRSS:") }

// proportionalKiB returns the proportional set size: like the resident memory, but of what several processes share, such as the
// program of daemon and plugin, each counts its part.
func proportionalKiB(pid int) int { return procNumber(pid, "smaps_rollup", "Pss:") }

func threadCount(pid int) int { return statusNumber(pid, "Threads:") }

// statusNumber returns a number from /proc/PID/status, or 0.
func statusNumber(pid int, key string) int { return procNumber(pid, "status", key) }

// procNumber returns the number after key in a file of /proc/PID, or 0.
func procNumber(pid int, file, key string) int {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	for line := range strings.Lines(string(content)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == key {
			n, _ := strconv.Atoi(words[1])
			return n
		}
	}
	return 0
}
