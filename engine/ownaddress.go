package engine

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// ownAddresses are the addresses that the daemon itself listens on. With an instance there, everybody who can reach the proxy
// could reach the daemon, bypassing its bind address and its access policy.
type ownAddresses struct {
	listening []netip.AddrPort
	local     []netip.Addr // of this machine
	hostname  string       // of this machine
}

func newOwnAddresses(listening []netip.AddrPort) ownAddresses {
	own := ownAddresses{listening: listening}
	if len(listening) == 0 {
		return own
	}
	own.hostname, _ = os.Hostname()
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own.local = append(own.local, prefix.Addr().Unmap())
		}
	}
	return own
}

// fault returns which port of inst is the daemon's own, or "".
func (o ownAddresses) fault(inst *sdk.Instance) string {
	for _, listening := range o.listening {
		for n, p := range inst.Ports {
			if p.Port != int64(listening.Port()) {
				continue
			}
			if o.reaches(listening.Addr(), cmp.Or(p.IP, inst.Hostname)) || o.reaches(listening.Addr(), inst.Hostname) {
				return fmt.Sprintf("Ports[%d] is port %d, which haproxy-api itself listens on", n, p.Port)
			}
		}
	}
	return ""
}

// reaches reports whether a connection to host can arrive at the listening address. It does not resolve names of other machines.
func (o ownAddresses) reaches(listening netip.Addr, host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return o.reachesAddr(listening.Unmap(), address.Unmap())
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return listening.IsUnspecified() || listening.Unmap().IsLoopback()
	}
	own := strings.ToLower(o.hostname)
	short, _, _ := strings.Cut(own, ".")
	return own != "" && (host == own || host == short || strings.HasPrefix(host, own+"."))
}

func (o ownAddresses) reachesAddr(listening, address netip.Addr) bool {
	if !listening.IsUnspecified() {
		return address == listening
	}
	return address.IsLoopback() || slices.Contains(o.local, address)
}
