package display

import (
	"regexp"
	"strings"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// showProblems writes every reason why the daemon or a pipeline is not healthy, and what to do about it.
func showProblems(p *terminal.Page, s Status) {
	for _, r := range s.Reasons {
		showReason(p, "", r, detailOf(r, s.Config.ErrorDetail), s.URL)
	}
	for _, pipeline := range s.Pipelines {
		name := ""
		if len(s.Pipelines) > 1 {
			name = oneLine(pipeline.Name) + ": "
		}
		for _, r := range merged(pipeline.Reasons) {
			showReason(p, name, r, reasonDetails(r, pipeline), s.URL)
		}
	}
}

// merged returns reasons that follow each other and have the same kind and action as one reason with all messages.
func merged(reasons []server.Reason) (all []server.Reason) {
	for _, r := range reasons {
		if last := len(all) - 1; last >= 0 && all[last].Kind == r.Kind && all[last].Action == r.Action {
			all[last].Message += "; " + r.Message
			continue
		}
		all = append(all, r)
	}
	return all
}

func showReason(p *terminal.Page, pipeline string, r server.Reason, details []string, url string) {
	p.Line("")
	title := stateIn(p.Palette, r.State, pipeline+kindOf(r))
	if len(details) == 0 {
		p.Hanging("! ", title+": "+oneLine(r.Message))
	} else {
		p.Hanging("! ", title)
		p.Verbatim(2, strings.Join(details, "\n"))
	}
	if r.Action != "" {
		p.Hanging("  "+p.Faint("→ "), oneLine(r.Action))
	}
	if request := requestIn.FindStringSubmatch(r.Action); request != nil {
		p.Line("    curl -X POST " + url + oneLine(request[1]))
	}
}

// requestIn finds the path of a request to the daemon in the text of an action.
var requestIn = regexp.MustCompile(`\bPOST (/api/v1/pipelines/[^/\s]+/[a-z]+)`)

// reasonDetails returns lines that say more than the message of the reason; nil for none.
func reasonDetails(r server.Reason, p server.Pipeline) []string {
	var lines []string
	switch r.Kind {
	case server.ReasonTemplate:
		return detailOf(r, p.TemplateErrorDetail)
	case server.ReasonExcluded:
		for _, e := range p.Excluded {
			lines = append(lines, describe(e.Service, e.Instance, e.Hostname)+": "+oneLine(e.Reason))
		}
		return first(lines, p.ExcludedCount)
	case server.ReasonQuarantined:
		for _, q := range p.Quarantined {
			lines = append(lines, describe(q.Service, q.Instance, q.Hostname)+": "+oneLine(q.Reason))
		}
		return first(lines, p.QuarantinedCount)
	}
	return lines
}

// detailOf returns the lines of a detail that has several, and nil for any other one.
func detailOf(r server.Reason, detail string) []string {
	lines := strings.Split(strings.TrimSpace(engine.Printable(detail)), "\n")
	if len(lines) < 2 || r.Message == "" {
		return nil
	}
	return lines
}
