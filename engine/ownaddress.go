package engine

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// ownAddresses are those at which the daemon itself listens. An instance there would let everybody who reaches the proxy reach
// the daemon, past the address that it is bound to and past its access policy.
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

// fault says which port of inst is the daemon's own, or nothing.
func (o ownAddresses) fault(inst *sdk.Instance) string {
	for _, listening := range o.listening {
		for n, p := range inst.Ports {
			at := p.Port == int64(listening.Port())
			if at && (o.meets(listening.Addr(), cmp.Or(p.IP, inst.Hostname)) || o.meets(listening.Addr(), inst.Hostname)) {
				return fmt.Sprintf("Ports[%d] is the port %d at which haproxy-api itself listens", n, p.Port)
			}
		}
	}
	return ""
}

// meets reports whether a connection to host can arrive at the listening address. The name of another machine is not looked up.
func (o ownAddresses) meets(listening netip.Addr, host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return o.arrives(listening.Unmap(), address.Unmap())
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return listening.IsUnspecified() || listening.Unmap().IsLoopback()
	}
	own := strings.ToLower(o.hostname)
	short, _, _ := strings.Cut(own, ".")
	return own != "" && (host == own || host == short || strings.HasPrefix(host, own+"."))
}

func (o ownAddresses) arrives(listening, address netip.Addr) bool {
	if !listening.IsUnspecified() {
		return address == listening
	}
	for _, local := range o.local {
		if address == local {
			return true
		}
	}
	return address.IsLoopback()
}
