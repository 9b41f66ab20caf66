// Command haproxy-api keeps a proxy's configuration true to a service catalogue.
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

// Exit codes, as people's scripts know them.
const (
	exitDone  = 0
	exitFail  = 1 // the thing asked for failed, or a check found faults
	exitUsage = 2 // usage or configuration
)

func main() { os.Exit(mainCode()) }

// mainCode runs the command line in os.Args and returns its exit code.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // who asks twice means it
	root := newRoot()
	root.SetArgs(goSpelling(os.Args[1:]))
	err := root.ExecuteContext(ctx)
	return report(os.Stderr, err)
}

// report says what went wrong, a sentence for each fault with the line where it is a template's, and returns the exit code that
// goes with it.
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

// errReported ends a command whose faults were printed already.
var errReported = errors.New("faults were found")

// usageError is a fault in the command line or in the configuration: the person can mend it and nothing was begun.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func newRoot() *cobra.Command {
	opts := &options{}
	root := &cobra.Command{
		Use:   "haproxy-api",
		Short: "Keeps a proxy's configuration true to a service catalogue",
		Long: "haproxy-api receives what a service catalogue such as Sidecar knows, renders it through a template and keeps\n" +
			"HAProxy, or whatever a plugin feeds, true to it. Without a subcommand it runs the daemon.",
		Args:          noArgs,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return runDaemon(cmd, opts) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
	})
	root.SetVersionTemplate(versionLine())
	opts.register(root.PersistentFlags())
	root.AddCommand(newRun(opts), newRender(opts), newDiff(opts), newCheck(opts), newStatus(opts),
		newTemplate(opts), newConfig(opts), newPlugin(opts), newDemo(opts), newVersion(opts))
	return root
}

// noArgs is cobra.NoArgs with an exit code for usage and a sentence that helps.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	cmd.SuggestionsMinimumDistance = 2
	if likely := cmd.SuggestionsFor(args[0]); len(likely) > 0 {
		hint = fmt.Sprintf("did you mean %q? ", likely[0])
	}
	return &usageError{fmt.Errorf("%s does not know %q; %ssee '%s --help'", cmd.CommandPath(), args[0], hint, cmd.CommandPath())}
}
