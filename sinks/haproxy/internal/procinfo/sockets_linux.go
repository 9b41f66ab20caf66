package haproxy

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/listen"
)

// maxSocketLines bounds what is read of one list of sockets.
const maxSocketLines = 100_000

// networkOf returns the name of the network namespace that the process is in. Processes in different ones can listen on
// the same address and have nothing to do with one another.
func networkOf(pid int) (string, error) { return os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)) }

// listProcesses returns all processes that can be seen from here, by id.
func listProcesses() (map[int]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	all := make(map[int]process, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		const parent, started = 1, 19 // the fields 4 and 22
		if fields, err := stat(pid); err == nil && len(fields) > started && fields[0] != "Z" && fields[0] != "X" {
			p := process{}
			p.parent, _ = strconv.Atoi(fields[parent])
			p.started, _ = strconv.ParseUint(fields[started], 10, 64)
			all[pid] = p
		}
	}
	return all, nil
}

// stopped reports whether the process was stopped by a signal, or by a debugger, so that it serves nobody.
func stopped(pid int) bool {
	fields, err := stat(pid)
	return err == nil && len(fields) > 0 && (fields[0] == "T" || fields[0] == "t")
}

// suspended reports whether somebody has stopped the process by a signal, and not a debugger.
func suspended(pid int) bool {
	fields, err := stat(pid)
	return err == nil && len(fields) > 0 && fields[0] == "T"
}

// openSockets returns the inodes of the sockets that the process has open.
func openSockets(pid int) (map[uint64]bool, error) {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	sockets := map[uint64]bool{}
	for _, name := range names {
		target, err := os.Readlink(dir.Name() + "/" + name)
		if err != nil {
			continue // closed meanwhile
		}
		if inode, found := strings.CutPrefix(target, "socket:["); found {
			if n, err := strconv.ParseUint(strings.TrimSuffix(inode, "]"), 10, 64); err == nil {
				sockets[n] = true
			}
		}
	}
	return sockets, nil
}

// listeningSockets returns the sockets that take connections or, over UDP, packets from anybody in the network namespace
// of the process.
func listeningSockets(pid int) ([]socket, error) {
	var sockets []socket
	for _, list := range []struct{ name, network, state string }{
		{"tcp", "tcp", "0A"}, {"tcp6", "tcp", "0A"}, {"udp", "udp", "07"}, {"udp6", "udp", "07"},
	} {
		err := eachLine(pid, list.name, func(fields []string) bool {
			const local, state, user, inode = 1, 3, 7, 9
			if len(fields) <= inode {
				return true
			}
			if fields[state] != list.state {
				return list.network != "tcp" // those that listen come first, and there may be many others
			}
			address, ok := parseSocketAddress(fields[local])
			s := socket{address: listen.Address{Network: list.network, Host: address.Addr(),
				Low: address.Port(), High: address.Port()}}
			s.inode, _ = strconv.ParseUint(fields[inode], 10, 64)
			s.user = fields[user]
			if ok {
				sockets = append(sockets, s)
			}
			return true
		})
		if err != nil && !os.IsNotExist(err) { // there may be no IPv6
			return nil, err
		}
	}
	unix, err := unixSockets(pid)
	return slices.Concat(sockets, unix), err
}

// unixSockets returns the sockets with a path that take connections.
func unixSockets(pid int) ([]socket, error) {
	var sockets []socket
	err := eachLine(pid, "unix", func(fields []string) bool {
		const flags, inode, path = 3, 6, 7
		if len(fields) > path && fields[flags] == "00010000" && strings.HasPrefix(fields[path], "/") {
			s := socket{address: listen.Address{Network: listen.Unix, Path: boundPath(fields[path])}}
			s.inode, _ = strconv.ParseUint(fields[inode], 10, 64)
			sockets = append(sockets, s)
		}
		return true
	})
	return sockets, err
}

// boundPath returns the path at which a socket can be found that HAProxy has bound: it binds PATH.PID.tmp and renames that to
// PATH, of which the system takes no notice.
func boundPath(path string) string {
	stem, ok := strings.CutSuffix(path, ".tmp")
	if !ok {
		return path
	}
	dot := strings.LastIndexByte(stem, '.')
	if dot < 0 || strings.Trim(stem[dot+1:], "0123456789") != "" {
		return path
	}
	return stem[:dot]
}

// eachLine calls use with the fields of each line of a list of sockets but the heading, until it returns false.
func eachLine(pid int, list string, use func(fields []string) bool) error {
	file, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, list))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	lines.Scan()
	for n := 0; n < maxSocketLines && lines.Scan(); n++ {
		if !use(strings.Fields(lines.Text())) {
			return nil
		}
	}
	return lines.Err()
}

// parseSocketAddress reads an address such as 0100007F:0050, whose words have the byte order of this machine.
func parseSocketAddress(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	bytes, err := hex.DecodeString(host)
	if err != nil || len(bytes)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := 0; word < len(bytes); word += 4 {
		binary.NativeEndian.PutUint32(bytes[word:], binary.BigEndian.Uint32(bytes[word:]))
	}
	address, ok := netip.AddrFromSlice(bytes)
	return netip.AddrPortFrom(address, uint16(number)), ok
}

// unitOf returns the service of systemd that the process belongs to, and "" if it belongs to none.
func unitOf(pid int) string {
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
