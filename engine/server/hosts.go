package server

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// probePaths tell nothing but how the daemon is. Load balancers and orchestrators ask them, by any name and without a secret.
var probePaths = []string{"/live", "/ready", "/health"}

func isProbe(r *http.Request) bool { return slices.Contains(probePaths, r.URL.Path) }

// A hostPolicy says under which host names the daemon answers, so that a page whose name was made to lead here (DNS rebinding)
// reads nothing. Addresses, names without a dot and localhost belong to nobody on the Internet and are always accepted.
type hostPolicy struct {
	any      bool
	names    []string // in small letters
	suffixes []string // with the dot before them
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

// allows reports whether host, which may have a port, is a name of this daemon. Browsers always send one.
func (p hostPolicy) allows(host string) bool {
	name := hostname(host)
	if _, err := netip.ParseAddr(name); err == nil || p.any || !strings.Contains(name, ".") {
		return true
	}
	return strings.HasSuffix(name, ".localhost") || slices.Contains(p.names, name) ||
		slices.ContainsFunc(p.suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// hostname returns the name or address in a Host header, in small letters and without the brackets of an address.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// fromOtherOrigin reports whether the request says that a page of another origin sent it.
func fromOtherOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host)
}
