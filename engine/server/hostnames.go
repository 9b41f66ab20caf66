package server

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// A hostPolicy decides under which host names the daemon answers, so that a page whose name resolves to the daemon (DNS
// rebinding) cannot read anything. Addresses, names without dots and localhost cannot belong to a page on the Internet and are
// always allowed.
type hostPolicy struct {
	any      bool
	names    []string // in lower case
	suffixes []string // with a leading dot
}

func newHostPolicy(allowed []string) hostPolicy {
	var p hostPolicy
	for _, name := range allowed {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		switch {
		case name == "*":
			p.any = true
		case strings.HasPrefix(name, "*."):
			p.suffixes = append(p.suffixes, name[1:])
		default:
			p.names = append(p.names, name)
		}
	}
	return p
}

// allows reports whether host, which may have a port, is an allowed name.
func (p hostPolicy) allows(host string) bool {
	name := hostname(host)
	if _, err := netip.ParseAddr(name); err == nil || p.any || !strings.Contains(name, ".") {
		return true
	}
	return strings.HasSuffix(name, ".localhost") || slices.Contains(p.names, name) ||
		slices.ContainsFunc(p.suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// hostname returns the name or address in a Host header, in lower case and without the brackets of an address.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// isLoopbackName reports whether host, which may have a port, is a name or an address that always means the client's own machine.
func isLoopbackName(host string) bool {
	name := hostname(host)
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback() || name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// isCrossOrigin reports whether the Origin header of the request is another origin than the daemon's.
func isCrossOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host)
}
