package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/daemon"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/templatetest"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

type renderOptions struct {
	templateFlags
	state, output string
	watch         bool
}

func newRender(opts *options) *cobra.Command {
	var o renderOptions
	cmd := &cobra.Command{
		Use:   "render --state FILE|URL|-",
		Short: "Render a state without changing a proxy",
		Long: "render prints what the templates render for a state. With --watch it runs until Ctrl-C: whenever a file of the\n" +
			"template set is saved, it renders again and prints the difference to the previous rendering, companion files\n" +
			"included. Errors, and the end of an error, are printed on standard error. The state and the configuration are\n" +
			"read once, so every difference results from the templates.",
		Example: "  haproxy-api render --state http://sidecar:7777/state.json\n" +
			"  haproxy-api render --state state.json --template haproxy.cfg --watch   # beside an editor",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRender(cmd, opts, o) },
	}
	cmd.Flags().StringVar(&o.state, "state", "", "a Sidecar state or a list of instances: `FILE`, URL or - for standard input")
	o.register(cmd)
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "write to `FILE` instead of standard output")
	cmd.Flags().BoolVar(&o.watch, "watch", false, "render again whenever a template is saved, and show what changes")
	return cmd
}

func runRender(cmd *cobra.Command, opts *options, o renderOptions) error {
	if o.state == "" {
		return &usageError{errors.New("there is nothing to render: name a state with --state FILE, URL or -")}
	}
	cfg, err := opts.loadWithNote(cmd)
	if err != nil {
		return err
	}
	p, err := o.selectFrom(cfg)
	if err != nil {
		return err
	}
	state, err := readState(cmd, o.state)
	if err != nil {
		return err
	}
	state.PrintQuarantined(cmd.ErrOrStderr())
	snap := state.As(p.Source)
	if o.watch {
		return watchRender(cmd, o, p, snap)
	}
	files, notes, err := templatetest.Render(cmd.Context(), daemon.TemplateConfig(p), snap, time.Now())
	if err != nil {
		return err
	}
	printNotes(cmd, notes)
	return o.write(cmd.OutOrStdout(), files)
}

// readState reads a state, and shows on a terminal that it does.
func readState(cmd *cobra.Command, location string) (states.State, error) {
	if location == "-" { // the user may be typing
		return states.Read(cmd.Context(), location, cmd.InOrStdin())
	}
	progress := terminal.NewProgress(cmd.ErrOrStderr())
	defer progress.Close()
	progress.Show("reading the state")
	return states.Read(cmd.Context(), location, cmd.InOrStdin())
}

// watchRender renders at once and after every save, until the command's context is done.
func watchRender(cmd *cobra.Command, o renderOptions, p config.Pipeline, snap sdk.Snapshot) error {
	if p.Template == "" && len(p.Files) == 0 && len(p.Partials) == 0 {
		return &usageError{errors.New("the built-in template does not change: name a file to watch with --template")}
	}
	out := cmd.OutOrStdout()
	w := &templatetest.Watcher{
		Templates: daemon.TemplateConfig(p), Snapshot: snap, Out: out, Log: cmd.ErrOrStderr(),
		Write:    func(files []sdk.File) error { return o.write(out, files) },
		WriteAll: o.output != "",
	}
	return w.Run(cmd.Context())
}

// write writes the main file to the output that the user chose. It does not replace what is no regular file, such as /dev/stdout.
func (o renderOptions) write(stdout io.Writer, files []sdk.File) error {
	if o.output == "" {
		_, err := stdout.Write(files[0].Content)
		return err
	}
	if info, err := os.Stat(o.output); err != nil || info.Mode().IsRegular() {
		return replace.Write(o.output, files[0].Content, replace.Options{})
	}
	f, err := os.OpenFile(o.output, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(files[0].Content)
	return errors.Join(err, f.Close())
}

// printNotes prints a template's notes about the state.
func printNotes(cmd *cobra.Command, notes []string) {
	for _, note := range notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", engine.OneLine(note))
	}
}
