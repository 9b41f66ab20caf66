package haproxy

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

// A survey looks for conflicts.
type survey struct {
	paths paths
	names []string // that HAProxy's program has
	own   running

	network   string // the namespace that own, or we, are in
	processes map[int]procinfo.Process
	tree      map[int]bool    // the processes of own
	readable  bool            // the sockets of own could be read
	held      map[uint64]bool // the sockets of own
	sockets   []procinfo.Socket
	contested []procinfo.Socket // sockets of others on our addresses
}

// conflicts returns the conflicts with own, which is the zero value where no HAProxy of ours runs. An error says that
// nobody can tell here.
//
// It takes a few milliseconds: lists of processes and listening sockets are read, and the sockets of other processes only
// if one of them is on our addresses or belongs to a HAProxy with our file. The system is changing meanwhile, so that a
// conflict has to be seen twice.
func (p paths) conflicts(own running, binary string) ([]conflict, error) {
	first, err := p.survey(own, binary)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	second, err := p.survey(own, binary)
	return slices.DeleteFunc(second, func(c conflict) bool {
		return !slices.ContainsFunc(first, func(before conflict) bool { return before.pid == c.pid })
	}), err
}

func (p paths) survey(own running, binary string) ([]conflict, error) {
	s := &survey{paths: p, names: binaryNames(binary), own: own}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	found := map[int]conflict{}
	for pid := range s.processes {
		if s.tree[pid] {
			continue
		}
		if c, ok := s.judge(pid); ok {
			found[pid] = c
		}
	}
	unseen := s.unseen(found)
	byPid := func(a, b conflict) int { return cmp.Compare(a.pid, b.pid) }
	return append(slices.SortedFunc(maps.Values(s.grouped(found)), byPid), unseen...), nil
}

// listening returns where processes listen that are not of own, and where those of own do. An error says that nobody can tell.
func (p paths) listening(own running, binary string) (others []holder, held []listen.Address, err error) {
	s := &survey{paths: p, names: binaryNames(binary), own: own}
	if err := s.prepare(); err != nil {
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
		others = append(others, holder{address: socket.Address, inode: socket.Inode})
	}
	return others, held, nil
}

// errUnreadable says that HAProxy's open files are not ours to see.
var errUnreadable = errors.New("the sockets of HAProxy cannot be read")

// grouped has the process that started the others stand for all of them, such as a master for its workers.
func (s *survey) grouped(found map[int]conflict) map[int]conflict {
	groups := map[int]conflict{}
	for pid, c := range found {
		top := pid
		for parent := s.processes[top].Parent; !s.tree[parent] && s.startedIt(found, parent); parent = s.processes[top].Parent {
			top = parent
		}
		group := groups[top]
		group.pid, group.program, group.parent, group.unit = top, procinfo.ProgramName(top), s.processes[top].Parent, procinfo.SystemdUnit(top)
		group.ourFile = group.ourFile || c.ourFile
		group.addresses = slices.Compact(slices.Sorted(slices.Values(slices.Concat(group.addresses, c.addresses))))
		groups[top] = group
	}
	return groups
}

// startedIt reports whether the parent of a process that was found belongs to it.
func (s *survey) startedIt(found map[int]conflict, parent int) bool {
	_, holds := found[parent]
	return holds || isNamed(procinfo.ProgramName(parent), s.names)
}

// prepare reads what there is. The sockets come first, so that one which is listed has had its owner.
func (s *survey) prepare() error {
	reference, err := s.findNetwork()
	if err != nil {
		return err
	}
	if s.sockets, err = procinfo.ListeningSockets(reference); err != nil {
		return err
	}
	if s.processes, err = procinfo.List(); err != nil {
		return err
	}
	s.findTree()
	ours := s.ourAddresses()
	for _, socket := range s.sockets {
		if socket.Address.Path == s.paths.socket { // a master that was replaced keeps its own to the end
			continue
		}
		if !s.held[socket.Inode] && slices.ContainsFunc(ours, socket.Address.Overlaps) {
			s.contested = append(s.contested, socket)
		}
	}
	return nil
}

// findNetwork finds the network namespace and returns a process that is in it.
func (s *survey) findNetwork() (reference int, err error) {
	candidates := append(slices.Clone(s.own.pids), s.own.worker)
	if s.own.none() {
		candidates = []int{os.Getpid()}
	}
	for _, pid := range candidates {
		if s.network, err = procinfo.NetworkNamespace(pid); err == nil {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("cannot tell which network namespace HAProxy is in: %w", err)
}

// findTree finds the processes of our HAProxy, with all that they have started, and their sockets.
func (s *survey) findTree() {
	s.tree, s.held, s.readable = map[int]bool{}, map[uint64]bool{}, true
	for _, pid := range slices.Concat(s.own.pids, s.own.old, []int{s.own.worker}) {
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

// ourAddresses are those in the configuration file and those that our HAProxy listens on.
func (s *survey) ourAddresses() []listen.Address {
	content, _ := os.ReadFile(s.paths.config)
	ours := listen.Addresses(content)
	for _, socket := range s.sockets {
		if s.held[socket.Inode] {
			ours = append(ours, socket.Address)
		}
	}
	return ours
}

// judge says whether a process that is not ours is a conflict.
func (s *survey) judge(pid int) (conflict, bool) {
	haproxy := isNamed(procinfo.ProgramName(pid), s.names)
	if !haproxy && len(s.contested) == 0 {
		return conflict{}, false
	}
	options := options{}
	if haproxy {
		options = optionsOf(pid)
	}
	ourFile := haproxy && !options.check && options.loads(s.paths.config)
	if !ourFile && len(s.contested) == 0 {
		return conflict{}, false
	}
	if network, err := procinfo.NetworkNamespace(pid); err == nil && network != s.network {
		return conflict{}, false
	}
	open, err := procinfo.OpenSockets(pid)
	c := conflict{pid: pid, ourFile: ourFile}
	for _, socket := range s.contested {
		if open[socket.Inode] && !slices.Contains(c.addresses, socket.Address.String()) {
			c.addresses = append(c.addresses, socket.Address.String())
		}
	}
	return c, len(c.addresses) > 0 || ourFile && s.serves(pid, open, err)
}

// serves reports whether a HAProxy with our file does more than finish what it has. One that was told to finish listens on
// nothing. Where its sockets cannot be read, one that is older than ours is taken to be finishing: ours has replaced it.
func (s *survey) serves(pid int, open map[uint64]bool, err error) bool {
	if err == nil {
		return slices.ContainsFunc(s.sockets, func(socket procinfo.Socket) bool {
			return open[socket.Inode] && socket.Address.Network != "unix"
		})
	}
	return !slices.ContainsFunc(s.own.pids, func(own int) bool { return s.processes[own].Started >= s.processes[pid].Started })
}

// unseen returns the owners of contested sockets that could not be found. It can tell only where our own sockets are known.
func (s *survey) unseen(found map[int]conflict) []conflict {
	if !s.readable {
		return nil
	}
	var unseen []conflict
	for _, socket := range s.contested {
		address := socket.Address.String()
		seen := false
		for _, c := range found {
			seen = seen || slices.Contains(c.addresses, address)
		}
		if !seen {
			unseen = append(unseen, conflict{addresses: []string{address}, user: cmp.Or(socket.User, "unknown")})
		}
	}
	return unseen
}
