package messages

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// sharedName matches the alert with which HAProxy 3.3 and newer reject a frontend and a backend of one name. It is the last
// alert of the check. All versions reject two sections of one kind, and a listen section with either, in similar words.
var sharedName = regexp.MustCompile(`(?:frontend '[^']+' has the same name as backend|` +
	`backend '[^']+' has the same name as frontend) '`)

// sharedNames returns the places of all frontends and backends in the main file that share a name, if alert is about the first of
// them, so that a template that gives one name to both is corrected in one step. The place is that of the second section.
func sharedNames(main stage.File, alert string) []sdk.Position {
	if !sharedName.MatchString(alert) {
		return nil
	}
	type section struct {
		kind string
		line int
	}
	var places []sdk.Position
	first := map[string]section{}
	number := 0
	for line := range strings.Lines(string(main.Content)) {
		number++
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "frontend" && words[0] != "backend" {
			continue
		}
		kind, name := words[0], words[1]
		before, known := first[name]
		if !known {
			first[name] = section{kind, number}
			continue
		}
		if before.kind != kind {
			places = append(places, sdk.Position{File: main.Name, Path: main.Path, Line: number, Problem: fmt.Sprintf(
				"%s '%s' has the same name as %s '%s' in line %d, which HAProxy 3.3 and newer reject: "+
					"rename the frontend, for example to '%s-in'", kind, name, before.kind, name, before.line, name)})
		}
	}
	return places
}
