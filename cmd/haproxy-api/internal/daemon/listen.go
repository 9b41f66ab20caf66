package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

// privilegedPorts are the ports below this one. A program needs a capability to listen on them.
const privilegedPorts = 1024

// Listen listens at the address in the configuration. The error says what to do; it is a [*ConfigError] if bind_ip cannot be
// resolved.
func Listen(ctx context.Context, api config.API) (net.Listener, error) {
	listener, err := server.Listen(ctx, listenAddress(api))
	if err == nil {
		return listener, nil
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return nil, &ConfigError{fmt.Errorf("%w; set haproxy_api.bind_ip to an address of this machine", err)}
	}
	return nil, fmt.Errorf("%w%s", err, listenAdvice(api, err))
}

func listenAddress(api config.API) string {
	return net.JoinHostPort(api.BindIP, strconv.Itoa(api.BindPort))
}

// listenAdvice returns what to do about an error of listening.
func listenAdvice(api config.API, err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		if pid, program := holderOf(api); pid != 0 {
			return fmt.Sprintf(" by process %d (%s); stop it, or set haproxy_api.bind_port", pid, program)
		}
		return "; free it or set haproxy_api.bind_port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; set haproxy_api.bind_ip to an address of this machine"
	case errors.Is(err, syscall.EACCES) && api.BindPort < privilegedPorts:
		program, _ := os.Executable()
		return fmt.Sprintf(" for user %s; ports below %d need the capability CAP_NET_BIND_SERVICE: set "+
			"AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, run 'setcap cap_net_bind_service=+ep %s', "+
			"or set another haproxy_api.bind_port", CurrentUser(), privilegedPorts, program)
	default:
		return "; set another haproxy_api.bind_ip or haproxy_api.bind_port"
	}
}

// holderOf returns the process that listens on the daemon's address, and its program. The pid is 0 if it is unknown.
func holderOf(api config.API) (pid int, program string) {
	address, err := netip.ParseAddr(api.BindIP)
	if err != nil {
		return 0, ""
	}
	return haproxy.HolderOf(netip.AddrPortFrom(address, uint16(api.BindPort))) //nolint:gosec // a port
}
