package daemon

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// accessConfig returns the access policy in the configuration. Empty lists are nil, so that equal policies are deeply equal.
func accessConfig(api config.API) server.AccessConfig {
	hosts := append(slices.Clone(api.AllowedHosts), api.BindIP)
	if hostname, err := os.Hostname(); err == nil {
		hosts = append(hosts, hostname)
	}
	return server.AccessConfig{
		Token: api.UpdateToken, AllowFrom: append([]netip.Prefix(nil), api.AllowFrom...),
		TLSCert: api.TLSCert, TLSKey: api.TLSKey, ClientCA: api.ClientCA,
		CORSOrigins: append([]string(nil), api.CORSOrigins...), AllowedHosts: hosts, ProtectReads: api.ProtectReads,
	}
}

// newAccessPolicy returns the access policy of the configuration. Errors in the files that it names are [*ConfigError] values.
func newAccessPolicy(api config.API, log *slog.Logger) (*server.AccessPolicy, error) {
	cfg := accessConfig(api)
	cfg.Log = log
	policy, err := server.NewAccessPolicy(cfg)
	if err != nil {
		return nil, &ConfigError{withReader(err)}
	}
	return policy, nil
}

// warnIfPushIsOpen logs a warning if a source receives pushes and other machines can push without authentication.
func (d *Daemon) warnIfPushIsOpen() {
	running := d.components()
	if running.cfg.Sources[FrontSource(running.cfg)].Type == typeSidecarPush {
		warnOpenPush(running.cfg.API, d.http.address(), d.log)
	}
}

func warnOpenPush(api config.API, address net.Addr, log *slog.Logger) {
	tcp, ok := address.(*net.TCPAddr)
	local := ok && tcp.IP.IsLoopback()
	if local || api.UpdateToken != "" || len(api.AllowFrom) > 0 || api.ClientCA != "" {
		return
	}
	log.Warn("anyone who can reach this port can push to /update, and so decide where HAProxy sends requests: set " +
		"haproxy_api.update_token, or else allow_from or client_ca; or bind_ip to 127.0.0.1 if Sidecar runs on this machine")
}
