package sdk

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
)

// attachWithin bounds the time between the start of a plugin and the daemon's hold on it. A plugin that nobody holds by then
// has lost its daemon on the way up.
const attachWithin = 30 * time.Second

// Info names a plugin.
type Info struct {
	Name    string // such as "nginx"; shown to people
	Version string
}

// ServeSink runs a sink as a plugin: it is all that the main function of one does. It returns when the daemon is done with
// the plugin or is gone itself, and main should return then.
//
// open is called once. It gets the sink's block of the configuration, decoded over defaults as [Decode] does; faults in the
// block never reach it. ctx lives as long as the plugin; open has 30 seconds.
//
// An error from open that is [Faults] or [ErrRejected], see [Rejectf], is a fault of the configuration: the daemon does not
// start with it. Any other error, such as that of a backend that does not answer, may pass: the daemon starts, reports the
// error, and starts the plugin again after a while, see [RetryAfter]. Where the sink is a [Checker], a [Claimer], a
// [Notifier] or a [Stopper] the daemon makes use of that.
//
// Standard error is the daemon's log; write to it through [Env].Log. Standard output belongs to the protocol until open is
// called, and is the same as standard error from then on.
//
// It panics where no block of a configuration can fill a C, see [CheckConfig].
func ServeSink[C any](info Info, defaults C, open func(ctx context.Context, env Env, cfg C) (Sink, error)) {
	mustDecode(defaults)
	serve(info, wire.KindSink, func(ctx context.Context, env Env, block Block) (any, error) {
		cfg := defaults
		if err := Decode(block, &cfg); err != nil {
			return nil, err
		}
		return open(ctx, env, cfg)
	})
}

// ServeSource runs a source as a plugin. What is said of [ServeSink] holds for it too.
func ServeSource[C any](info Info, defaults C, open func(ctx context.Context, env Env, cfg C) (Source, error)) {
	mustDecode(defaults)
	serve(info, wire.KindSource, func(ctx context.Context, env Env, block Block) (any, error) {
		cfg := defaults
		if err := Decode(block, &cfg); err != nil {
			return nil, err
		}
		return open(ctx, env, cfg)
	})
}

// mustDecode keeps what only the author can mend from becoming the user's problem.
func mustDecode(defaults any) {
	if err := CheckConfig(defaults); err != nil {
		panic(err)
	}
}

func serve(info Info, kind string, open func(context.Context, Env, Block) (any, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Service managers send SIGTERM to every process of a service at once, but it is the daemon's to end its plugins: only
	// that is an orderly end. Not signal.Ignore, which the programs that a plugin starts would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM)

	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server := &pluginServer{info: info, kind: kind, log: log, gone: make(chan struct{}), turn: make(chan struct{}, 1),
		lost: lostSlot{ready: make(chan struct{}, 1)}, stderr: os.Stderr}
	server.open = func(env Env, block Block) (any, error) { return open(ctx, env, block) }
	unattached := time.AfterFunc(attachWithin, server.release)
	server.attached = func() { unattached.Stop() }

	served := make(chan struct{})
	go func() {
		defer close(served)
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig: plugin.HandshakeConfig{
				ProtocolVersion:  wire.ProtocolVersion,
				MagicCookieKey:   wire.CookieKey,
				MagicCookieValue: wire.CookieValue,
			},
			Plugins: plugin.PluginSet{kind: server},
			GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
				return grpc.NewServer(append(opts,
					grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage))...)
			},
			Logger: hclog.NewNullLogger(),
		})
	}()
	select {
	case <-served:
	case <-server.gone: // the daemon is gone: what the plugin manages goes on without either
		removeSockets()
	}
}

// removeSockets does what the daemon would have done: it made a folder for the socket of this plugin alone. Nothing but
// sockets is removed, and the folder only where it is empty then.
func removeSockets() {
	folder := os.Getenv(plugin.EnvUnixSocketDir)
	if folder == "" {
		return
	}
	entries, _ := os.ReadDir(folder) // an unreadable folder stays
	for _, e := range entries {
		if e.Type() == os.ModeSocket {
			_ = os.Remove(filepath.Join(folder, e.Name())) //nolint:gosec // the daemon named the folder
		}
	}
	_ = os.Remove(folder) //nolint:gosec // the daemon named it
}

// pluginServer is the plugin's end of the wire: the service that every plugin has, and registration of the other one.
type pluginServer struct {
	plugin.NetRPCUnsupportedPlugin
	wire.UnimplementedPluginServer

	info     Info
	kind     string
	log      *slog.Logger
	open     func(Env, Block) (any, error)
	attached func()

	releaseOnce sync.Once
	gone        chan struct{} // closed when the daemon let go of the plugin

	lost   lostSlot
	stderr *os.File // as it was before go-plugin replaced it

	turn chan struct{} // has a place for the Apply that runs: a cancelled one may still be on its way out

	mu     sync.Mutex
	opened any // the author's Sink or Source once it is configured
}

func (p *pluginServer) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	wire.RegisterPluginServer(s, p)
	if p.kind == wire.KindSink {
		wire.RegisterSinkServer(s, &sinkServer{plugin: p})
	} else {
		wire.RegisterSourceServer(s, &sourceServer{plugin: p, watching: make(chan struct{}, 1)})
	}
	return nil
}

// GRPCClient is the daemon's side, which plugins/host has: a plugin never dials.
func (p *pluginServer) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, plugin.ErrProcessNotFound
}

// lostSlot keeps the newest [Lost] that was not sent yet.
type lostSlot struct {
	ready chan struct{} // has an element while there is one

	mu     sync.Mutex
	newest Lost
}

func (s *lostSlot) put(l Lost) {
	s.mu.Lock()
	s.newest = l
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default: // not sent yet
	}
}

func (s *lostSlot) take() Lost {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

func (p *pluginServer) release() { p.releaseOnce.Do(func() { close(p.gone) }) }

var _ plugin.GRPCPlugin = (*pluginServer)(nil)
