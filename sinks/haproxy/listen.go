package haproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// A listenAddress is where a process takes connections or packets.
type listenAddress struct {
	network   string // "tcp", "udp" or "unix"
	host      netip.Addr
	low, high uint16 // the ports
	path      string // of a unix socket
}

func (a listenAddress) String() string {
	if a.network == "unix" {
		return a.path
	}
	text := netip.AddrPortFrom(a.host, a.low).String()
	if a.high != a.low {
		text += fmt.Sprintf("-%d", a.high)
	}
	if a.network == "udp" {
		text += " (UDP)"
	}
	return text
}

// overlaps reports whether somebody who listens on one of the two takes connections that are meant for the other.
func (a listenAddress) overlaps(b listenAddress) bool {
	if a.network != b.network {
		return false
	}
	if a.network == "unix" {
		return a.path == b.path
	}
	one, other := a.host.Unmap(), b.host.Unmap()
	same := one == other || one.Is4() == other.Is4() && (one.IsUnspecified() || other.IsUnspecified())
	return same && a.low <= b.high && b.low <= a.high
}

// listenAddresses returns the addresses that a configuration has its proxies listen on, but those that depend on more than
// the file: names, the environment, other network namespaces.
func listenAddresses(config []byte) []listenAddress {
	var addresses []listenAddress
	for line := range strings.Lines(string(syntax.Normalize(config))) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "bind" || slices.Contains(words[2:], "namespace") {
			continue
		}
		for word := range strings.SplitSeq(words[1], ",") {
			if a, ok := parseListenAddress(word); ok {
				addresses = append(addresses, a)
			}
		}
	}
	return addresses
}

func parseListenAddress(word string) (listenAddress, bool) {
	a := listenAddress{network: "tcp"}
	kind, rest, found := strings.Cut(word, "@")
	if !found {
		kind, rest = "", word
	}
	switch kind {
	case "", "ipv4", "ipv6", "tcp", "tcp4", "tcp6":
	case "quic4", "quic6", "udp", "udp4", "udp6":
		a.network = "udp"
	case "unix":
		return listenAddress{network: "unix", path: rest}, strings.HasPrefix(rest, "/")
	default:
		return a, false
	}
	if strings.HasPrefix(rest, "/") {
		return listenAddress{network: "unix", path: rest}, true
	}
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 {
		return a, false
	}
	host, ports := strings.Trim(rest[:colon], "[]"), rest[colon+1:]
	switch {
	case host != "" && host != "*":
		var err error
		if a.host, err = netip.ParseAddr(host); err != nil {
			return a, false
		}
	case strings.HasSuffix(kind, "6"):
		a.host = netip.IPv6Unspecified()
	default:
		a.host = netip.IPv4Unspecified()
	}
	low, high, isRange := strings.Cut(ports, "-")
	if !isRange {
		high = low
	}
	from, err := strconv.ParseUint(low, 10, 16)
	to, errTo := strconv.ParseUint(high, 10, 16)
	a.low, a.high = uint16(from), uint16(to)
	return a, err == nil && errTo == nil && from > 0
}
