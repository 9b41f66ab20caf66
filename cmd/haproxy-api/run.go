package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/daemon"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/systemd"
	"github.com/haproxy-api/haproxy-api/engine/config"
)

func newRun(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:        "run",
		SuggestFor: []string{"start", "serve", "daemon"},
		Short:      "Run the daemon (the default)",
		Example:    "  haproxy-api run -f haproxy-api.toml",
		Args:       noArgs,
		RunE:       func(cmd *cobra.Command, _ []string) error { return runDaemon(cmd, opts) },
	}
}

// runDaemon runs the daemon. The service manager is told why it ends, because its own display may lack the log of a process that
// ends at once.
func runDaemon(cmd *cobra.Command, opts *options) error {
	setGCPercent()
	cfg, err := opts.load()
	if err != nil {
		systemd.FromEnvironment(slog.Default()).Failed(err)
		return err
	}
	log, level := newLogger(cfg.API)
	for _, warning := range cfg.Warnings {
		log.Warn("configuration warning", "detail", warning)
	}
	notify := systemd.FromEnvironment(log) // before any child process is started
	err = runWith(cmd.Context(), opts, cfg, log, level, notify)
	if err != nil {
		notify.Failed(err)
	}
	return err
}

// runWith runs the daemon with a configuration until ctx is done.
func runWith(ctx context.Context, opts *options, cfg *config.Config, log *slog.Logger, level *slog.LevelVar,
	notify *systemd.Notifier,
) error {
	listener, err := daemon.Listen(ctx, cfg.API)
	if err != nil {
		return errors.Join(err, daemon.StartFaults(cfg, log))
	}
	// Registered before the start, so that a SIGHUP does not end a daemon that is still starting.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	process1 := os.Getpid() == 1
	d, err := daemon.New(ctx, daemon.Options{
		Config: cfg, Version: version(), Log: log, Level: level, Notify: notify, Process1: process1,
	})
	if err != nil {
		_ = listener.Close()
		if ctx.Err() != nil {
			log.Info("haproxy-api stopped before it had started")
			return nil
		}
		return err
	}
	file, _ := opts.file()
	background := []func(context.Context){daemon.NewReloader(d, file, opts.load, hangups).Run}
	if process1 {
		background = append(background, daemon.ReapOrphans)
	}
	return d.Run(ctx, listener, background...)
}
