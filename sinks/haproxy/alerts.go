package haproxy

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// HAProxy tells places only in the text of its alerts. These forms are those of 2.6, 3.0 and 3.2:
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

// closingWords are how HAProxy's alerts end when there were others before: they tell nothing. They are those of 2.6 to 3.4. The
// one of faultLimit names a line, which has no fault.
var closingWords = []string{
	"Error(s) found in configuration file", "Fatal errors found in configuration", "Failed to initialize server(s) addr",
	zeroWarning,
}

const (
	// tooManyFaults is in the alert with which HAProxy stops reading a file that has faultLimit faults.
	tooManyFaults = "too many fatal errors ("
	// zeroWarning begins the alert after warnings that the configuration makes faults.
	zeroWarning = "Some warnings were found and 'zero-warning' is set"
)

func isClosing(alert string) bool {
	return slices.ContainsFunc(closingWords, func(words string) bool { return strings.HasPrefix(alert, words) }) ||
		strings.Contains(alert, "]: "+tooManyFaults)
}

// faultsIn returns HAProxy's alerts, and its warnings where they are what it objects to.
func faultsIn(output string) []string {
	alerts := linesOf("ALERT", output)
	if slices.ContainsFunc(alerts, func(alert string) bool { return strings.HasPrefix(withoutName(alert), zeroWarning) }) {
		return append(linesOf("WARNING", output), alerts...)
	}
	return alerts
}

// withoutName leaves out how HAProxy's check names itself before each text since 2.4.
func withoutName(alert string) string { return strings.TrimPrefix(alert, "config : ") }

// rejected is what becomes of files that a check refused. A check that tells no place is quoted.
func rejected(who string, files []stage.File, o program.Outcome) error {
	places := alertPlaces(files, faultsIn(o.Output))
	if !slices.ContainsFunc(places, func(p sdk.Position) bool { return p.Line > 0 }) {
		return sdk.Rejectf("%s: %s", who, complaint(o))
	}
	return &sdk.Rejection{Err: errors.New(who), Positions: places}
}

// alertPlaces says where in files each alert sees a fault. An alert that tells no place keeps line 0.
func alertPlaces(files []stage.File, alerts []string) []sdk.Position {
	var places []sdk.Position
	lineOf := sync.OnceValue(func() declarations { return declarationsIn(files[0].Content) })
	for _, alert := range alerts {
		alert = withoutName(alert)
		if shared := sharedNames(files[0], alert); len(shared) > 0 {
			places = append(places, shared...)
			continue
		}
		if !isClosing(alert) {
			places = append(places, alertPlace(files, alert, lineOf))
		}
	}
	return places
}

func alertPlace(files []stage.File, alert string, declared func() declarations) sdk.Position {
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

// declarations are the lines at which proxies and their servers are declared.
type declarations map[declaration]int

type declaration struct{ kind, proxy, server string } // the server is empty for the proxy itself

func declarationsIn(config []byte) declarations {
	all := declarations{}
	var inside []declaration // the proxy, by each kind under which HAProxy may name it
	number := 0
	for line := range strings.Lines(string(config)) {
		number++
		words := append(strings.Fields(line), "", "")
		switch isProxy := syntax.StartsProxy(words[0]); {
		case syntax.StartsSection(words[0]):
			inside = nil
			if isProxy {
				inside = declaredBy(words[0], words[1])
			}
			all.add(inside, "", number)
		case words[0] == "server":
			all.add(inside, words[1], number)
		}
	}
	return all
}

// declaredBy names a proxy by its kind and by "proxy", which stands for any. HAProxy calls a listen section either kind.
func declaredBy(kind, name string) []declaration {
	all := []declaration{{kind, name, ""}, {"proxy", name, ""}}
	if kind == "listen" {
		all = append(all, declaration{"frontend", name, ""}, declaration{"backend", name, ""})
	}
	return all
}

func (d declarations) add(proxies []declaration, server string, line int) {
	for _, at := range proxies {
		at.server = server
		if _, known := d[at]; !known {
			d[at] = line
		}
	}
}

// line returns the line at which a proxy's server is declared, or else the proxy; 0 where there is no such proxy. The first one
// of a name is taken.
func (d declarations) line(kind, proxy, server string) int {
	return cmp.Or(d[declaration{kind, proxy, server}], d[declaration{kind, proxy, ""}])
}
