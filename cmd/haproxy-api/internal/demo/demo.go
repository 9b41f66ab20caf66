package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// demoDrain is how long the demo's HAProxy may finish requests at the end.
const demoDrain = "1s"

func newDemo(opts *options) *cobra.Command {
	var pace time.Duration
	var port int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job on this machine: a Sidecar, a few services and a real HAProxy on loopback",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if pace <= 0 {
				return &usageError{fmt.Errorf("--pace is %s: it must be longer than nothing", pace)}
			}
			if opts.flags.Changed("config-file") {
				return &usageError{errors.New("the demo has a configuration of its own: leave out --config-file")}
			}
			return runDemo(cmd.Context(), cmd.OutOrStdout(), opts, demoOptions{pace: pace, port: port})
		},
	}
	cmd.Flags().DurationVar(&pace, "pace", 4*time.Second, "time between two events")
	cmd.Flags().IntVar(&port, "port", 8080, "where HAProxy offers the sample service; any free one if it is taken")
	return cmd
}

type demoOptions struct {
	pace time.Duration
	port int
}

// runDemo runs until ctx is done and cleans up after itself.
func runDemo(ctx context.Context, out io.Writer, opts *options, demo demoOptions) error {
	// A reader that has seen enough must not keep us from cleaning up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	folder, err := os.MkdirTemp("", "haproxy-api-demo-")
	if err != nil {
		return fmt.Errorf("the demo needs a temporary folder: %w", err)
	}
	defer os.RemoveAll(folder)
	listener, err := server.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()

	settings := demoSettings(folder)
	var story *story
	if !opts.flags.Changed("follow") {
		story, err = newStory(ctx, out, demo, "http://"+listener.Addr().String()+"/update")
		if err != nil {
			return err
		}
		defer story.close()
		settings = append(settings, "sidecar.state_url="+story.sidecar.URL("/state.json"))
	}
	cfg, err := config.Load(config.Options{Set: append(settings, opts.set...), Flags: opts.flags})
	if err != nil {
		return &usageError{err}
	}
	log, level := newLogger(cfg.API)
	d, err := newDaemon(ctx, cfg, log, level)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "haproxy-api demo: configuration in %s, health at http://%s/health\n",
		cfg.HAProxy.ConfigFile, listener.Addr())
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if story != nil {
		story.inForce = func() uint64 { return d.engine.Status()[0].Generation }
		wg.Go(func() { story.tell(ctx) })
	} else {
		fmt.Fprintf(out, "Following %s; HAProxy offers its services on 127.0.0.1. Ctrl-C ends.\n", cfg.Sidecar.Follow)
	}
	err = d.run(ctx, listener)
	cancel()
	wg.Wait()
	fmt.Fprintln(out, "\nHAProxy, Sidecar and services are stopped.")
	return err
}

// demoSettings is the configuration of the demo, which neither a file nor the environment changes.
func demoSettings(folder string) []string {
	return []string{
		"haproxy_api.logging_level=warn",
		"haproxy.bind_ip=127.0.0.1",
		"haproxy.config_file=" + filepath.Join(folder, "haproxy.cfg"),
		"haproxy.pid_file=" + filepath.Join(folder, "haproxy.pid"),
		"haproxy.on_exit=stop",
		"haproxy.drain_timeout=" + demoDrain,
	}
}

// newStory starts the embedded Sidecar, which pushes to listener, with the first services.
func newStory(ctx context.Context, out io.Writer, demo demoOptions, listener string) (*story, error) {
	port, err := freePort(ctx, demo.port)
	if err != nil {
		return nil, err
	}
	s := &story{
		out: out, pace: demo.pace, port: port, running: map[string]*sample{},
		sidecar: sidecartest.New(sidecartest.Options{Listeners: []string{listener}}),
	}
	if err := s.sidecar.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	for _, number := range []int{1, 2} {
		if err := s.come(ctx, number); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// freePort returns wanted where nobody listens on it, or else a free port.
func freePort(ctx context.Context, wanted int) (int, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", wanted))
	if err != nil {
		if listener, err = config.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return 0, fmt.Errorf("the demo finds no free port on 127.0.0.1: %w", err)
		}
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
