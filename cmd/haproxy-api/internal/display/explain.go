package display

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// Explain shows only the first of these unless it is asked for everything.
	shownCommands  = 8
	shownDiffLines = 40

	barWidth    = 24 // of the whole change, in characters
	fieldIndent = 2
)

// Explain writes everything about a change. full does not shorten the lists.
func Explain(p *terminal.Page, c Change, full bool, now time.Time) {
	p.Line(headline(p, c))
	p.Fields(fieldIndent, explainFields(p, c.Change, now))
	explainSteps(p, c.Steps)
	explainCommands(p, c.Change, full)
	explainList(p, "Details", c.Details)
	explainDiff(p, c, full)
	p.Line("")
	if len(c.Now) > 0 {
		p.Hanging(p.Faint("Now:  "), stateIn(p.Palette, c.Now[0].State, kindsOf(c.Now))+"; see haproxy-api status")
	}
	p.Hanging(p.Faint("Next: "), nextCommand(c))
}

// kindsOf names each kind of reasons once.
func kindsOf(reasons []server.Reason) string {
	var kinds []string
	for _, r := range reasons {
		if kind := kindOf(r); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return strings.Join(kinds, ", ")
}

// headline says what happened to which pipeline.
func headline(p *terminal.Page, c Change) string {
	what := strings.ReplaceAll(oneLine(c.Outcome), "_", " ")
	switch {
	case c.Event != "":
		what = strings.ReplaceAll(whatOf(c.Change), "_", " ")
	case c.Action != "":
		what = oneLine(c.Action) + ", " + what
	}
	return fmt.Sprintf("%s: %s", p.Bold(fmt.Sprintf("Change %d of pipeline %s", c.Generation, oneLine(c.Pipeline))),
		outcomeIn(p.Palette, c.Outcome, what))
}

// outcomes say what each outcome means.
var outcomes = map[string]string{
	history.OutcomeApplied:    "in effect",
	history.OutcomeDeferred:   "not in effect yet: the sink waits",
	history.OutcomeRejected:   "not in effect: the sink rejects the document, and the previous one stays in effect",
	history.OutcomeNotLoaded:  "not in effect: the program did not keep running with it; the previous document is back",
	history.OutcomeFailed:     "not in effect: the sink failed, and the document is tried again",
	history.OutcomeSuperseded: "never in effect: a newer change replaced it",
	history.OutcomeLost:       "no longer in effect",
}

func explainFields(p *terminal.Page, c history.Change, now time.Time) [][2]string {
	fields := [][2]string{
		{"trigger", triggerOf(c.Trigger)},
		{"received", clockAndAge(c.Received, now)},
	}
	add := func(name, value string) {
		if value != "" {
			fields = append(fields, [2]string{name, value})
		}
	}
	for i, line := range c.Instances {
		name := ""
		if i == 0 {
			name = "instances"
		}
		fields = append(fields, [2]string{name, oneLine(line)})
	}
	if c.InstancesMore > 0 {
		fields = append(fields, [2]string{"", fmt.Sprintf("and %s more", plural(c.InstancesMore, "service"))})
	}
	add("action", oneLine(c.Action))
	add("reason", oneLine(c.Reason))
	if c.Event == "" {
		text := cmp.Or(outcomes[c.Outcome], oneLine(c.Outcome))
		switch {
		case c.Outcome == history.OutcomeRejected && isAboutFiles(c):
			text = "not loaded: the sink rejects the files, and those that were loaded before stay in use"
		case c.Outcome == history.OutcomeApplied && c.Action == sdk.ActionUnchanged:
			text = "in effect already"
		case c.Outcome == history.OutcomeApplied:
			text += fmt.Sprintf(" at %s, %s after the trigger", clock(c.Updated, now), took(c.Seconds))
		}
		if c.Attempts > 1 {
			text += fmt.Sprintf(", attempt %d", c.Attempts)
		}
		add("outcome", outcomeIn(p.Palette, c.Outcome, text))
	}
	switch c.Outcome {
	case history.OutcomeDeferred:
		add("waits for", oneLine(c.Error))
	case history.OutcomeSuperseded:
		add("waited for", oneLine(c.Error))
	default:
		add("error", oneLine(c.Error))
	}
	for _, line := range c.Excluded {
		add("excluded", oneLine(line))
	}
	for _, line := range c.Notes {
		add("note", oneLine(line))
	}
	if c.Document != 0 && c.Document != c.Generation {
		add("document", fmt.Sprintf("of change %d", c.Document))
	}
	return fields
}

// isAboutFiles reports whether c loads files that the sink's program reads beside the document.
func isAboutFiles(c history.Change) bool {
	return c.Trigger.Kind == history.TriggerInputs || c.Trigger.Kind == history.TriggerReread
}

// explainSteps writes the steps with bars on a common time scale.
func explainSteps(p *terminal.Page, steps []history.Step) {
	if len(steps) == 0 {
		return
	}
	total := 0.0
	for _, s := range steps {
		total = math.Max(total, s.Start+s.Seconds)
	}
	p.Line("")
	rows := [][]string{{p.Faint("STEP"), "\t" + p.Faint("START"), "\t" + p.Faint("TOOK"), ""}}
	for _, s := range steps {
		rows = append(rows, []string{oneLine(s.Name), "\t" + took(s.Start), "\t" + took(s.Seconds), bar(s, total)})
	}
	for i := range rows {
		rows[i][0] = strings.Repeat(" ", fieldIndent) + rows[i][0]
	}
	p.Table(rows)
}

// bar returns the bar of a step in a change that took total seconds. It is never empty.
func bar(s history.Step, total float64) string {
	if total <= 0 {
		return ""
	}
	start := min(int(s.Start/total*barWidth), barWidth-1)
	end := max(int(math.Round((s.Start+s.Seconds)/total*barWidth)), start+1)
	return strings.Repeat(" ", start) + strings.Repeat("█", end-start)
}

func explainCommands(p *terminal.Page, c history.Change, full bool) {
	if len(c.Commands) == 0 {
		return
	}
	p.Line("")
	all := len(c.Commands) + c.CommandsMore
	shown := c.Commands
	title := fmt.Sprintf("Commands (%d)", all)
	if !full && len(shown) > shownCommands {
		shown = shown[:shownCommands]
		title = fmt.Sprintf("Commands (the first %d of %d; --full shows all)", shownCommands, all)
	} else if c.CommandsMore > 0 {
		title = fmt.Sprintf("Commands (the first %d of %d)", len(shown), all)
	}
	p.Line(title)
	for _, command := range shown {
		p.Hanging("  > ", oneLine(command.Sent))
		if command.Answer != "" {
			p.Hanging("    ", p.Faint(oneLine(command.Answer)))
		}
	}
}

func explainList(p *terminal.Page, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	p.Line("")
	p.Line(title)
	for _, line := range lines {
		p.Hanging("  ", oneLine(line))
	}
}

func explainDiff(p *terminal.Page, c Change, full bool) {
	if c.LinesAdded == 0 && c.LinesRemoved == 0 && c.Diff == "" {
		return
	}
	p.Line("")
	title := fmt.Sprintf("Diff (+%d -%d lines)", c.LinesAdded, c.LinesRemoved)
	lines := strings.SplitAfter(strings.TrimSuffix(engine.Printable(c.Diff), "\n"), "\n")
	switch {
	case c.DiffDropped || c.Diff == "":
		p.Line(title + ": no longer kept")
		return
	case !full && len(lines) > shownDiffLines:
		lines = lines[:shownDiffLines]
		title = fmt.Sprintf("Diff (+%d -%d lines; --full shows all)", c.LinesAdded, c.LinesRemoved)
	case c.DiffTruncated:
		title = fmt.Sprintf("Diff (+%d -%d lines; only the beginning is kept)", c.LinesAdded, c.LinesRemoved)
	}
	p.Line(title)
	p.Verbatim(fieldIndent, string(p.Diff([]byte(strings.Join(lines, "")))))
}

// nextCommand returns the command that answers the next question about the change.
func nextCommand(c Change) string {
	switch {
	case c.Event == sdk.EventCrashed || c.Event == sdk.EventLoadFailed || c.Outcome == history.OutcomeFailed ||
		c.Outcome == history.OutcomeRejected && c.Trigger.Kind != history.TriggerSave:
		return "haproxy-api status: the present state, and what to do"
	case c.Outcome == history.OutcomeDeferred:
		return "haproxy-api status --watch: when it is applied"
	case c.Outcome == history.OutcomeSuperseded:
		return fmt.Sprintf("haproxy-api history --pipeline %s: the change that replaced it", oneLine(c.Pipeline))
	case c.Outcome == history.OutcomeRejected || c.Outcome == history.OutcomeNotLoaded:
		return "haproxy-api check --live: whether the corrected template is accepted"
	case c.IsReload() || c.Event != "":
		return fmt.Sprintf("haproxy-api history --pipeline %s: the changes before and after it", oneLine(c.Pipeline))
	}
	return fmt.Sprintf("haproxy-api explain --reload --pipeline %s: the last reload", oneLine(c.Pipeline))
}
