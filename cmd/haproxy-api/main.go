// Command haproxy-api keeps HAProxy's configuration in sync with a service registry. Each file of this package is one subcommand:
// it parses flags, calls an internal package and prints the result.
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

// A usageError is a fault in the command line or in the configuration, found before the command has done anything.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func newRoot() *cobra.Command {
	opts := &options{}
	root := &cobra.Command{
		Use:   "haproxy-api",
		Short: "Keeps HAProxy's configuration in sync with a service registry",
		Long: "haproxy-api receives the services of a registry such as Sidecar, renders them with a template and applies the\n" +
			"result to HAProxy or to another program through a plugin. Without a subcommand it runs the daemon.",
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
	setHelp(root)
	root.AddCommand(newRun(opts), newRender(opts), newDiff(opts), newCheck(opts), newStatus(opts), newExplain(opts),
		newHistory(opts), newTemplate(opts), newConfig(opts), newPlugin(opts), newDemo(opts), newCompletion(), newVersion(opts),
		newMan())
	return root
}

// oneArg returns a check that returns a usage error with the hint unless the command has one argument, or none if it is optional.
func oneArg(optional bool, hint string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 || len(args) == 0 && !optional {
			return &usageError{fmt.Errorf("%s; see '%s --help'", hint, cmd.CommandPath())}
		}
		return nil
	}
}

// noArgs is cobra.NoArgs with a usage error that suggests a subcommand.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	cmd.SuggestionsMinimumDistance = 2
	if suggestions := cmd.SuggestionsFor(args[0]); len(suggestions) > 0 {
		hint = fmt.Sprintf("did you mean %q? ", suggestions[0])
	}
	path := cmd.CommandPath()
	return &usageError{fmt.Errorf("unknown command %q for %q; %ssee '%s --help'", args[0], path, hint, path)}
}
