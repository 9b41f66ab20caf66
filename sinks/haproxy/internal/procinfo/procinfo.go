// Package procinfo reads what the operating system knows about processes: command lines, environments, parents, network
// namespaces and sockets. It reads /proc. On systems without /proc, ps shows the command line, the parent and the program of a
// process, and the other functions return errors or nothing.
//
// It must not know HAProxy. Every answer is about one moment, and a process id may belong to another process in the next one.
package procinfo

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/listen"
)

// A Process is an entry of [List].
type Process struct {
	Parent  int
	Started uint64 // when, in clock ticks since the system booted
}

// A Socket accepts connections or receives packets.
type Socket struct {
	Address listen.Address
	Inode   uint64
	User    string // the id of its owner; empty if unknown
}

// Exists reports whether a process with that id runs. A zombie does not run: in a container whose first process does not reap its
// children, zombies stay.
func Exists(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := syscall.Kill(pid, 0)
	return (err == nil || errors.Is(err, syscall.EPERM)) && !isZombie(pid)
}

// Listens reports whether the process runs, is not stopped and has a listening socket. Where the sockets cannot be read, it is
// enough that the process runs.
func Listens(pid int) bool {
	if !Exists(pid) || IsStopped(pid) {
		return false
	}
	listens, err := HasListener(pid)
	return err != nil || listens
}

// HasListener reports whether the process has a listening socket.
func HasListener(pid int) (bool, error) {
	open, err := OpenSockets(pid)
	if err != nil {
		return false, err
	}
	sockets, err := ListeningSockets(pid)
	return slices.ContainsFunc(sockets, func(s Socket) bool { return open[s.Inode] }), err
}

// SocketOwner returns the process with the lowest id that has the socket open, and 0 if none is visible.
func SocketOwner(inode uint64) int {
	processes, _ := List()
	for _, pid := range slices.Sorted(maps.Keys(processes)) {
		if open, err := OpenSockets(pid); err == nil && open[inode] {
			return pid
		}
	}
	return 0
}

// ShareNetwork reports whether both processes are known to be in the same network namespace.
func ShareNetwork(one, other int) bool {
	a, err := NetworkNamespace(one)
	b, errOther := NetworkNamespace(other)
	return err == nil && errOther == nil && a == b
}

// OwnEnvironment returns the environment of this process, which its children inherit.
func OwnEnvironment() map[string]string { return environment(os.Environ()) }

func environment(variables []string) map[string]string {
	env := make(map[string]string, len(variables))
	for _, variable := range variables {
		if name, value, found := strings.Cut(variable, "="); found {
			env[name] = value
		}
	}
	return env
}
