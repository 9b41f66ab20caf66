package haproxy

import (
	"bytes"
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
	dual      bool   // the IPv6 address of every interface, which takes connections over IPv4 too
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
	same := one == other || one.Is4() == other.Is4() && (one.IsUnspecified() || other.IsUnspecified()) ||
		a.dual && other.Is4() || b.dual && one.Is4()
	return same && a.low <= b.high && b.low <= a.high
}

// A listener is an address of a line of a configuration.
type listener struct {
	listenAddress
	word    string // the address as it is written
	line    int
	section int    // the number of its section
	in      string // its section, such as "frontend web"
	options []string
}

// has reports whether one of the words is among the line's options.
func (l listener) has(words ...string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return slices.Contains(l.options, word) })
}

// option returns the value of one of the line's options, and "" if it has none.
func (l listener) option(name string) string {
	if i := slices.Index(l.options, name); i >= 0 && i+1 < len(l.options) {
		return l.options[i+1]
	}
	return ""
}

// listenersOf returns what a configuration listens on, in the order of its lines, but addresses that depend on more than the
// file: names and the environment. Unix sockets for the runtime API are not among them.
func listenersOf(config []byte) []listener {
	var all []listener
	var in string
	section, number := 0, 0
	for line := range bytes.Lines(config) {
		number++
		start := bytes.TrimLeft(line, " \t")
		if bytes.HasPrefix(start, []byte("server")) { // most lines
			continue
		}
		first := start[:max(bytes.IndexAny(start, " \t\r\n"), 0)]
		if slices.Contains(proxyKinds, string(first)) || slices.Contains(sections, string(first)) {
			words := strings.Fields(string(line))
			section, in = section+1, strings.Join(words[:min(2, len(words))], " ")
			continue
		}
		if !bytes.Contains(start, []byte("bind")) && !bytes.HasPrefix(start, []byte("stats")) {
			continue
		}
		words := strings.Fields(string(syntax.Normalize(line)))
		if words = addressWords(words); len(words) == 0 {
			continue
		}
		for word := range strings.SplitSeq(words[0], ",") {
			l := listener{word: word, line: number, section: section, in: in, options: words[1:]}
			if a, ok := parseListenAddress(word); ok {
				l.listenAddress = a
				l.dual = a.network != "unix" && a.host == netip.IPv6Unspecified() && !l.has("v6only")
				all = append(all, l)
			}
		}
	}
	return all
}

// addressWords returns the addresses of a line that listens and its options, and nothing for another line.
func addressWords(words []string) []string {
	switch {
	case len(words) > 1 && words[0] == "bind":
		return words[1:]
	case len(words) > 1 && words[0] == "dgram-bind":
		for i, word := range strings.Split(words[1], ",") {
			if i == 0 {
				words[1] = ""
			} else {
				words[1] += ","
			}
			words[1] += "udp@" + strings.TrimPrefix(word, "udp@")
		}
		return words[1:]
	case len(words) > 2 && words[0] == "stats" && words[1] == "socket" && strings.ContainsRune(words[2], ':'):
		return words[2:]
	}
	return nil
}

// listenAddresses returns the addresses that a configuration has its proxies listen on in HAProxy's own network namespace.
func listenAddresses(config []byte) []listenAddress {
	var addresses []listenAddress
	for _, l := range listenersOf(config) {
		if !l.has("namespace") {
			addresses = append(addresses, l.listenAddress)
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
