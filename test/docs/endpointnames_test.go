package docs_test

import (
	"regexp"
	"slices"
	"strings"
)

var (
	request  = regexp.MustCompile(`^(?:GET|HEAD|POST|PUT|DELETE) (\S+)$`)
	ownPath  = regexp.MustCompile(`^/(?:api|update|sidecar|state|health|live|ready|metrics|ui)(?:[/.?].*)?$`)
	ownURL   = regexp.MustCompile(`https?://[^/\s"'` + "`" + `]+:7778(/[^\s"'` + "`" + `)]*)`)
	ellipsis = "…"
)

// foreignEndpoints are those of Sidecar.
var foreignEndpoints = []string{"/watch", "/services.json"}

// checkEndpoints reports endpoints that the daemon does not have.
func checkEndpoints(v *vocabulary, p *page, report reporter) {
	check := func(line int, path string) {
		if !v.hasEndpoint(path) && !slices.Contains(foreignEndpoints, path) {
			report(line, "there is no endpoint %s", path)
		}
	}
	for _, span := range p.spans {
		if match := request.FindStringSubmatch(span.text); match != nil {
			check(span.line, match[1])
		} else if ownPath.MatchString(span.text) {
			check(span.line, span.text)
		}
	}
	for _, text := range slices.Concat(p.spans, p.code, p.links) {
		for _, match := range ownURL.FindAllStringSubmatch(text.text, -1) {
			check(text.line, match[1])
		}
	}
}

// hasEndpoint reports whether the daemon has the endpoint. An ellipsis at the beginning or at the end stands for any segments,
// and names for what is in braces.
func (v *vocabulary) hasEndpoint(path string) bool {
	path, _, _ = strings.Cut(path, "?")
	if path == "/" || path == "/api/v1" || strings.HasPrefix(path, "/ui/") {
		return true
	}
	return slices.ContainsFunc(v.endpoints, func(endpoint string) bool {
		segments, want := strings.Split(path, "/"), strings.Split(endpoint, "/")
		if segments[0] == ellipsis && len(segments) <= len(want) {
			if strings.HasPrefix(want[len(want)-1], "{") {
				return false // a name alone could be any word
			}
			segments, want = segments[1:], want[len(want)-len(segments)+1:]
		}
		if last := len(segments) - 1; last >= 0 && segments[last] == ellipsis && last <= len(want) {
			segments, want = segments[:last], want[:last]
		}
		return slices.EqualFunc(segments, want, func(segment, want string) bool {
			return segment == want || strings.HasPrefix(want, "{") && segment != ""
		})
	})
}
