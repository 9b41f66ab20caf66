// Package demo shows haproxy-api on one machine: a Sidecar and a service whose instances change, a daemon, and a real HAProxy. It
// listens on 127.0.0.1 only and removes all its files at the end.
package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/daemon"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// Options configure the demo.
type Options struct {
	Pace    time.Duration // the time between two events
	Port    int           // the port at which HAProxy offers the service; a free one is used if it is taken
	Follow  bool          // follow a Sidecar that the configuration names instead of starting one
	Version string        // of the program

	// Load loads a configuration that consists of these settings, each key=value, and of the user's own.
	Load func(settings []string) (*config.Config, error)
	// NewLogger returns the logger for a configuration, and its level.
	NewLogger func(config.API) (*slog.Logger, *slog.LevelVar)
}

// Run runs the demo until ctx is done, and then stops everything that it started.
func Run(ctx context.Context, out io.Writer, opts Options) error {
	// A closed pipe must not end the process before the cleanup.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	directory, err := os.MkdirTemp("", "haproxy-api-demo-")
	if err != nil {
		return fmt.Errorf("the demo needs a temporary directory: %w", err)
	}
	defer os.RemoveAll(directory)
	listener, err := server.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()

	settings := settings(directory)
	var scenario *scenario
	if !opts.Follow {
		scenario, err = newScenario(ctx, out, opts, "http://"+listener.Addr().String()+"/update")
		if err != nil {
			return err
		}
		defer scenario.close()
		settings = append(settings, "sidecar.state_url="+scenario.sidecar.stateURL)
	}
	cfg, err := opts.Load(settings)
	if err != nil {
		return err
	}
	log, level := opts.NewLogger(cfg.API)
	d, err := daemon.New(ctx, daemon.Options{Config: cfg, Version: opts.Version, Log: log, Level: level})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "haproxy-api demo: configuration in %s, status page at http://%s/\n",
		cfg.HAProxy.ConfigFile, listener.Addr())
	fmt.Fprintf(out, "Run:  %s status --address http://%s     (also explain and history)\n", os.Args[0], listener.Addr())
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if scenario != nil {
		scenario.generation = func() uint64 { return d.Status()[0].Generation }
		wg.Go(func() { scenario.run(ctx) })
	} else {
		fmt.Fprintf(out, "Following %s; HAProxy offers its services on 127.0.0.1. Ctrl-C ends.\n", cfg.Sidecar.Follow)
	}
	err = d.Run(ctx, listener)
	cancel()
	wg.Wait()
	fmt.Fprintln(out, "\nHAProxy, Sidecar and services are stopped.")
	return err
}

// settings returns the demo's configuration.
func settings(directory string) []string {
	return []string{
		"haproxy_api.logging_level=warn",
		"haproxy.bind_ip=127.0.0.1",
		"haproxy.config_file=" + filepath.Join(directory, "haproxy.cfg"),
		"haproxy.pid_file=" + filepath.Join(directory, "haproxy.pid"),
		"haproxy.on_exit=stop",
		"haproxy.drain_timeout=1s",
	}
}
