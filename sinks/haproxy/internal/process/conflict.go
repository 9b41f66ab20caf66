package haproxy

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

// A conflict is a process beside the HAProxy in use that runs the same configuration file or listens on the same addresses.
// With SO_REUSEPORT, which HAProxy sets, both take a part of the connections, and neither is told.
type conflict struct {
	pid       int // 0 for a process that cannot be seen
	program   string
	ourFile   bool // it is a HAProxy that runs our configuration file
	addresses []string
	user      string // the id of the owner of its sockets, for a process that cannot be seen
	parent    int
	unit      string // of systemd
}

// adoptable reports whether it can be replaced as our own HAProxy is by a reload.
func (c conflict) adoptable() bool { return c.ourFile && syscall.Kill(c.pid, 0) == nil }

func (c conflict) Error() string {
	who := fmt.Sprintf("process %d (%s)", c.pid, c.program)
	if c.pid == 0 {
		who = "a process of user " + c.user + " that cannot be seen from here"
	}
	var does []string
	if c.ourFile {
		does = append(does, "runs the same configuration file")
	}
	if len(c.addresses) > 0 {
		does = append(does, "listens on "+strings.Join(c.addresses, ", "))
	}
	sentence := fmt.Sprintf("%s %s, beside the HAProxy of haproxy-api, and takes connections from it: ", who,
		strings.Join(does, " and "))
	switch {
	case c.unit != "":
		return sentence + fmt.Sprintf("stop it and keep systemd from starting it again with \"systemctl mask --now %s\"", c.unit)
	case c.parent > 1:
		return sentence + fmt.Sprintf("stop it, and what starts it again if that is process %d (%s)", c.parent,
			procinfo.ProgramName(c.parent))
	default:
		return sentence + "stop it, and what starts it again"
	}
}

// makeWay returns old and the further processes that a HAProxy which is about to be started has to replace, or an error
// that names those that it cannot replace: no HAProxy is started beside another one.
func (p paths) makeWay(old []int, binary string) ([]int, error) {
	found, err := p.conflicts(running{pids: old}, binary)
	if err != nil { // nobody can tell
		return old, nil //nolint:nilerr // as it was before there was a way to tell
	}
	replaced := slices.Clone(old)
	var inTheWay error
	for _, c := range found {
		if c.adoptable() {
			replaced = append(replaced, c.pid)
		} else {
			inTheWay = errors.Join(inTheWay, fmt.Errorf("HAProxy is not started beside another process: %w", c))
		}
	}
	return replaced, inTheWay
}

// strays finds HAProxy processes that run our configuration file and that neither a socket nor the pid file leads to, such
// as after the folder of both was emptied. It looks once a second at most, since it is asked for as long as none runs.
type strays struct {
	mu     sync.Mutex
	looked time.Time
	pids   []int
}

func (s *strays) find(p paths, binary string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < time.Second {
		return slices.DeleteFunc(slices.Clone(s.pids), func(pid int) bool { return !procinfo.Exists(pid) })
	}
	s.pids = nil
	found, _ := p.conflicts(running{}, binary)
	for _, c := range found {
		if c.adoptable() {
			s.pids = append(s.pids, c.pid)
		}
	}
	s.looked = time.Now()
	return slices.Clone(s.pids)
}

// conflictWatch remembers the conflicts that were found, for readers that must not wait.
type conflictWatch struct {
	mu      sync.Mutex
	found   []conflict
	unknown string // why nobody can tell
}

// note takes the outcome of a survey, and logs what has changed.
func (w *conflictWatch) note(found []conflict, err error, log *slog.Logger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.unknown = err.Error()
		return
	}
	before := w.found
	w.found, w.unknown = found, ""
	for _, c := range found {
		if !slices.ContainsFunc(before, func(other conflict) bool { return other.Error() == c.Error() }) {
			log.Error("another process takes connections that are meant for HAProxy", "pid", c.pid, "error", c)
		}
	}
	for _, c := range before {
		if !slices.ContainsFunc(found, func(other conflict) bool { return other.pid == c.pid }) {
			log.Info("the other process no longer takes connections", "pid", c.pid, "program", c.program,
				"addresses", strings.Join(c.addresses, ", "))
		}
	}
}

// problems returns what is wrong, and adds to the facts.
func (w *conflictWatch) problems(facts map[string]string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var problems, pids []string
	for _, c := range w.found {
		problems = append(problems, c.Error())
		pids = append(pids, strconv.Itoa(c.pid))
	}
	if len(pids) > 0 {
		facts["conflicting_processes"] = strings.Join(pids, " ")
	}
	if w.unknown != "" {
		facts["conflicting_processes"] = "not known: " + w.unknown
	}
	return problems
}

// watchConflicts looks for conflicts with the HAProxy that runs.
func (s *Sink) watchConflicts(now running) {
	found, err := s.paths.conflicts(now, s.cfg.Binary)
	s.conflicts.note(found, err, s.log)
}
