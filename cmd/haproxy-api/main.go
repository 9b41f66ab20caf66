// Command haproxy-api keeps HAProxy's configuration in sync with a service registry. Each subcommand has a file of this package,
// which parses flags, calls an internal package and prints the result.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/daemon"
	"github.com/haproxy-api/haproxy-api/engine"
)

// Exit codes. Scripts depend on them.
const (
	exitDone  = 0
	exitFail  = 1 // the command failed, or a check found faults
	exitUsage = 2 // wrong usage or configuration
)

func main() { os.Exit(mainCode()) }

// mainCode runs the command in os.Args and returns the exit code. A second signal ends the process at once.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	root := newRoot()
	root.SetArgs(goSpelling(os.Args[1:]))
	err := root.ExecuteContext(ctx)
	// The cause is the signal, which is a context.Canceled only in later releases of Go 1.26.
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		err = errInterrupted
	}
	return report(os.Stderr, err)
}

// report prints an error, with the line of the template if it has one, and returns the exit code for it.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintln(w, "haproxy-api:", engine.Detail(err))
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*daemon.ConfigError](err); ok {
		return exitUsage
	}
	return exitFail
}

// errReported is returned by a command that has printed its faults.
var errReported = errors.New("faults were found")

// errInterrupted is the error of a command that a signal ended early.
var errInterrupted = errors.New("interrupted")

func newRoot() *cobra.Command {
	opts := &options{}
	root := &cobra.Command{
		Use:   "haproxy-api",
		Short: "Keeps HAProxy's configuration in sync with a service registry",
		Long: "haproxy-api receives the services of a registry such as Sidecar, renders them with a template and applies the\n" +
			"result to HAProxy or to another program through a plugin. Without a subcommand it runs the daemon.",
		Example: "  haproxy-api demo                     # see it work on this machine\n" +
			"  haproxy-api -f haproxy-api.toml      # run the daemon",
		Args:              noArgs,
		Version:           version(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE:              func(cmd *cobra.Command, _ []string) error { return runDaemon(cmd, opts) },
	}
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate(versionLine())
	opts.register(root.PersistentFlags())
	setHelp(root)
	root.AddCommand(newRun(opts), newRender(opts), newDiff(opts), newCheck(opts), newStatus(opts), newExplain(opts),
		newHistory(opts), newTemplate(opts), newConfig(opts), newPlugin(opts), newDemo(opts), newCompletion(), newVersion(opts),
		newMan())
	nameValues(root)
	completeFlags(opts, root)
	return root
}
