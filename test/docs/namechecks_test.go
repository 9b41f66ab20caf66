package docs_test

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// knownHosts are the hosts of external links. Links are not followed.
var knownHosts = []string{
	"developer.hashicorp.com", "github.com", "keepachangelog.com", "masterminds.github.io", "opentelemetry.io", "pkg.go.dev",
	"semver.org",
}

func newProblem(p *page, line int, format string, args ...any) problem {
	return problem{p.name, line, fmt.Sprintf(format, args...)}
}

type reporter = func(line int, format string, args ...any)

// checkLinks reports relative links and fragments that lead to nothing, and external links to unknown hosts.
func checkLinks(v *vocabulary, p *page, report reporter) {
	for _, link := range p.links {
		u, err := url.Parse(link.text)
		switch {
		case err != nil:
			report(link.line, "the link %s is not valid: %v", link.text, err)
			continue
		case u.Scheme == "http" || u.Scheme == "https":
			if !slices.Contains(knownHosts, u.Hostname()) {
				report(link.line, "the link %s leads to a host that is not in knownHosts", link.text)
			}
			continue
		case u.Scheme != "" || strings.HasPrefix(link.text, "/"):
			report(link.line, "the link %s is neither relative nor HTTP", link.text)
			continue
		}
		file, fragment := p.resolve(link.text)
		target := v.pages[file]
		if file == p.name {
			target = p
		}
		switch {
		case target == nil && !v.files[file] && file != ".":
			report(link.line, "the link %s leads to nothing", link.text)
		case fragment != "" && (target == nil || !target.anchors()[fragment]):
			report(link.line, "the link %s leads to no heading", link.text)
		}
	}
}

// checkImages reports images that do not exist or have no alternative text.
func checkImages(v *vocabulary, p *page, report reporter) {
	for _, image := range p.images {
		if file, _ := p.resolve(image.source); !v.files[file] {
			report(image.line, "the image %s does not exist", image.source)
		} else if strings.TrimSpace(image.alt) == "" {
			report(image.line, "the image %s has no alternative text", image.source)
		}
	}
}

// repeatsHeadings has the headings "Added" and "Fixed" for each release.
const repeatsHeadings = "CHANGELOG.md"

// checkHeadings reports headings that a document has twice, and levels that are left out. A document has one title.
func checkHeadings(_ *vocabulary, p *page, report reporter) {
	seen := map[string]bool{}
	before := 0
	for i, heading := range p.headings {
		name := anchor(heading.text)
		if seen[name] && p.name != repeatsHeadings {
			report(heading.line, "the heading %q is repeated", heading.text)
		}
		seen[name] = true
		level := heading.level
		switch {
		case i > 0 && level == 1:
			report(heading.line, "%q is a second title", heading.text)
		case level > before+1:
			report(heading.line, "the heading %q has level %d after level %d", heading.text, level, before)
		}
		before = level
	}
}

var metricWord = regexp.MustCompile(`haproxy_api_[a-z_]*[a-z](?:\{[^}]*\}(?:_[a-z]+)?)?`)

// checkMetrics reports names of metrics that the daemon does not have.
func checkMetrics(v *vocabulary, p *page, report reporter) {
	for _, text := range slices.Concat(p.spans, p.code) {
		for _, name := range metricWord.FindAllString(text.text, -1) {
			bare, _, _ := strings.Cut(name, "{")
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base := strings.TrimSuffix(bare, suffix); v.metrics[base] && strings.HasSuffix(base, "_seconds") {
					bare = base
				}
			}
			if !v.metrics[bare] || strings.Contains(name, "}_") {
				report(text.line, "there is no metric %s", name)
			}
		}
	}
}

var variableName = regexp.MustCompile(`(?:^|[^A-Z0-9_])(HAPROXY_?API_[A-Z0-9_]*[A-Z0-9])`)

// checkEnvironment reports environment variables that haproxy-api does not accept.
func checkEnvironment(_ *vocabulary, p *page, report reporter) {
	for _, text := range slices.Concat(p.spans, p.code) {
		for _, match := range variableName.FindAllStringSubmatch(text.text, -1) {
			_, err := config.Load(config.Options{Environ: []string{match[1] + "=x"}})
			if err != nil && strings.Contains(err.Error(), "is not a known") && !injected[match[1]] {
				report(text.line, "%v", err)
			}
		}
	}
}

// injected are variables that Kubernetes and Docker set, and that are ignored only with the values that those set.
var injected = map[string]bool{"HAPROXY_API_PORT": true, "HAPROXY_API_NAME": true}

var testName = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)[A-Z]\w*$`)

// checkTests reports names of tests that do not exist.
func checkTests(v *vocabulary, p *page, report reporter) {
	for _, span := range p.spans {
		isPattern := span.text == "TestThing_Condition" || span.text == "TestThingDoesX"
		if testName.MatchString(span.text) && !isPattern && !v.tests[span.text] {
			report(span.line, "there is no test %s", span.text)
		}
	}
}

var makeCommand = regexp.MustCompile(`(?m)^(?:\$ )?make ([a-z][a-z0-9-]*)`)

// checkTargets reports targets that the Makefile does not have.
func checkTargets(v *vocabulary, p *page, report reporter) {
	for _, text := range slices.Concat(p.spans, p.code) {
		for _, match := range makeCommand.FindAllStringSubmatch(text.text, -1) {
			if !v.targets[match[1]] {
				report(text.line, "the Makefile has no target %s", match[1])
			}
		}
	}
}

var repositoryPath = regexp.MustCompile(`^[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*/?$`)

// checkPaths reports paths that begin with a directory of the repository and do not exist.
func checkPaths(v *vocabulary, p *page, report reporter) {
	for _, span := range p.spans {
		first, rest, found := strings.Cut(span.text, "/")
		if !found || !repositoryPath.MatchString(span.text) || !v.files[first] || strings.Contains(span.text, "NAME") {
			continue
		}
		if file := path.Clean(span.text); rest != "" && !v.files[file] && !v.files[path.Join(path.Dir(p.name), file)] {
			report(span.line, "the repository has no %s", span.text)
		}
	}
}
