package main

import (
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

func newRun(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the daemon (the default)",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runDaemon(cmd, opts) },
	}
}

func runDaemon(cmd *cobra.Command, opts *options) error {
	cfg, err := opts.load()
	if err != nil {
		return err
	}
	log := newLogger(cfg.API)
	for _, warning := range cfg.Warnings {
		log.Warn(warning)
	}
	ctx := cmd.Context()
	listener, err := server.Listen(ctx, net.JoinHostPort(cfg.API.BindIP, strconv.Itoa(cfg.API.BindPort)))
	if err != nil {
		return err
	}
	// Without this a SIGHUP, which log rotation and service managers send, would end the daemon.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	go func() {
		for range hangups {
			log.Warn("SIGHUP does not reload the configuration in this version: restart to take it up, HAProxy goes on")
		}
	}()
	d, err := newDaemon(ctx, cfg, log)
	if err != nil {
		_ = listener.Close()
		if ctx.Err() != nil {
			log.Info("haproxy-api stopped before it had started")
			return nil
		}
		return err
	}
	return d.run(ctx, listener)
}
