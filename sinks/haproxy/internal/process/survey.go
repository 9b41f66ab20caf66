package process

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/listen"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// A survey searches the system's processes and sockets for conflicts with one instance.
type survey struct {
	cfg   Config
	names []string // of HAProxy's program
	own   Instance

	network   string // the namespace of own, or of this process where own is none
	processes map[int]procinfo.Process
	tree      map[int]bool    // the processes of own
	readable  bool            // the sockets of own could be read
	held      map[uint64]bool // the inodes of the sockets of own
	sockets   []procinfo.Socket
	contested []procinfo.Socket // sockets of other processes on addresses of own
}

// Conflicts returns the conflicts with own, which is the zero value if no HAProxy of ours runs. The error says why conflicts
// cannot be known on this system.
//
// It takes a few milliseconds: it reads the lists of processes and listening sockets, and the sockets of another process only
// if a socket is on an address of own or the process is a HAProxy with the configuration file. The system changes meanwhile, so
// it returns only conflicts that it finds twice.
func (c Config) Conflicts(own Instance) ([]Conflict, error) {
	first, err := c.findConflicts(own)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	second, err := c.findConflicts(own)
	return slices.DeleteFunc(second, func(found Conflict) bool {
		return !slices.ContainsFunc(first, func(before Conflict) bool { return before.pid == found.pid })
	}), err
}

func (c Config) findConflicts(own Instance) ([]Conflict, error) {
	s, err := c.newSurvey(own)
	if err != nil {
		return nil, err
	}
	found := map[int]Conflict{}
	for pid := range s.processes {
		if s.tree[pid] {
			continue
		}
		if conflict, ok := s.conflictOf(pid); ok {
			found[pid] = conflict
		}
	}
	invisible := s.invisibleOwners(found)
	byPid := func(a, b Conflict) int { return cmp.Compare(a.pid, b.pid) }
	return append(slices.SortedFunc(maps.Values(s.groupByParent(found)), byPid), invisible...), nil
}

// listening returns the sockets on which other processes listen, and the addresses on which own does. The error says why that
// cannot be known.
func (c Config) listening(own Instance) (others []socketHolder, held []listen.Address, err error) {
	s, err := c.newSurvey(own)
	if err != nil {
		return nil, nil, err
	}
	if !s.readable {
		return nil, nil, errUnreadable
	}
	for _, socket := range s.sockets {
		if s.held[socket.Inode] {
			held = append(held, socket.Address)
			continue
		}
		others = append(others, socketHolder{socket})
	}
	return others, held, nil
}

// errUnreadable reports that this process may not read HAProxy's open files.
var errUnreadable = errors.New("the sockets of HAProxy cannot be read")

// groupByParent merges the conflicts of processes that one of them has started, such as those of the workers of a master.
func (s *survey) groupByParent(found map[int]Conflict) map[int]Conflict {
	groups := map[int]Conflict{}
	for pid, c := range found {
		top := pid
		for parent := s.processes[top].Parent; !s.tree[parent] && s.belongs(found, parent); parent = s.processes[top].Parent {
			top = parent
		}
		group := groups[top]
		group.pid, group.program = top, procinfo.ProgramName(top)
		group.parent, group.unit = s.processes[top].Parent, procinfo.SystemdUnit(top)
		group.ourFile = group.ourFile || c.ourFile
		group.addresses = slices.Compact(slices.Sorted(slices.Values(slices.Concat(group.addresses, c.addresses))))
		groups[top] = group
	}
	return groups
}

// belongs reports whether the parent of a process that was found is part of the same HAProxy.
func (s *survey) belongs(found map[int]Conflict, parent int) bool {
	_, holds := found[parent]
	return holds || isHAProxyName(procinfo.ProgramName(parent), s.names)
}

// newSurvey reads the sockets and the processes, in this order, so that the owner of a listed socket is listed as well unless
// it has ended.
func (c Config) newSurvey(own Instance) (*survey, error) {
	s := &survey{cfg: c, names: binaryNames(c.Binary), own: own}
	reference, err := s.findNetwork()
	if err != nil {
		return nil, err
	}
	if s.sockets, err = procinfo.ListeningSockets(reference); err != nil {
		return nil, err
	}
	if s.processes, err = procinfo.List(); err != nil {
		return nil, err
	}
	s.findTree()
	ours := s.ourAddresses()
	for _, socket := range s.sockets {
		if socket.Address.Path == s.cfg.MasterSocket { // a replaced master keeps its socket until it ends
			continue
		}
		if !s.held[socket.Inode] && slices.ContainsFunc(ours, socket.Address.Overlaps) {
			s.contested = append(s.contested, socket)
		}
	}
	return s, nil
}

// findNetwork finds the network namespace and returns a process that is in it.
func (s *survey) findNetwork() (reference int, err error) {
	candidates := append(slices.Clone(s.own.Pids), s.own.Worker)
	if s.own.None() {
		candidates = []int{os.Getpid()}
	}
	for _, pid := range candidates {
		if s.network, err = procinfo.NetworkNamespace(pid); err == nil {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("the network namespace of HAProxy is unknown: %w", err)
}

// findTree finds the processes of own, with all their descendants, and their sockets.
func (s *survey) findTree() {
	s.tree, s.held, s.readable = map[int]bool{}, map[uint64]bool{}, true
	for _, pid := range slices.Concat(s.own.Pids, s.own.OldWorkers, []int{s.own.Worker}) {
		s.tree[pid] = true
	}
	for grown := true; grown; {
		grown = false
		for pid, p := range s.processes {
			if !s.tree[pid] && s.tree[p.Parent] && p.Parent != 0 {
				s.tree[pid], grown = true, true
			}
		}
	}
	for pid := range s.tree {
		if _, runs := s.processes[pid]; !runs {
			continue
		}
		open, err := procinfo.OpenSockets(pid)
		if err != nil && !os.IsNotExist(err) {
			s.readable = false
		}
		maps.Copy(s.held, open)
	}
}

// ourAddresses returns the addresses in the configuration file and those on which own listens.
func (s *survey) ourAddresses() []listen.Address {
	content, _ := os.ReadFile(s.cfg.ConfigFile)
	ours := listen.Addresses(content)
	for _, socket := range s.sockets {
		if s.held[socket.Inode] {
			ours = append(ours, socket.Address)
		}
	}
	return ours
}

// conflictOf reports whether a process that does not belong to own is a conflict.
func (s *survey) conflictOf(pid int) (Conflict, bool) {
	haproxy := isHAProxyName(procinfo.ProgramName(pid), s.names)
	if !haproxy && len(s.contested) == 0 {
		return Conflict{}, false
	}
	ourFile := haproxy && s.runsOurFile(pid)
	if !ourFile && len(s.contested) == 0 {
		return Conflict{}, false
	}
	if network, err := procinfo.NetworkNamespace(pid); err == nil && network != s.network {
		return Conflict{}, false
	}
	open, err := procinfo.OpenSockets(pid)
	c := Conflict{pid: pid, ourFile: ourFile}
	for _, socket := range s.contested {
		if open[socket.Inode] && !slices.Contains(c.addresses, socket.Address.String()) {
			c.addresses = append(c.addresses, socket.Address.String())
		}
	}
	return c, len(c.addresses) > 0 || ourFile && s.serves(pid, open, err)
}

// runsOurFile reports whether a HAProxy runs the configuration file. The path of the file on the command line of a worker in a
// chroot names another file there, so its master counts as well.
func (s *survey) runsOurFile(pid int) bool {
	options := optionsOf(pid)
	if options.check {
		return false
	}
	if options.loads(s.cfg.ConfigFile) {
		return true
	}
	master := s.processes[pid].Parent
	return isHAProxyName(procinfo.ProgramName(master), s.names) && s.cfg.loads(master)
}

// serves reports whether a HAProxy with the configuration file does more than finish its connections. A HAProxy that was told
// to finish does not listen. Where its sockets cannot be read, one that is older than own is assumed to be finishing, because
// own has replaced it.
func (s *survey) serves(pid int, open map[uint64]bool, err error) bool {
	if err == nil {
		return slices.ContainsFunc(s.sockets, func(socket procinfo.Socket) bool {
			return open[socket.Inode] && socket.Address.Network != "unix"
		})
	}
	return !slices.ContainsFunc(s.own.Pids, func(own int) bool { return s.processes[own].Started >= s.processes[pid].Started })
}

// invisibleOwners returns the owners of contested sockets that are not visible. It returns none if the sockets of own cannot
// be read.
func (s *survey) invisibleOwners(found map[int]Conflict) []Conflict {
	if !s.readable {
		return nil
	}
	var invisible []Conflict
	for _, socket := range s.contested {
		address := socket.Address.String()
		seen := false
		for _, c := range found {
			seen = seen || slices.Contains(c.addresses, address)
		}
		if !seen {
			invisible = append(invisible, Conflict{addresses: []string{address}, user: cmp.Or(socket.User, "unknown")})
		}
	}
	return invisible
}
