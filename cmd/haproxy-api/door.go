package main

import (
	"log/slog"
	"net"
	"os"
	"slices"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// newDoor makes the door that the configuration describes. What is wrong with the files that it names is the person's to mend.
func newDoor(api config.API, log *slog.Logger) (*server.Door, error) {
	door, err := server.NewDoor(server.DoorConfig{
		Token: api.UpdateToken, AllowFrom: api.AllowFrom,
		TLSCert: api.TLSCert, TLSKey: api.TLSKey, ClientCA: api.ClientCA,
		CORSOrigins: api.CORSOrigins, AllowedHosts: allowedHosts(api), ProtectReads: api.ProtectReads, Log: log,
	})
	if err != nil {
		return nil, &usageError{err}
	}
	return door, nil
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
	log.Warn("whoever reaches this port can push to /update, and so say where HAProxy sends its requests: set " +
		"haproxy_api.update_token, or else allow_from or client_ca; or bind_ip to 127.0.0.1 if Sidecar runs on this machine")
}
