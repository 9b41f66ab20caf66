package listen

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Networks of an [Address].
const (
	TCP  = "tcp"
	UDP  = "udp"
	Unix = "unix"
)

// An Address is where a process accepts connections or receives packets.
type Address struct {
	Network   string // TCP, UDP or Unix
	Host      netip.Addr
	Low, High uint16 // the range of ports
	Path      string // of a unix socket
	Dual      bool   // the IPv6 wildcard address that accepts IPv4 connections as well
}

// String returns the address as it is shown in messages, such as "127.0.0.1:80-82" or "[::]:443 (UDP)".
func (a Address) String() string {
	if a.Network == Unix {
		return a.Path
	}
	text := netip.AddrPortFrom(a.Host, a.Low).String()
	if a.High != a.Low {
		text += fmt.Sprintf("-%d", a.High)
	}
	if a.Network == UDP {
		text += " (UDP)"
	}
	return text
}

func (a Address) isAnyIPv6() bool { return a.Network != Unix && a.Host == netip.IPv6Unspecified() }

// Overlaps reports whether a listener on one of the addresses accepts connections to the other.
func (a Address) Overlaps(b Address) bool {
	if a.Network != b.Network {
		return false
	}
	if a.Network == Unix {
		return a.Path == b.Path
	}
	one, other := a.Host.Unmap(), b.Host.Unmap()
	same := one == other || one.Is4() == other.Is4() && (one.IsUnspecified() || other.IsUnspecified()) ||
		a.Dual && other.Is4() || b.Dual && one.Is4()
	return same && a.Low <= b.High && b.Low <= a.High
}

// ParseAddress parses an address as HAProxy's bind lines have it. It returns false for an address that cannot be known from the
// text, such as a name, an environment variable or a file descriptor.
func ParseAddress(word string) (Address, bool) {
	a := Address{Network: TCP}
	kind, rest, found := strings.Cut(word, "@")
	if !found {
		kind, rest = "", word
	}
	switch kind {
	case "", "ipv4", "ipv6", "tcp", "tcp4", "tcp6":
	case "quic4", "quic6", "udp", "udp4", "udp6":
		a.Network = UDP
	case "unix":
		return Address{Network: Unix, Path: rest}, strings.HasPrefix(rest, "/")
	default:
		return a, false
	}
	if strings.HasPrefix(rest, "/") {
		return Address{Network: Unix, Path: rest}, true
	}
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 {
		return a, false
	}
	host, ports := strings.Trim(rest[:colon], "[]"), rest[colon+1:]
	switch {
	case host != "" && host != "*":
		var err error
		if a.Host, err = netip.ParseAddr(host); err != nil {
			return a, false
		}
	case strings.HasSuffix(kind, "6"):
		a.Host = netip.IPv6Unspecified()
	default:
		a.Host = netip.IPv4Unspecified()
	}
	low, high, isRange := strings.Cut(ports, "-")
	if !isRange {
		high = low
	}
	from, err := strconv.ParseUint(low, 10, 16)
	to, errTo := strconv.ParseUint(high, 10, 16)
	a.Low, a.High = uint16(from), uint16(to)
	return a, err == nil && errTo == nil && from > 0
}
