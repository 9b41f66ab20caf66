package procinfo

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

// maxSocketLines bounds how many lines are read of one list of sockets.
const maxSocketLines = 100_000

// OpenSockets returns the inodes of the sockets that the process has open.
func OpenSockets(pid int) (map[uint64]bool, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := readNames(dir)
	if err != nil {
		return nil, err
	}
	sockets := map[uint64]bool{}
	for _, name := range names {
		target, err := os.Readlink(dir + "/" + name)
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

// ListeningSockets returns the sockets in the network namespace of the process that accept connections or, with UDP, receive
// packets from any sender.
func ListeningSockets(pid int) ([]Socket, error) {
	var sockets []Socket
	for _, list := range []struct{ name, network, state string }{
		{"tcp", listen.TCP, "0A"}, {"tcp6", listen.TCP, "0A"}, {"udp", listen.UDP, "07"}, {"udp6", listen.UDP, "07"},
	} {
		err := eachLine(pid, list.name, func(fields []string) bool {
			const local, state, user, inode = 1, 3, 7, 9
			if len(fields) <= inode {
				return true
			}
			if fields[state] != list.state {
				return list.network != listen.TCP // listening sockets come first, and there may be many others
			}
			if address, ok := parseSocketAddress(fields[local]); ok {
				s := Socket{User: fields[user], Address: listen.Address{Network: list.network, Host: address.Addr(),
					Low: address.Port(), High: address.Port()}}
				s.Inode, _ = strconv.ParseUint(fields[inode], 10, 64)
				sockets = append(sockets, s)
			}
			return true
		})
		if err != nil && !os.IsNotExist(err) { // there may be no IPv6
			return nil, err
		}
	}
	unix, err := UnixSockets(pid)
	return slices.Concat(sockets, unix), err
}

// UnixSockets returns the sockets with a path that accept connections in the network namespace of the process.
func UnixSockets(pid int) ([]Socket, error) {
	var sockets []Socket
	err := eachLine(pid, "unix", func(fields []string) bool {
		const flags, inode, path = 3, 6, 7
		if len(fields) > path && fields[flags] == "00010000" && strings.HasPrefix(fields[path], "/") {
			s := Socket{Address: listen.Address{Network: listen.Unix, Path: renamedPath(fields[path])}}
			s.Inode, _ = strconv.ParseUint(fields[inode], 10, 64)
			sockets = append(sockets, s)
		}
		return true
	})
	return sockets, err
}

// renamedPath returns the path at which a unix socket can be found whose program binds PATH.PID.tmp and renames it to PATH, as
// HAProxy does. The system goes on listing the first name.
func renamedPath(path string) string {
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

// eachLine calls use with the fields of each line of /proc/PID/net/LIST but the heading, until use returns false.
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

// parseSocketAddress parses an address such as 0100007F:0050, whose 32-bit words have the byte order of this machine.
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
