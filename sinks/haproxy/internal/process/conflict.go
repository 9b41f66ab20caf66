package process

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// A Conflict is a process beside the HAProxy in use that runs the same configuration file or listens on the same addresses. With
// SO_REUSEPORT, which HAProxy sets, both get a part of the connections, and neither notices.
type Conflict struct {
	pid       int // 0 for a process that is not visible
	program   string
	ourFile   bool // it is a HAProxy that runs the configuration file
	addresses []string
	user      string // the id of the owner of its sockets, for a process that is not visible
	parent    int
	unit      string // of systemd
}

// replaceable reports whether a reload can replace the process as it replaces a HAProxy of ours.
func (c Conflict) replaceable() bool { return c.ourFile && syscall.Kill(c.pid, 0) == nil }

func (c Conflict) Error() string {
	subject := fmt.Sprintf("process %d (%s)", c.pid, c.program)
	if c.pid == 0 {
		subject = "a process of user " + c.user + " that is not visible from here"
	}
	var does []string
	if c.ourFile {
		does = append(does, "runs the same configuration file")
	}
	if len(c.addresses) > 0 {
		does = append(does, "listens on "+strings.Join(c.addresses, ", "))
	}
	text := fmt.Sprintf("%s %s, beside the HAProxy of haproxy-api, and takes connections from it: ", subject,
		strings.Join(does, " and "))
	switch {
	case c.unit != "":
		return text + fmt.Sprintf("stop it and keep systemd from restarting it with \"systemctl mask --now %s\"", c.unit)
	case c.parent > 1:
		return text + fmt.Sprintf("stop it, and process %d (%s) if that restarts it", c.parent, procinfo.ProgramName(c.parent))
	default:
		return text + "stop it, and the program that restarts it"
	}
}

// withConflicting returns old and the further processes that a new HAProxy has to replace. It returns an error that names the
// processes which it cannot replace: HAProxy is never started beside another process.
func (c Config) withConflicting(old []int) ([]int, error) {
	found, err := c.Conflicts(Instance{Pids: old})
	if err != nil { // unknown on this system
		return old, nil //nolint:nilerr // HAProxy has to start nevertheless
	}
	replaced := slices.Clone(old)
	var others error
	for _, conflict := range found {
		if conflict.replaceable() {
			replaced = append(replaced, conflict.pid)
		} else {
			others = errors.Join(others, fmt.Errorf("HAProxy is not started beside another process: %w", conflict))
		}
	}
	return replaced, others
}

// An orphanFinder finds HAProxy processes that run the configuration file but are listed neither by a socket nor in the pid
// file, for example after the directory of both was emptied. It searches at most once a second.
type orphanFinder struct {
	mu       sync.Mutex
	searched time.Time
	pids     []int
}

func (f *orphanFinder) find(c Config) []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.searched) < time.Second {
		return slices.DeleteFunc(slices.Clone(f.pids), func(pid int) bool { return !procinfo.Exists(pid) })
	}
	f.pids = nil
	found, _ := c.Conflicts(Instance{})
	for _, conflict := range found {
		if conflict.replaceable() {
			f.pids = append(f.pids, conflict.pid)
		}
	}
	f.searched = time.Now()
	return slices.Clone(f.pids)
}

// A ConflictMonitor remembers the conflicts that were found last, for readers that must not wait for a search. The zero value
// has none.
type ConflictMonitor struct {
	mu    sync.Mutex
	found []Conflict
	err   error // why conflicts are unknown
}

// Record takes the result of [Config.Conflicts], and logs what has changed since the last one.
func (m *ConflictMonitor) Record(found []Conflict, err error, log *slog.Logger) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err = err; err != nil {
		return
	}
	before := m.found
	m.found = found
	for _, c := range found {
		if !slices.ContainsFunc(before, func(other Conflict) bool { return other.Error() == c.Error() }) {
			log.Error("another process takes connections that are meant for HAProxy", "pid", c.pid, "error", c)
		}
	}
	for _, c := range before {
		if !slices.ContainsFunc(found, func(other Conflict) bool { return other.pid == c.pid }) {
			log.Info("the other process no longer takes connections", "pid", c.pid, "program", c.program,
				"addresses", c.addresses)
		}
	}
}

// Problems returns the conflicts as problems for Health, and adds to its facts.
func (m *ConflictMonitor) Problems(facts map[string]string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var problems, pids []string
	for _, c := range m.found {
		problems = append(problems, c.Error())
		pids = append(pids, strconv.Itoa(c.pid))
	}
	if len(pids) > 0 {
		facts["conflicting_processes"] = strings.Join(pids, " ")
	}
	if m.err != nil {
		facts["conflicting_processes"] = "unknown: " + m.err.Error()
	}
	return problems
}
