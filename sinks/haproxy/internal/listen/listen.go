// Package listen reads from a HAProxy configuration on which addresses HAProxy listens, and compares such addresses.
//
// It must not know processes: which addresses are in use is found by package process.
package listen

import (
	"bytes"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// A Listener is one address of a line in a configuration.
type Listener struct {
	Address
	Word    string // the address as it is written in the line
	Line    int
	Section int    // the number of the section, counted from 1
	In      string // the section's keyword and name, such as "frontend web"
	options []string
}

// Has reports whether the line has any of the options.
func (l Listener) Has(options ...string) bool {
	return slices.ContainsFunc(options, func(option string) bool { return slices.Contains(l.options, option) })
}

// Option returns the value of one of the line's options, and "" if the line does not have it.
func (l Listener) Option(name string) string {
	if i := slices.Index(l.options, name); i >= 0 && i+1 < len(l.options) {
		return l.options[i+1]
	}
	return ""
}

// IsRange reports whether the listener has more than one port.
func (l Listener) IsRange() bool { return l.Low != l.High }

// Shares reports whether both listeners accept connections to one address.
func (l Listener) Shares(other Listener) bool {
	one, two := l.Option("interface"), other.Option("interface")
	return l.Overlaps(other.Address) && l.Option("namespace") == other.Option("namespace") &&
		(one == two || one == "" || two == "")
}

// Listeners returns the listeners of a configuration in the order of its lines. It leaves out addresses that do not depend on the
// file alone, such as names and environment variables, and unix sockets of the runtime API.
func Listeners(config []byte) []Listener {
	all := slices.Grow([]Listener(nil), bytes.Count(config, []byte("bind ")))
	var in string
	section, number := 0, 0
	for line := range bytes.Lines(config) {
		number++
		start := bytes.TrimLeft(line, " \t")
		if bytes.HasPrefix(start, []byte("server")) { // most lines
			continue
		}
		first := start[:max(bytes.IndexAny(start, " \t\r\n"), 0)]
		if syntax.StartsSection(string(first)) {
			words := strings.Fields(string(line))
			section, in = section+1, strings.Join(words[:min(2, len(words))], " ")
			continue
		}
		if !bytes.Contains(start, []byte("bind")) && !bytes.HasPrefix(start, []byte("stats")) {
			continue
		}
		words := listenerWords(strings.Fields(string(syntax.Normalize(line))))
		if len(words) == 0 {
			continue
		}
		for word := range strings.SplitSeq(words[0], ",") {
			l := Listener{Word: word, Line: number, Section: section, In: in, options: words[1:]}
			if a, ok := ParseAddress(word); ok {
				l.Address = a
				l.Dual = a.isAnyIPv6() && !l.Has("v6only")
				all = append(all, l)
			}
		}
	}
	return all
}

// Addresses returns the addresses on which a configuration makes HAProxy listen in its own network namespace.
func Addresses(config []byte) []Address {
	var addresses []Address
	for _, l := range Listeners(config) {
		if !l.Has("namespace") {
			addresses = append(addresses, l.Address)
		}
	}
	return addresses
}

// listenerWords returns the addresses and then the options of a line that makes HAProxy listen, and nil for any other line.
func listenerWords(words []string) []string {
	switch {
	case len(words) > 1 && words[0] == "bind":
		return words[1:]
	case len(words) > 1 && words[0] == "dgram-bind":
		addresses := strings.Split(words[1], ",")
		for i, address := range addresses {
			addresses[i] = "udp@" + strings.TrimPrefix(address, "udp@")
		}
		return append([]string{strings.Join(addresses, ",")}, words[2:]...)
	case len(words) > 2 && words[0] == "stats" && words[1] == "socket" && strings.ContainsRune(words[2], ':'):
		return words[2:]
	}
	return nil
}
