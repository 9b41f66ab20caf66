package haproxy

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
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

// closingWords are how HAProxy's alerts end when there were others before: they tell nothing.
var closingWords = []string{
	"Error(s) found in configuration file", "Fatal errors found in configuration", "Failed to initialize server(s) addr",
}

// rejected is what becomes of files that a check refused. A check that tells no place is quoted.
func rejected(who string, files []stage.File, o program.Outcome) error {
	places := alertPlaces(files, linesOf("ALERT", o.Output))
	if !slices.ContainsFunc(places, func(p sdk.Place) bool { return p.Line > 0 }) {
		return sdk.Rejectf("%s: %s", who, complaint(o))
	}
	return sdk.RejectAt(places, "%s", who)
}

// alertPlaces says where in files each alert sees a fault. An alert that tells no place keeps line 0.
func alertPlaces(files []stage.File, alerts []string) []sdk.Place {
	var places []sdk.Place
	for _, alert := range alerts {
		// HAProxy's check names itself, or "config", before each text since 2.4.
		alert = strings.TrimPrefix(alert, "config : ")
		if shared := sharedNames(files[0], alert); len(shared) > 0 {
			places = append(places, shared...)
			continue
		}
		if !slices.ContainsFunc(closingWords, func(words string) bool { return strings.HasPrefix(alert, words) }) {
			places = append(places, alertPlace(files, alert))
		}
	}
	return places
}

func alertPlace(files []stage.File, alert string) sdk.Place {
	if m := alertLine.FindStringSubmatch(alert); m != nil {
		line, err := strconv.Atoi(m[2])
		for _, f := range files {
			if err == nil && f.Path == m[1] {
				return sdk.Place{File: f.Name, Path: f.Path, Line: line, Problem: m[3]}
			}
		}
	}
	main := files[0]
	place := sdk.Place{File: main.Name, Path: main.Path, Problem: alert}
	if m := alertProxy.FindStringSubmatch(alert); m != nil {
		place.Line = proxyLine(string(main.Content), strings.ToLower(m[1]), m[2], m[3])
	}
	return place
}

// sections are the words with which a section begins, beside those of proxies.
var sections = []string{
	"global", "defaults", "peers", "resolvers", "mailers", "userlist", "cache", "ring", "http-errors", "program", "fcgi-app",
	"log-forward", "crt-store", "traces", "acme",
}

var proxyKinds = []string{"frontend", "backend", "listen"}

// proxyLine returns the line at which a proxy's server is declared, or else the proxy; 0 where there is no such proxy. The
// kind "proxy" stands for any, and the first one of that name is taken then. HAProxy calls a listen section either kind.
func proxyLine(config, kind, proxy, server string) int {
	at, number := 0, 0
	inside := false
	for line := range strings.Lines(config) {
		number++
		words := append(strings.Fields(line), "", "")
		isProxy := slices.Contains(proxyKinds, words[0])
		switch {
		case isProxy || slices.Contains(sections, words[0]):
			inside = isProxy && words[1] == proxy && (kind == "proxy" || words[0] == kind || words[0] == "listen")
			if inside {
				at = cmp.Or(at, number)
			}
		case inside && server != "" && words[0] == "server" && words[1] == server:
			return number
		}
	}
	return at
}
