package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/migrate"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/engine"
)

// checkMigration prints what differs from haproxy-api 0.9 with a configuration file. It returns errReported if something is
// rejected.
func checkMigration(cmd *cobra.Command, opts *options, o checkOptions) error {
	if o.live || opts.flags.Changed("config-file") {
		return &usageError{errors.New("--migrate names the configuration: omit --config-file and --live")}
	}
	if _, err := os.Stat(o.migrate); err != nil {
		return &usageError{fmt.Errorf("cannot read the configuration of haproxy-api 0.9: %w", err)}
	}
	all, faults := states.ReadAll(cmd.Context(), o.states, cmd.InOrStdin())
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	for _, state := range all {
		state.PrintQuarantined(cmd.ErrOrStderr())
	}
	findings, err := migrate.Find(cmd.Context(), o.migrate, os.Environ(), all)
	if err != nil {
		return err
	}
	counts := map[migrate.Severity]int{}
	for i, f := range findings {
		counts[f.Severity]++
		findings[i].What = engine.Masked(f.What)
	}
	if opts.json() {
		err = printJSON(cmd.OutOrStdout(), map[string][]migrate.Finding{"findings": findings})
	} else {
		err = printFindings(cmd, findings, counts)
	}
	if err == nil && counts[migrate.Error] > 0 {
		return errReported
	}
	return err
}

// printFindings prints each finding with the change to make, and their numbers.
func printFindings(cmd *cobra.Command, findings []migrate.Finding, counts map[migrate.Severity]int) error {
	var text strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&text, "%s: %s: %s\n    %s\n", engine.OneLine(f.Place()), f.Severity, engine.OneLine(f.What),
			engine.OneLine(f.Change))
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s%d errors, %d changed, %d notes\n", &text, counts[migrate.Error],
		counts[migrate.Changed], counts[migrate.Note])
	return err
}
