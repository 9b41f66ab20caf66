package main

import (
	"log/slog"
	"net"
	"os"
	"slices"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// newAccessPolicy returns the access policy of the configuration. Errors in the files that it names are usage errors.
func newAccessPolicy(api config.API, log *slog.Logger) (*server.AccessPolicy, error) {
	policy, err := server.NewAccessPolicy(server.AccessConfig{
		Token: api.UpdateToken, AllowFrom: api.AllowFrom,
		TLSCert: api.TLSCert, TLSKey: api.TLSKey, ClientCA: api.ClientCA,
		CORSOrigins: api.CORSOrigins, AllowedHosts: allowedHosts(api), ProtectReads: api.ProtectReads, Log: log,
	})
	if err != nil {
		return nil, &usageError{err}
	}
	return policy, nil
}

// allowedHosts are the names in the configuration, and the machine's own.
func allowedHosts(api config.API) []string {
	hosts := append(slices.Clone(api.AllowedHosts), api.BindIP)
	if own, err := os.Hostname(); err == nil {
		hosts = append(hosts, own)
	}
	return hosts
}

// warnUnguarded says so where other machines can push and nothing is asked of them. It is for a daemon that takes pushes.
func warnUnguarded(api config.API, listening net.Addr, log *slog.Logger) {
	tcp, ok := listening.(*net.TCPAddr)
	local := ok && tcp.IP.IsLoopback()
	if local || api.UpdateToken != "" || len(api.AllowFrom) > 0 || api.ClientCA != "" {
		return
	}
	log.Warn("anyone who can reach this port can push to /update, and so decide where HAProxy sends requests: set " +
		"haproxy_api.update_token, or else allow_from or client_ca; or bind_ip to 127.0.0.1 if Sidecar runs on this machine")
}
