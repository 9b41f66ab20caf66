// Package serve runs a Go plugin: the main function of a plugin calls [Sink] or [Source], which serve the contract of package
// sdk over gRPC until the daemon ends the plugin.
package serve

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// attachTimeout bounds the time between the start of a plugin and the call Attach of its daemon. If the plugin is not attached
// by then, its daemon has ended.
const attachTimeout = 30 * time.Second

// Sink runs a sink as a plugin. It returns when the daemon has stopped the plugin or the daemon itself has ended. The main
// function should then return.
//
// Sink calls open once, with the sink's configuration block decoded over defaults by [sdk.Decode]. open is not called where the
// block has faults. Its ctx lives as long as the plugin; open must return within 30 seconds.
//
// An error of open that is [sdk.Faults] or [sdk.ErrRejected] is a fault of the configuration: the daemon does not start with
// it. The daemon treats any other error, such as that of a backend that does not answer, as temporary: it starts, reports the
// error, and starts the plugin again later, see [sdk.RetryAfter]. The daemon uses the optional interfaces of package sdk that
// the sink implements, such as [sdk.Checker].
//
// Standard error is the daemon's log; write to it through [sdk.Env].Log. Standard output belongs to the protocol until open is
// called, and is the same as standard error from then on.
//
// Sink panics if no configuration block can fill a C, see [sdk.CheckConfig].
func Sink[C any](info sdk.Info, defaults C, open func(ctx context.Context, env sdk.Env, cfg C) (sdk.Sink, error)) {
	serve(info, wire.Kind_KIND_SINK, decodeAndOpen(defaults, open))
}

// Source runs a source as a plugin. It behaves like [Sink] otherwise.
func Source[C any](info sdk.Info, defaults C, open func(ctx context.Context, env sdk.Env, cfg C) (sdk.Source, error)) {
	serve(info, wire.Kind_KIND_SOURCE, decodeAndOpen(defaults, open))
}

// decodeAndOpen returns a function that decodes a block over defaults and calls open. It panics if no block can fill a C, so
// that the author of a plugin notices that and not its users.
func decodeAndOpen[C, T any](defaults C, open func(context.Context, sdk.Env, C) (T, error)) openFunc {
	if err := sdk.CheckConfig(defaults); err != nil {
		panic(err)
	}
	return func(ctx context.Context, env sdk.Env, block sdk.Block) (any, error) {
		cfg := defaults
		if err := sdk.Decode(block, &cfg); err != nil {
			return nil, err
		}
		return open(ctx, env, cfg)
	}
}

// openFunc returns the author's sink or source for a configuration block.
type openFunc func(context.Context, sdk.Env, sdk.Block) (any, error)

func serve(info sdk.Info, kind wire.Kind, open openFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Service managers send SIGTERM to every process of a service at once, but the daemon alone stops its plugins. The
	// signal is caught instead of ignored, because the programs that a plugin starts would inherit an ignored signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM)

	server := newPluginServer(ctx, info, kind, open)
	unattached := time.AfterFunc(attachTimeout, server.release)
	server.attached = func() { unattached.Stop() }

	served := make(chan struct{})
	go func() {
		defer close(served)
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig: plugin.HandshakeConfig{
				MagicCookieKey:   wire.CookieKey,
				MagicCookieValue: wire.CookieValue,
			},
			VersionedPlugins: map[int]plugin.PluginSet{wire.ProtocolVersion: {kind.Name(): server}},
			GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
				return grpc.NewServer(append(opts,
					grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage))...)
			},
			Logger: hclog.NewNullLogger(),
		})
	}()
	select {
	case <-served:
	case <-server.released: // the daemon has ended; what the plugin manages goes on without it
		removeSockets()
	}
}

// newLogger returns the logger of [sdk.Env]. The daemon parses the lines and applies its own level.
func newLogger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: durationAsText}))
}

// durationAsText keeps a duration from becoming a number of nanoseconds.
func durationAsText(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return a
}

// removeSockets removes the directory that the daemon created for the socket of this plugin, as the daemon does when
// it stops a plugin. It removes only sockets, and then the directory if it is empty.
func removeSockets() {
	dir := os.Getenv(plugin.EnvUnixSocketDir)
	if dir == "" {
		return
	}
	entries, _ := os.ReadDir(dir) // an unreadable directory stays
	for _, e := range entries {
		if e.Type() == os.ModeSocket {
			_ = os.Remove(filepath.Join(dir, e.Name())) //nolint:gosec // the daemon named the directory
		}
	}
	_ = os.Remove(dir) //nolint:gosec // the daemon named it
}
