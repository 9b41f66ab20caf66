package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// tryBinds listens for a moment on each address that files bind and the configuration in effect does not, and returns an
// error that names those that are taken.
//
// HAProxy would find out by itself, but at the cost of traffic: measured on 2.6.12, a new process that cannot bind tells the
// old one to stop listening and goes on trying for about two seconds, in which every new connection is refused. `haproxy -c`
// does not look at addresses at all.
func tryBinds(ctx context.Context, inEffect, files []stage.File) error {
	standing := bindsOf(inEffect)
	var taken error
	for _, address := range bindsOf(files) {
		if slices.ContainsFunc(standing, func(own string) bool { return overlap(own, address) }) {
			continue
		}
		var config net.ListenConfig
		listener, err := config.Listen(ctx, familyOf(address), address)
		if err != nil && !hopeless(err) {
			continue // HAProxy may have rights or ways that we have not
		}
		if err != nil {
			taken = errors.Join(taken, fmt.Errorf("HAProxy cannot bind %s: %w; free the address or offer the service elsewhere",
				address, causeOf(err)))
			continue
		}
		_ = listener.Close() // nothing was accepted
	}
	return taken
}

// hopeless reports whether HAProxy cannot bind the address either.
func hopeless(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// overlap reports whether a listener on one address may be in the way of one on the other: with the same port, where one of
// them is every address. HAProxy's own listeners are in nobody's way, for the new process shares them.
func overlap(one, other string) bool {
	hostOne, portOne, _ := net.SplitHostPort(one)
	hostOther, portOther, _ := net.SplitHostPort(other)
	return portOne == portOther &&
		(hostOne == hostOther || net.ParseIP(hostOne).IsUnspecified() || net.ParseIP(hostOther).IsUnspecified())
}

// familyOf keeps package net from binding both families for 0.0.0.0, as HAProxy does not.
func familyOf(address string) string {
	if strings.HasPrefix(address, "[") {
		return "tcp6"
	}
	return "tcp4"
}

// causeOf leaves out the address, which the sentence has already.
func causeOf(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// bindsOf returns the TCP addresses that the main file binds, as far as they can be tried: no sockets on disk, no port
// ranges, and none that depend on more than an address and a port.
func bindsOf(files []stage.File) []string {
	if len(files) == 0 {
		return nil
	}
	var addresses []string
	for line := range strings.Lines(string(syntax.Normalize(files[0].Content))) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "bind" || slices.ContainsFunc(words[2:], special) {
			continue
		}
		for address := range strings.SplitSeq(words[1], ",") {
			if plain, ok := tcpAddress(address); ok {
				addresses = append(addresses, plain)
			}
		}
	}
	return addresses
}

// special reports whether a keyword of a bind line makes its address something that we cannot bind in the same way.
func special(word string) bool {
	return slices.Contains([]string{"transparent", "interface", "namespace", "v4v6", "v6only"}, word)
}

// tcpAddress turns what HAProxy accepts as an address into what package net does.
func tcpAddress(address string) (string, bool) {
	address = strings.TrimPrefix(strings.TrimPrefix(address, "ipv4@"), "ipv6@")
	if strings.ContainsAny(address, "@/\"'\\$%") {
		return "", false
	}
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 {
		return "", false
	}
	host, port := strings.Trim(address[:colon], "[]"), address[colon+1:]
	if port == "" || strings.Trim(port, "0123456789") != "" {
		return "", false // a range
	}
	if host == "" || host == "*" {
		host = "0.0.0.0"
	}
	return net.JoinHostPort(host, port), net.ParseIP(host) != nil
}
