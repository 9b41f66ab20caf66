package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

// watchEvery is how often status --watch looks again.
const watchEvery = time.Second

func newStatus(opts *options) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the running daemon's pipelines are",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := opts.load()
			if err != nil {
				return err
			}
			daemon := apiOf(cfg)
			for {
				if err := showStatus(cmd.Context(), cmd.OutOrStdout(), daemon); err != nil || !watch {
					return err
				}
				if !sleep(cmd.Context(), watchEvery) {
					return nil
				}
			}
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again every second")
	return cmd
}

func showStatus(ctx context.Context, out io.Writer, daemon api) error {
	pipelines, err := daemon.pipelines(ctx)
	if err != nil {
		return err
	}
	for _, p := range pipelines {
		showPipeline(out, p)
	}
	return nil
}

func showPipeline(out io.Writer, p server.Pipeline) {
	state := "well"
	if len(p.Problems) > 0 {
		state = "not well"
	}
	fmt.Fprintf(out, "%s: %s, from source %s\n", p.Name, state, p.Source)
	for _, problem := range p.Problems {
		fmt.Fprintf(out, "  problem     %s\n", problem)
	}
	for _, problem := range p.SourceTrouble {
		fmt.Fprintf(out, "  source      %s\n", problem)
	}
	if p.TemplateError != "" {
		fmt.Fprintf(out, "  template    %s\n", p.TemplateError)
	}
	for _, place := range p.Volatile {
		fmt.Fprintf(out, "  volatile    %s\n", place)
	}
	for _, note := range p.Notes {
		fmt.Fprintf(out, "  note        %s\n", note)
	}
	for _, l := range p.LeftOut {
		fmt.Fprintf(out, "  left out    %s: %s\n", nameLeftOut(l), l.Reason)
	}
	for _, q := range p.Quarantined {
		fmt.Fprintf(out, "  quarantined %s: %s\n", nameQuarantined(q.Service, q.Instance, q.Hostname), q.Reason)
	}
	if more := p.QuarantinedN - len(p.Quarantined); more > 0 {
		fmt.Fprintf(out, "  quarantined and %d more\n", more)
	}
	if w := p.Waiting; w != nil {
		fmt.Fprintf(out, "  waiting     until %s: %s\n", w.Until.Local().Format(time.TimeOnly), w.Reason)
	}
	if h := p.Held; h != nil {
		fmt.Fprintf(out, "  held        until %s: %s\n", h.Until.Local().Format(time.TimeOnly), h.Reason)
	}
	if p.StaleSince != nil {
		fmt.Fprintf(out, "  stale       the catalogue is the one of %s: the source has told nothing since the start\n",
			p.StaleSince.Local().Format(time.DateTime))
	}
	if p.Since == nil {
		fmt.Fprintln(out, "  in effect   nothing yet")
	} else {
		fmt.Fprintf(out, "  in effect   generation %d since %s\n", p.Generation, p.Since.Local().Format(time.DateTime))
	}
	if l := p.Last; l != nil && l.Error == "" && l.Deferred == "" {
		fmt.Fprintf(out, "  last        %s because %s (%s, %.3f s)\n", l.Action, l.Reason, l.Trigger, l.Seconds)
	}
	for _, name := range sortedKeys(p.Facts) {
		fmt.Fprintf(out, "  %-11s %s\n", name, p.Facts[name])
	}
	for _, name := range sortedKeys(p.SourceFacts) {
		fmt.Fprintf(out, "  source's %s %s\n", name, p.SourceFacts[name])
	}
}

func nameLeftOut(l server.LeftOut) string {
	if l.Instance == "" && l.Hostname == "" {
		return fmt.Sprintf("service %q", l.Service)
	}
	return fmt.Sprintf("instance %q of service %q on %s", l.Instance, l.Service, l.Hostname)
}
