package process

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// handsOverSockets reports whether the HAProxy with the admin socket hands its listening sockets over there. It does not while
// it is busy.
func (p Paths) handsOverSockets(ctx context.Context, infos *runtimeapi.Infos, log *slog.Logger) bool {
	if !acceptsConnections(p.AdminSocket) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	if _, err := infos.Get(ctx, runtimeapi.Endpoint{Path: p.AdminSocket}); errors.Is(err, runtimeapi.ErrBusy) {
		log.Warn("listening sockets cannot be handed over, so connections may be lost", "error", err)
		return false
	}
	return true
}

// acceptsConnections reports whether a process accepts connections on the unix socket at path. It opens a connection only where
// the system does not list the sockets.
func acceptsConnections(path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	sockets, err := procinfo.UnixSockets(os.Getpid())
	if err == nil && slices.ContainsFunc(sockets, func(s procinfo.Socket) bool { return s.Address.Path == path }) {
		return true
	}
	conn, err := net.DialTimeout("unix", path, runtimeapi.AnswerTimeout)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
