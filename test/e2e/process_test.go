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

// masterPID returns the process id in HAProxy's pid file; 0 for none.
func (env *testEnv) masterPID() int {
	pid, _ := strconv.Atoi(strings.TrimSpace(env.read("haproxy.pid")))
	return pid
}

// workerPID returns the current worker, the master's newest child.
func (env *testEnv) workerPID() int {
	newest, began := 0, 0
	for _, pid := range childPIDs(env.masterPID()) {
		// Process ids begin anew at some time, so the highest is not always the last.
		if at := startTime(pid); at >= began {
			newest, began = pid, at
		}
	}
	return newest
}

// pluginPID returns the process of the default plugin.
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
			continue // it ended meanwhile
		}
		fields := statFields(content)
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) && fields[0] != "Z" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			children = append(children, pid)
		}
	}
	return children
}

// statFields are the fields after the name, which may hold anything but ends with the last parenthesis.
func statFields(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// beganAt returns when the process began, in ticks since the machine did.
func startTime(pid int) int {
	const began = 19 // of the fields after the name
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

// stopLeftHAProxy kills every HAProxy whose command line names the folder.
func killHAProxyIn(folder string) {
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, entry := range entries {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
		if line := commandLine(pid); strings.Contains(line, "haproxy ") && strings.Contains(line, folder+"/") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// descendants are the processes below parent.
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

// runs reports whether a process below parent has that command line.
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

func threadCount(pid int) int { return statusNumber(pid, "Threads:") }

// statusNumber returns a number from the process's status; 0 for none.
func statusNumber(pid int, key string) int {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(content)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == key {
			n, _ := strconv.Atoi(words[1])
			return n
		}
	}
	return 0
}
