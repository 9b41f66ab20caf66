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
	// startWithin bounds the time from exec to the end of the handshake.
	startWithin = 30 * time.Second
	// attachWithin bounds the time from the handshake to the first event, which needs nothing but a connection.
	attachWithin = 10 * time.Second
	// configureWithin bounds the call in which a plugin may look at the world.
	configureWithin = 30 * time.Second
	// checkWithin bounds the check of a document.
	checkWithin = 5 * time.Minute
	// claimWithin bounds the call in which a plugin may wait for another one to end.
	claimWithin = 5 * time.Second
	// lostEvery is the least time between two documents that a sink reports as lost.
	lostEvery = time.Second
	// endWithin bounds the time in which a program may end by itself.
	endWithin = time.Second
)

// process is one run of a plugin's program, from its start to its end.
type process struct {
	program      *program
	client       *plugin.Client
	conn         *grpc.ClientConn
	info         sdk.Info
	capabilities []wire.Capability
	done         chan struct{} // closed when the program ended or let go of us
	detach       context.CancelFunc
}

// daemonSecret is an environment variable that sets a secret of the daemon, or of another plugin: by its name, or by a value
// that has a user before an @.
var daemonSecret = regexp.MustCompile(
	`(?is)^HAPROXY_API_([^=]*(TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|KEY|STATE_URL|__ENV_)|[^=]*=.*@)`)

// withoutSecrets returns the daemon's environment as far as it is a plugin's business.
func withoutSecrets(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return daemonSecret.MatchString(variable) && !strings.HasSuffix(strings.ToUpper(name), "_FILE")
	})
}

// start runs the program and configures it. Faults in the configuration block come back as [sdk.Faults].
func start(ctx context.Context, opts Options) (*process, error) {
	// What is verified must be what is run, so PATH has no say in it.
	path, err := filepath.Abs(opts.Path)
	if err != nil {
		return nil, err
	}
	if err := verify(path, opts.SHA256); err != nil {
		return nil, err
	}
	log := &logWriter{log: opts.Log}
	p := &process{
		program: &program{cmd: exec.Command(path, opts.Args...), words: &logWriter{log: opts.Log}, log: log},
		done:    make(chan struct{}),
	}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			MagicCookieKey:   wire.CookieKey,
			MagicCookieValue: wire.CookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{opts.protocol: {opts.kind.Name(): connector{}}},
		RunnerFunc: func(_ hclog.Logger, prepared *exec.Cmd, _ string) (runner.Runner, error) {
			p.program.cmd.Env = slices.Concat(withoutSecrets(prepared.Env), opts.Env)
			return p.program, nil
		},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		StartTimeout:     startWithin,
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxAnswer), grpc.MaxCallSendMsgSize(wire.MaxMessage),
			grpc.ForceCodecV2(newBoundedCodec()))},
		// The library's own reading of a plugin's log trusts the types in it; ours does not, see logWriter.
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
		Stderr: log,
		// What a Go plugin that serves by itself writes to the streams that go-plugin puts in place of its own.
		SyncStdout: &logWriter{log: opts.Log}, SyncStderr: &logWriter{log: opts.Log},
	})
	// The library's handshake knows no context.
	release := context.AfterFunc(ctx, func() { _ = p.program.Kill(context.Background()) })
	defer release()
	if err := p.connect(ctx, opts); err != nil {
		p.kill()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return p, nil
}

func (p *process) connect(ctx context.Context, opts Options) error {
	protocol, err := p.client.Client()
	if version, ok := p.program.protocol(); ok && version != opts.protocol {
		return fmt.Errorf("plugin %s (%s): %w", opts.Name, opts.Path, &VersionError{Plugin: version, Host: opts.protocol})
	}
	if err != nil {
		return fmt.Errorf("plugin %s (%s) did not start: %s", opts.Name, opts.Path, p.reason(err))
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
	if err := p.attach(opts.attachWithin, opts.lost); err != nil {
		return err
	}
	return p.configure(ctx, opts)
}

// reason says why the handshake failed. The library's errors have several lines; and of a program that ended by itself it
// knows only that there was no handshake.
func (p *process) reason(err error) string {
	if p.program.exited != nil {
		select {
		case <-p.program.exited:
			if !p.program.wasKilled() {
				p.program.awaitDrained()
				return "it ended without a handshake (" + p.program.lastWord() + "): " + p.program.log.lastLine()
			}
		case <-time.After(lastWords):
		}
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// attach opens the call that both sides hold for as long as they live, so that its end tells of the other's. What a sink loses
// comes over it.
func (p *process) attach(within time.Duration, lost func(sdk.Lost)) error {
	ctx, cancel := context.WithCancel(context.Background())
	p.detach = cancel
	late := time.AfterFunc(within, cancel)
	stream, err := wire.NewPluginClient(p.conn).Attach(ctx, &wire.AttachRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if !late.Stop() {
		return fmt.Errorf("cannot attach to the plugin: it did not answer within %s: %w", within, context.DeadlineExceeded)
	}
	if err != nil {
		return callError(ctx, "attach to", err)
	}
	go func() {
		defer close(p.done)
		for {
			event, err := stream.Recv()
			if err != nil {
				return
			}
			what, ok := wire.DecodeLost(event)
			if !ok || lost == nil {
				continue
			}
			lost(what)
			select {
			case <-time.After(lostEvery):
			case <-stream.Context().Done():
			}
		}
	}()
	return nil
}

// can reports whether the plugin has declared that.
func (p *process) can(capability wire.Capability) bool {
	return slices.Contains(p.capabilities, capability)
}

func (p *process) configure(ctx context.Context, opts Options) error {
	ctx, cancel := context.WithTimeout(ctx, configureWithin)
	defer cancel()
	if opts.Block == nil {
		opts.Block = sdk.Block{}
	}
	block, err := json.Marshal(opts.Block)
	if err != nil {
		return fmt.Errorf("the configuration of %s cannot be handed to its plugin: %w", opts.Name, err)
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

// claim has a sink make itself the only one on what it manages.
func (p *process) claim(ctx context.Context) error {
	if !p.can(wire.Capability_CAPABILITY_CLAIM) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimWithin)
	defer cancel()
	resp, err := wire.NewSinkClient(p.conn).Claim(ctx, &wire.ClaimRequest{})
	if err != nil {
		return callError(ctx, "reach", err)
	}
	return wire.DecodeError(resp.GetFailure())
}

// stop ends the program in order: it is told, until ctx is done, and then ended as kill does.
func (p *process) stop(ctx context.Context) error {
	_, err := wire.NewPluginClient(p.conn).Stop(ctx, &wire.StopRequest{})
	if err != nil {
		err = callError(ctx, "stop", err)
	}
	if forced := p.kill(); forced && err == nil {
		err = fmt.Errorf("the plugin did not end by itself within %s and was killed", endWithin)
	}
	return err
}

// kill ends the program and collects it. One that does not end by itself is not given long: it may hang. It returns whether
// force was needed.
func (p *process) kill() bool {
	force := time.AfterFunc(endWithin, func() { _ = p.program.Kill(context.Background()) })
	p.client.Kill()
	forced := !force.Stop()
	if p.detach != nil {
		p.detach()
	}
	return forced
}

// ping asks the program for a sign of life, by the health service that every plugin of go-plugin has.
func (p *process) ping(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := grpc_health_v1.NewHealthClient(p.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "plugin"})
	return err
}

// connector gives the bare connection: the adapters of this package are made from it.
type connector struct{ plugin.NetRPCUnsupportedPlugin }

func (connector) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

func (connector) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the daemon serves no plugins")
}

var _ plugin.GRPCPlugin = connector{}
