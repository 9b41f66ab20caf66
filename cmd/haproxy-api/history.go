package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/display"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// defaultChanges is how many changes history shows by default.
const defaultChanges = 20

type historyOptions struct {
	pipeline, since string
	actions         []string
	limit           int
}

func newHistory(opts *options) *cobra.Command {
	var o historyOptions
	cmd := &cobra.Command{
		Use:        "history",
		SuggestFor: []string{"log", "logs", "changes"},
		Short:      "List the changes of the running daemon's pipelines",
		Long: "history lists the last changes, one line each, the newest one last. A document that was deferred or retried is\n" +
			"one change. What the sink reports by itself, such as a crash of HAProxy, is listed too. 'haproxy-api explain\n" +
			"NUMBER' shows everything about a change.",
		Example: "  haproxy-api history\n" +
			"  haproxy-api history --since 1h --action reload,restart,crashed\n" +
			"  haproxy-api history --since 2026-11-26T09:00:00Z --output json",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runHistory(cmd, opts, o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.pipeline, "pipeline", "", "only the changes of the pipeline with this `NAME`")
	flags.StringVar(&o.since, "since", "", "only changes since then: a `TIME` as 1h30m ago, or in RFC 3339")
	flags.StringSliceVar(&o.actions, "action", nil, "only changes with one of these `ACTIONS`, or events such as crashed")
	flags.IntVar(&o.limit, "limit", defaultChanges, "at most this many changes; 0 is all of them, and the default of --since")
	return opts.withOutput(opts.withAddress(cmd))
}

func runHistory(cmd *cobra.Command, opts *options, o historyOptions) error {
	now := time.Now()
	since, err := parseSince(o.since, now)
	if err != nil {
		return err
	}
	if err := checkActions(o.actions); err != nil {
		return err
	}
	if o.since != "" && !cmd.Flags().Changed("limit") {
		o.limit = 0
	}
	if o.limit < 0 {
		return &usageError{fmt.Errorf("--limit is %d: it must not be negative", o.limit)}
	}
	client, err := opts.client()
	if err != nil {
		return err
	}
	changes, err := queryWithNote(cmd, client, func(ctx context.Context, client apiclient.Client) ([]display.Change, error) {
		return findChanges(ctx, client, o, since)
	})
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if opts.json() {
		return printJSON(out, changes)
	}
	if len(changes) == 0 {
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), "no changes")
		return err
	}
	page := terminal.NewPage(out)
	display.History(page, changes, now)
	_, err = page.WriteTo(out)
	return err
}

// parseSince returns a time that is given in RFC 3339 or as the duration up to now; zero for no text.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, &usageError{fmt.Errorf("--since %q is neither a duration such as 1h30m nor a time such as %s", text,
			now.Format(time.RFC3339))}
	}
	return t, nil
}

// checkActions returns a usage error if one of the names is neither an action nor the kind of an event.
func checkActions(names []string) error {
	known := knownActions()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return &usageError{fmt.Errorf("--action %q: it is none of %s", name, strings.Join(known, ", "))}
		}
	}
	return nil
}

// knownActions returns the names of all actions and of all kinds of events.
func knownActions() []string {
	known := slices.Concat(history.Actions(), history.Events())
	slices.Sort(known)
	return slices.Compact(known) // other is both
}

// matches reports whether the change has one of the actions, or is an event of one of these kinds. Without actions every change
// matches.
func (o historyOptions) matches(c history.Change) bool {
	return len(o.actions) == 0 || c.HasAction(o.actions)
}

// findChanges returns the newest changes that the options select, oldest first.
func findChanges(ctx context.Context, client apiclient.Client, o historyOptions, since time.Time) ([]display.Change, error) {
	pipelines, err := client.Pipelines(ctx)
	if err != nil {
		return nil, err
	}
	if o.pipeline != "" {
		p, err := findPipeline(ctx, client, o.pipeline)
		if err != nil {
			return nil, err
		}
		pipelines = []server.Pipeline{p}
	}
	all := []display.Change{}
	for _, p := range pipelines {
		changes, err := client.Changes(ctx, p.Name, since)
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			if o.matches(c) {
				all = append(all, display.Change{Pipeline: p.Name, Change: c})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b display.Change) int {
		return cmp.Or(a.Updated.Compare(b.Updated), cmp.Compare(a.Generation, b.Generation))
	})
	if o.limit > 0 && len(all) > o.limit {
		all = all[len(all)-o.limit:]
	}
	return all, nil
}
