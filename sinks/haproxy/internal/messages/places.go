package messages

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// HAProxy reports the place of a fault only in the text of its alerts. These are the forms of 2.6, 3.0 and 3.2:
//
//	parsing [/etc/haproxy/haproxy.cfg:17] : unknown keyword 'bogus' in 'backend' section
//	Parsing [/etc/haproxy/haproxy.cfg:11]: frontend 'f' has the same name as …
//	[/etc/haproxy/haproxy.cfg:9] : 'server web-80/a' : invalid port '99999'
//	Proxy 'f': unable to find required default_backend: 'nope'.
//	proxy 'b' : fcgi-app 'nope' not found.
//	backend 'b', server 'a': unable to find required resolvers 'nope'
//	config: backend 'b': server 'a' has neither service port nor check port.
var (
	alertLine  = regexp.MustCompile(`^(?:[Pp]arsing )?\[([^\]]+):(\d+)\] ?: ?(.*)$`)
	alertProxy = regexp.MustCompile(`(?i)^(?:config: )?(proxy|frontend|backend|listen) '([^']+)'(?: ?[:,] server '([^']+)')?`)
)

// closings are the beginnings of alerts that only end a check which had other alerts before, in 2.6 to 3.4.
var closings = []string{
	"Error(s) found in configuration file", "Fatal errors found in configuration", "Failed to initialize server(s) addr",
	zeroWarning,
}

const (
	// faultLimitReached is in the alert with which HAProxy stops reading a file that has [FaultLimit] faults. The alert names a
	// line, which has no fault of its own.
	faultLimitReached = "too many fatal errors ("
	// zeroWarning begins the alert that makes the warnings before it faults.
	zeroWarning = "Some warnings were found and 'zero-warning' is set"
)

// FaultLimit is the number of faults, at most one for each line, after which HAProxy stops reading a file. It still reads the
// files after it.
const FaultLimit = 50

// FaultLimitReached reports whether HAProxy stopped reading a file because of [FaultLimit], so that its output lacks faults.
func FaultLimitReached(output string) bool { return strings.Contains(output, faultLimitReached) }

func isClosing(alert string) bool {
	return slices.ContainsFunc(closings, func(start string) bool { return strings.HasPrefix(alert, start) }) ||
		strings.Contains(alert, "]: "+faultLimitReached)
}

// Faults returns the alerts in the output of a check, and its warnings where the configuration forbids warnings.
func Faults(output string) []string {
	alerts := Alerts(output)
	if slices.ContainsFunc(alerts, func(alert string) bool { return strings.HasPrefix(withoutPrefix(alert), zeroWarning) }) {
		return append(Warnings(output), alerts...)
	}
	return alerts
}

// withoutPrefix removes the prefix that HAProxy's check puts before each text since 2.4.
func withoutPrefix(alert string) string { return strings.TrimPrefix(alert, "config : ") }

// Rejection returns the rejection of files by a check with that output. It has the places of the faults or, if the output
// names none, quotes the output.
func Rejection(reason string, files []stage.File, o program.Outcome) error {
	places := Places(files, Faults(o.Output))
	if !slices.ContainsFunc(places, func(p sdk.Position) bool { return p.Line > 0 }) {
		return sdk.Rejectf("%s: %s", reason, Summary(o))
	}
	return &sdk.Rejection{Err: errors.New(reason), Positions: places}
}

// Places returns the place in files of the fault that each alert reports. Line is 0 if an alert names none. The first file
// is the main one.
func Places(files []stage.File, alerts []string) []sdk.Position {
	var places []sdk.Position
	declared := sync.OnceValue(func() declarations { return findDeclarations(files[0].Content) })
	for _, alert := range alerts {
		alert = withoutPrefix(alert)
		if shared := sharedNames(files[0], alert); len(shared) > 0 {
			places = append(places, shared...)
			continue
		}
		if !isClosing(alert) {
			places = append(places, placeOf(files, alert, declared))
		}
	}
	return places
}

func placeOf(files []stage.File, alert string, declared func() declarations) sdk.Position {
	if m := alertLine.FindStringSubmatch(alert); m != nil {
		line, err := strconv.Atoi(m[2])
		for _, f := range files {
			if err == nil && f.Path == m[1] {
				return sdk.Position{File: f.Name, Path: f.Path, Line: line, Problem: m[3]}
			}
		}
	}
	main := files[0]
	place := sdk.Position{File: main.Name, Path: main.Path, Problem: alert}
	if m := alertProxy.FindStringSubmatch(alert); m != nil {
		place.Line = declared().line(strings.ToLower(m[1]), m[2], m[3])
	}
	return place
}
