package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// startTimeout bounds the time from exec to the end of the handshake.
	startTimeout = 30 * time.Second
	// attachTimeout bounds the time from the handshake to the first event, which needs only a connection.
	attachTimeout = 10 * time.Second
	// configureTimeout bounds Configure, in which a plugin may connect to its backend.
	configureTimeout = 30 * time.Second
	// checkTimeout bounds the check of a document.
	checkTimeout = 5 * time.Minute
	// claimTimeout bounds Claim, in which a plugin may wait for another process to end.
	claimTimeout = 5 * time.Second
	// exitTimeout bounds how long a program may take to end by itself.
	exitTimeout = time.Second
	// lostInterval is the least time between two documents that a sink reports as lost, and eventInterval between two events.
	lostInterval  = time.Second
	eventInterval = 10 * time.Millisecond
	// serversTimeout bounds how long a sink may take to report the servers of its program.
	serversTimeout = 5 * time.Second
)

// process is one run of a plugin's program.
type process struct {
	program      *program
	client       *plugin.Client
	conn         *grpc.ClientConn
	info         sdk.Info
	capabilities []wire.Capability
	done         chan struct{} // closed when Attach has ended, because the program has ended or closed the connection
	detach       context.CancelFunc
}

// daemonSecret matches an environment variable that sets a secret of the daemon or of another plugin: by its name, or by a
// value with user information before an @. The headers for the collector of traces usually have a token.
var daemonSecret = regexp.MustCompile(
	`(?is)^HAPROXY_API_([^=]*(TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|KEY|STATE_URL|__ENV_)|[^=]*=.*@)` +
		`|^OTEL_EXPORTER_OTLP_([^=]*_)?HEADERS=`)

// withoutSecrets returns the daemon's environment without the variables that set secrets.
func withoutSecrets(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return daemonSecret.MatchString(variable) && !strings.HasSuffix(strings.ToUpper(name), "_FILE")
	})
}

// start starts and configures the program. It returns the faults of the configuration block as [sdk.Faults].
func start(ctx context.Context, opts Options) (*process, error) {
	// An absolute path, so that PATH cannot select another program than the one that is verified.
	path, err := filepath.Abs(opts.Path)
	if err != nil {
		return nil, err
	}
	if err := verify(path, opts.SHA256); err != nil {
		return nil, err
	}
	stderr := &logWriter{log: opts.Log}
	p := &process{
		program: &program{cmd: exec.Command(path, opts.Args...), stdoutLog: &logWriter{log: opts.Log}, stderrLog: stderr},
		done:    make(chan struct{}),
	}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{opts.protocol: {opts.kind.Name(): connector{}}},
		RunnerFunc: func(_ hclog.Logger, prepared *exec.Cmd, _ string) (runner.Runner, error) {
			p.program.cmd.Env = slices.Concat(withoutSecrets(prepared.Env), opts.Env)
			return p.program, nil
		},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		StartTimeout:     startTimeout,
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxResponse), grpc.MaxCallSendMsgSize(wire.MaxMessage),
			grpc.ForceCodecV2(newLimitedCodec()))},
		// go-plugin trusts the types in a plugin's log lines; logWriter does not.
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
		Stderr: stderr,
		// A Go plugin that does not use package serve writes to the streams with which go-plugin replaces the standard streams.
		SyncStdout: &logWriter{log: opts.Log}, SyncStderr: &logWriter{log: opts.Log},
	})
	// The handshake of go-plugin does not take a context.
	release := context.AfterFunc(ctx, func() { _ = p.program.Kill(context.Background()) })
	defer release()
	if err := p.connect(ctx, opts); err != nil {
		p.terminate()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return p, nil
}

func (p *process) connect(ctx context.Context, opts Options) error {
	protocol, err := p.client.Client()
	if version, ok := p.program.handshake.protocol(); ok && version != opts.protocol {
		return fmt.Errorf("plugin %s (%s): %w", opts.Name, opts.Path, &VersionError{Plugin: version, Host: opts.protocol})
	}
	if err != nil {
		return fmt.Errorf("plugin %s (%s) did not start: %s", opts.Name, opts.Path, p.handshakeError(err))
	}
	raw, err := protocol.Dispense(opts.kind.Name())
	if err != nil {
		return fmt.Errorf("plugin %s (%s) is not a %s: %w", opts.Name, opts.Path, opts.kind.Name(), err)
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return fmt.Errorf("plugin %s (%s) does not speak gRPC: build it with a current plugins/sdk", opts.Name, opts.Path)
	}
	p.conn = conn
	if err := p.attach(opts); err != nil {
		return err
	}
	return p.configure(ctx, opts)
}

// handshakeError says why the handshake failed with err. The errors of go-plugin have several lines; for a program that ended
// by itself its exit status and last log line say more.
func (p *process) handshakeError(err error) string {
	if p.program.exited != nil {
		select {
		case <-p.program.exited:
			if !p.program.wasKilled() {
				p.program.awaitDrained()
				return "it ended without a handshake (" + p.program.exitStatus() + "): " + p.program.stderrLog.lastLine()
			}
		case <-time.After(pipeTimeout):
		}
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// attach opens the call that both sides keep open as long as they run. Each side learns from the end of the call that the other
// has ended. What a sink reports meanwhile is passed on.
func (p *process) attach(opts Options) error {
	timeout := opts.attachTimeout
	ctx, cancel := context.WithCancel(context.Background())
	p.detach = cancel
	late := time.AfterFunc(timeout, cancel)
	stream, err := wire.NewPluginClient(p.conn).Attach(ctx, &wire.AttachRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if !late.Stop() {
		return fmt.Errorf("cannot attach to the plugin: it did not answer within %s: %w", timeout, context.DeadlineExceeded)
	}
	if err != nil {
		return callError(ctx, "attach to", err)
	}
	go func() {
		defer close(p.done)
		for {
			message, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case <-time.After(opts.passOn(message)):
			case <-stream.Context().Done():
			}
		}
	}()
	return nil
}

// passOn passes on what a sink reports in message. It returns the least time until its next report.
func (o Options) passOn(message *wire.AttachEvent) time.Duration {
	if event, ok := wire.DecodeEvent(message, time.Now()); ok && o.event != nil {
		o.event(event)
	}
	if lost, ok := wire.DecodeLost(message); ok && o.lost != nil {
		o.lost(lost)
		return lostInterval
	}
	return eventInterval
}

// can reports whether the plugin has declared the capability.
func (p *process) can(capability wire.Capability) bool {
	return slices.Contains(p.capabilities, capability)
}

func (p *process) configure(ctx context.Context, opts Options) error {
	ctx, cancel := context.WithTimeout(ctx, configureTimeout)
	defer cancel()
	if opts.Block == nil {
		opts.Block = sdk.Block{}
	}
	block, err := json.Marshal(opts.Block)
	if err != nil {
		return fmt.Errorf("encoding the configuration of %s for its plugin: %w", opts.Name, err)
	}
	resp, err := wire.NewPluginClient(p.conn).Configure(ctx, &wire.ConfigureRequest{
		Name: opts.Name, Block: block, StateDir: opts.StateDir,
	})
	if err != nil {
		return callError(ctx, "configure", err)
	}
	if kind := resp.GetKind(); kind != opts.kind {
		return fmt.Errorf("plugin %s (%s) is a %s, not a %s", opts.Name, opts.Path, kind.Name(), opts.kind.Name())
	}
	if len(resp.GetFaults()) > 0 {
		return wire.DecodeFaults(resp.GetFaults())
	}
	if f := resp.GetFailure(); f != nil {
		return &StartError{wire.DecodeError(f)}
	}
	p.info = sdk.Info{
		Name: wire.Truncate(resp.GetName(), wire.MaxName), Version: wire.Truncate(resp.GetVersion(), wire.MaxName),
	}
	p.capabilities = resp.GetCapabilities()
	return nil
}

// claim calls Claim of a sink, which gets exclusive use of what it manages. It does nothing if the plugin lacks the capability.
func (p *process) claim(ctx context.Context) error {
	if !p.can(wire.Capability_CAPABILITY_CLAIM) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	resp, err := wire.NewSinkClient(p.conn).Claim(ctx, &wire.ClaimRequest{})
	if err != nil {
		return callError(ctx, "reach", err)
	}
	return wire.DecodeError(resp.GetFailure())
}

// stop stops the program gracefully: it calls Stop, which has until ctx is done, and then terminate.
func (p *process) stop(ctx context.Context) error {
	_, err := wire.NewPluginClient(p.conn).Stop(ctx, &wire.StopRequest{})
	if err != nil {
		err = callError(ctx, "stop", err)
	}
	if forced := p.terminate(); forced && err == nil {
		err = fmt.Errorf("the plugin did not end by itself within %s and was killed", exitTimeout)
	}
	return err
}

// terminate asks the program to exit, and kills it after exitTimeout. It reports whether it had to be killed.
func (p *process) terminate() bool {
	force := time.AfterFunc(exitTimeout, func() { _ = p.program.Kill(context.Background()) })
	p.client.Kill()
	forced := !force.Stop()
	if p.detach != nil {
		p.detach()
	}
	return forced
}

// ping calls the health service that go-plugin serves in every plugin.
func (p *process) ping(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := grpc_health_v1.NewHealthClient(p.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "plugin"})
	return err
}

// connector returns the connection itself, which [Sink] and [Source] use.
type connector struct{ plugin.NetRPCUnsupportedPlugin }

func (connector) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

func (connector) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the daemon serves no plugins")
}

var _ plugin.GRPCPlugin = connector{}
