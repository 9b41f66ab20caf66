package conformance

import (
	"context"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
)

// hanging is a plugin without package sdk that hangs after the handshake.
type hanging struct {
	plugin.NetRPCUnsupportedPlugin
	wire.UnimplementedPluginServer
}

func serveHanging() {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: wire.ProtocolVersion, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		Plugins: plugin.PluginSet{"sink": &hanging{}}, GRPCServer: plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger(),
	})
}

func (h *hanging) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	wire.RegisterPluginServer(s, h)
	return nil
}

func (*hanging) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, plugin.ErrProcessNotFound
}

func (*hanging) Attach(*wire.AttachRequest, grpc.ServerStreamingServer[wire.AttachEvent]) error {
	select {}
}
