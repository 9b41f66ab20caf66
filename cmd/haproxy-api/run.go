package main

import (
	"context"
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
	log, level := newLogger(cfg.API)
	for _, warning := range cfg.Warnings {
		log.Warn(warning)
	}
	ctx := cmd.Context()
	listener, err := server.Listen(ctx, net.JoinHostPort(cfg.API.BindIP, strconv.Itoa(cfg.API.BindPort)))
	if err != nil {
		return err
	}
	// From here on, so that a SIGHUP does not end a daemon that is still starting.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	d, err := newDaemon(ctx, cfg, log, level)
	if err != nil {
		_ = listener.Close()
		if ctx.Err() != nil {
			log.Info("haproxy-api stopped before it had started")
			return nil
		}
		return err
	}
	file, _ := opts.file()
	_, missing := os.Stat(file)
	reload := &reloader{opts: opts, daemon: d, log: log, told: hangups, there: missing == nil}
	beside := []func(context.Context){reload.run}
	if os.Getpid() == 1 {
		beside = append(beside, reapOrphans)
	}
	return d.run(ctx, listener, beside...)
}
