package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/logging"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// watchInterval is the interval of status --watch.
const watchInterval = time.Second

func newStatus(opts *options) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the status of the running daemon's pipelines",
		Long: "status queries the running daemon and shows the status of each pipeline. A pipeline is unhealthy while its\n" +
			"sink has a problem, the newest snapshot could not be applied, or the saved template cannot be used.\n" +
			"Exit code: 0 all pipelines are healthy; 1 a pipeline is unhealthy, or the daemon does not answer.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			daemon, err := opts.client()
			if err != nil {
				return err
			}
			for {
				err := showStatus(cmd, daemon, opts.json())
				if !watch || err != nil && !errors.Is(err, errReported) {
					return err
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(watchInterval):
				}
			}
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "repeat every second")
	return opts.withOutput(opts.withAddress(cmd))
}

// showStatus prints the status of all pipelines. It returns errReported if a pipeline is unhealthy.
func showStatus(cmd *cobra.Command, daemon apiclient.Client, inJSON bool) error {
	pipelines, err := daemon.Pipelines(cmd.Context())
	if errors.Is(err, apiclient.ErrUntrusted) {
		// The certificate file may have been replaced by one that the daemon cannot use; its status is then especially useful.
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %v; the status below may be from another program\n", err)
		pipelines, err = daemon.Unverified().Pipelines(cmd.Context())
	}
	if err != nil {
		return err
	}
	if inJSON {
		err = printJSON(cmd.OutOrStdout(), pipelines)
	} else {
		for _, p := range pipelines {
			showPipeline(cmd.OutOrStdout(), p)
		}
	}
	if err == nil && !slices.ContainsFunc(pipelines, func(p server.Pipeline) bool { return p.State == server.StateUnhealthy }) {
		return nil
	}
	return cmp.Or(err, errReported)
}

// showPipeline prints the status of one pipeline. Its text is sanitized, because it originates from others.
func showPipeline(out io.Writer, p server.Pipeline) {
	line := func(format string, args ...any) {
		fmt.Fprintln(out, engine.OneLine(logging.JoinLines(fmt.Sprintf(format, args...))))
	}
	line("%s: %s, from source %s", p.Name, p.State, p.Source)
	for _, problem := range p.Problems {
		line("  problem     %s", problem)
	}
	for _, problem := range p.SourceProblems {
		line("  source      %s", problem)
	}
	if p.TemplateError != "" {
		line("  template    %s", p.TemplateError)
	}
	for _, place := range p.Nondeterministic {
		line("  varies      %s", place)
	}
	for _, note := range p.Notes {
		line("  note        %s", note)
	}
	for _, l := range p.Excluded {
		line("  excluded    %s: %s", describeExcluded(l), l.Reason)
	}
	for _, q := range p.Quarantined {
		line("  quarantined %s: %s", states.DescribeInstance(q.Service, q.Instance, q.Hostname), q.Reason)
	}
	if more := p.QuarantinedCount - len(p.Quarantined); more > 0 {
		line("  quarantined and %d more", more)
	}
	for _, d := range p.Dropped {
		line("  dropped     from %s: %s", states.DescribeInstance(d.Service, d.Instance, d.Hostname), d.Reason)
	}
	if more := p.DroppedCount - len(p.Dropped); more > 0 {
		line("  dropped     and %d more", more)
	}
	if p.Applying != nil {
		line("  applying    since %s", p.Applying.Local().Format(time.DateTime))
	}
	if w := p.Waiting; w != nil {
		line("  waiting     until %s: %s", w.Until.Local().Format(time.TimeOnly), w.Reason)
	}
	if h := p.Held; h != nil {
		line("  held        until %s: %s", h.Until.Local().Format(time.TimeOnly), h.Reason)
	}
	if p.StaleSince != nil {
		line("  stale       the snapshot is from %s; the source has emitted none since the start",
			p.StaleSince.Local().Format(time.DateTime))
	}
	if p.Since == nil {
		line("  applied     nothing yet")
	} else {
		line("  applied     generation %d since %s", p.Generation, p.Since.Local().Format(time.DateTime))
	}
	if l := p.Last; l != nil && l.Error == "" && l.Deferred == "" {
		line("  last        %s because %s (%s, %.3f s)", l.Action, l.Reason, l.Trigger, l.Seconds)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Facts)) {
		line("  %-11s %s", name, p.Facts[name])
	}
	for _, name := range slices.Sorted(maps.Keys(p.SourceFacts)) {
		line("  source's %s %s", name, p.SourceFacts[name])
	}
}

// describeExcluded names an excluded instance, or a service that is excluded as a whole.
func describeExcluded(l server.Exclusion) string {
	if l.Instance == "" && l.Hostname == "" {
		return fmt.Sprintf("service %q", l.Service)
	}
	return fmt.Sprintf("instance %q of service %q on %s", l.Instance, l.Service, l.Hostname)
}
