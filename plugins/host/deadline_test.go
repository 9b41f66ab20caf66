package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// rawPlugin implements the protocol without package sdk, and hangs in one call.
type rawPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	wire.UnimplementedPluginServer
	wire.UnimplementedSinkServer
	hangs string
}

// rawVersions is an environment variable with the protocol versions that a rawPlugin speaks, separated by commas; this one by
// default.
const rawVersions = "RAW_PLUGIN_VERSIONS"

func serveRaw(hangs string) {
	versions := map[int]plugin.PluginSet{}
	for version := range strings.SplitSeq(cmp.Or(os.Getenv(rawVersions), strconv.Itoa(wire.ProtocolVersion)), ",") {
		number, err := strconv.Atoi(version)
		if err != nil {
			panic(err)
		}
		versions[number] = plugin.PluginSet{"sink": &rawPlugin{hangs: hangs}}
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: versions, GRPCServer: plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger(),
	})
}

func (p *rawPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	wire.RegisterPluginServer(s, p)
	wire.RegisterSinkServer(s, p)
	return nil
}

func (p *rawPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, plugin.ErrProcessNotFound
}

func (p *rawPlugin) call(name string) {
	if p.hangs == name {
		fmt.Fprintln(os.Stderr, name, "hangs")
		select {}
	}
}

func (p *rawPlugin) Attach(_ *wire.AttachRequest, stream grpc.ServerStreamingServer[wire.AttachEvent]) error {
	p.call("Attach")
	if err := stream.Send(&wire.AttachEvent{}); err != nil {
		return err
	}
	<-stream.Context().Done()
	os.Exit(0)
	return nil
}

func (p *rawPlugin) Configure(context.Context, *wire.ConfigureRequest) (*wire.ConfigureResponse, error) {
	p.call("Configure")
	return &wire.ConfigureResponse{
		Name: "raw", Version: "1", Kind: wire.Kind_KIND_SINK,
		Capabilities: []wire.Capability{wire.Capability_CAPABILITY_CHECK, wire.Capability_CAPABILITY_CLAIM},
	}, nil
}

func (p *rawPlugin) Stop(context.Context, *wire.StopRequest) (*wire.StopResponse, error) {
	p.call("Stop")
	return &wire.StopResponse{}, nil
}

func (p *rawPlugin) Apply(context.Context, *wire.ApplyRequest) (*wire.ApplyResponse, error) {
	p.call("Apply")
	return &wire.ApplyResponse{Result: &wire.Result{Action: wire.Action_ACTION_WRITTEN}}, nil
}

func (p *rawPlugin) Cancel(context.Context, *wire.CancelRequest) (*wire.CancelResponse, error) {
	return &wire.CancelResponse{}, nil
}

func (p *rawPlugin) Check(context.Context, *wire.CheckRequest) (*wire.CheckResponse, error) {
	p.call("Check")
	return &wire.CheckResponse{}, nil
}

func (p *rawPlugin) Claim(context.Context, *wire.ClaimRequest) (*wire.ClaimResponse, error) {
	p.call("Claim")
	return &wire.ClaimResponse{}, nil
}

func (p *rawPlugin) Health(context.Context, *wire.HealthRequest) (*wire.HealthResponse, error) {
	p.call("Health")
	return &wire.HealthResponse{}, nil
}

func rawOptions(t *testing.T, hangs string) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	options := Options{
		Name: "edge", Path: self, Env: []string{"RAW_PLUGIN=" + hangs}, Log: slog.New(slog.DiscardHandler),
		cancelTimeout: 200 * time.Millisecond,
	}
	if hangs == "Attach" {
		options.attachTimeout = 200 * time.Millisecond
	}
	return options
}

// shortContext returns a context with a short deadline.
func shortContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// The start ends, and with it the process, whichever of its calls hangs.
func TestStart_PluginHangsInACall(t *testing.T) {
	if _, err := StartSink(t.Context(), rawOptions(t, "Attach")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Attach hangs: %v", err)
	}
	options, log := rawOptions(t, "Configure"), &logBuffer{}
	options.Log = slog.New(slog.NewTextHandler(log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := StartSink(ctx, options)
		ended <- err
	}()
	eventually(t, "Configure hangs", func() bool { return strings.Contains(log.String(), "Configure hangs") })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Configure hangs: %v", err)
	}
}

// A call that hangs ends with its context, and other calls are not affected.
func TestSink_PluginHangsInOneCall(t *testing.T) {
	calls := map[string]func(context.Context, *Sink) error{
		"Apply": func(ctx context.Context, s *Sink) error {
			_, err := s.Apply(ctx, document("text"))
			return err
		},
		"Check":  func(ctx context.Context, s *Sink) error { return s.Check(ctx, document("text")) },
		"Claim":  func(ctx context.Context, s *Sink) error { return s.Claim(ctx) },
		"Health": func(ctx context.Context, s *Sink) error { _, err := s.PluginHealth(ctx); return err },
		"Stop":   func(ctx context.Context, s *Sink) error { return s.Stop(ctx) },
	}
	for hangs, call := range calls {
		t.Run(hangs, func(t *testing.T) {
			sink, err := StartSink(t.Context(), rawOptions(t, hangs))
			if err != nil {
				t.Fatal(err)
			}
			defer sink.Close()
			for name, other := range calls {
				if name != hangs && name != "Stop" {
					if err := other(t.Context(), sink); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			if err := call(shortContext(t), sink); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A plugin whose Apply ignores its cancellation is killed and restarted.
func TestApply_IgnoredCancellation(t *testing.T) {
	sink, err := StartSink(t.Context(), rawOptions(t, "Apply"))
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	before := sink.PID()
	if _, err := sink.Apply(shortContext(t), document("text")); !errors.Is(err, errNotCancelled) {
		t.Errorf("got %v", err)
	}
	<-sink.Restarted()
	if err := syscall.Kill(before, 0); err == nil || sink.PID() == before {
		t.Errorf("process %d is still there", before)
	}
}

// cancelApply cancels an Apply when the plugin has begun with it, and returns its error.
func cancelApply(t *testing.T, sink *Sink, log *logBuffer) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := sink.Apply(ctx, document("wait"))
		ended <- err
	}()
	eventually(t, "the plugin applies the document", func() bool { return strings.Contains(log.String(), "msg=waiting") })
	cancel()
	return <-ended
}

// The host waits for the response of a cancelled Apply, which may have applied the document.
func TestApply_ResponseAfterCancellation(t *testing.T) {
	sink, _, log := startNotes(t, nil)
	err := cancelApply(t, sink, log)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no longer waits") { // the plugin's cause, not ours
		t.Errorf("got %v", err)
	}
	if _, err := sink.Apply(t.Context(), document("text")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sink.Apply(ctx, document("text")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// The context of a plugin ends before that of the host, so a response at the end of it still arrives.
func TestSink_ResponseAtTheDeadline(t *testing.T) {
	for name, call := range map[string]func(*Sink, context.Context) error{
		"Claim":  (*Sink).Claim,
		"Check":  func(s *Sink, ctx context.Context) error { return s.Check(ctx, document("text")) },
		"Health": func(s *Sink, ctx context.Context) error { _, err := s.PluginHealth(ctx); return err },
		"Stop":   (*Sink).Stop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			directory := t.TempDir()
			sink, _, _ := startNotes(t, sdk.Block{"directory": directory, "checks": true})
			if err := os.WriteFile(filepath.Join(directory, "waits"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			if err := call(sink, ctx); err == nil || !strings.HasSuffix(err.Error(), "process 7 has it") || ctx.Err() != nil {
				t.Errorf("got %v; %v", err, ctx.Err())
			}
		})
	}
}
