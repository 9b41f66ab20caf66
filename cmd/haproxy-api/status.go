package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine"
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
	line := func(format string, args ...any) { fmt.Fprintln(out, engine.OneLine(fmt.Sprintf(format, args...))) }
	state := "well"
	if len(p.Problems) > 0 {
		state = "not well"
	}
	line("%s: %s, from source %s", p.Name, state, p.Source)
	for _, problem := range p.Problems {
		line("  problem     %s", problem)
	}
	for _, problem := range p.SourceTrouble {
		line("  source      %s", problem)
	}
	if p.TemplateError != "" {
		line("  template    %s", p.TemplateError)
	}
	for _, place := range p.Volatile {
		line("  volatile    %s", place)
	}
	for _, note := range p.Notes {
		line("  note        %s", note)
	}
	for _, l := range p.LeftOut {
		line("  left out    %s: %s", nameLeftOut(l), l.Reason)
	}
	for _, q := range p.Quarantined {
		line("  quarantined %s: %s", nameQuarantined(q.Service, q.Instance, q.Hostname), q.Reason)
	}
	if more := p.QuarantinedN - len(p.Quarantined); more > 0 {
		line("  quarantined and %d more", more)
	}
	if w := p.Waiting; w != nil {
		line("  waiting     until %s: %s", w.Until.Local().Format(time.TimeOnly), w.Reason)
	}
	if h := p.Held; h != nil {
		line("  held        until %s: %s", h.Until.Local().Format(time.TimeOnly), h.Reason)
	}
	if p.StaleSince != nil {
		line("  stale       the catalogue is the one of %s: the source has told nothing since the start",
			p.StaleSince.Local().Format(time.DateTime))
	}
	if p.Since == nil {
		line("  in effect   nothing yet")
	} else {
		line("  in effect   generation %d since %s", p.Generation, p.Since.Local().Format(time.DateTime))
	}
	if l := p.Last; l != nil && l.Error == "" && l.Deferred == "" {
		line("  last        %s because %s (%s, %.3f s)", l.Action, l.Reason, l.Trigger, l.Seconds)
	}
	for _, name := range sortedKeys(p.Facts) {
		line("  %-11s %s", name, p.Facts[name])
	}
	for _, name := range sortedKeys(p.SourceFacts) {
		line("  source's %s %s", name, p.SourceFacts[name])
	}
}

func nameLeftOut(l server.LeftOut) string {
	if l.Instance == "" && l.Hostname == "" {
		return fmt.Sprintf("service %q", l.Service)
	}
	return fmt.Sprintf("instance %q of service %q on %s", l.Instance, l.Service, l.Hostname)
}
