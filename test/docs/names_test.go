package docs_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// A nameCheck checks names of one kind in a document.
type nameCheck struct {
	name  string
	check func(v *vocabulary, p *page, report func(line int, format string, args ...any))
	wrong []string // documents with one problem each
	right []string // documents without a problem
}

// nameChecks are the checks of every document, each with documents that prove it.
var nameChecks = []nameCheck{
	{
		"links", checkLinks,
		[]string{
			"[a](missing.md)", "[a](docs/api.md#missing)", "[a](#missing)", "[a](https://evil.example/)", "[a](/docs/api.md)",
			`<a href="missing.md">a</a>`, "<https://evil.example/>",
		},
		[]string{"# One\n\n[a](docs/api.md) [b](#one) [c](docs/api.md#status) [d](docs) <https://github.com/NinesStack/sidecar>"},
	},
	{
		"images", checkImages,
		[]string{"![](docs/images/status-light.png)", "![A picture](missing.png)", `<img src="docs/images/status-light.png">`},
		[]string{"![A picture](docs/images/status-light.png)", `<img src="docs/images/status-light.png" alt="A picture">`},
	},
	{
		"headings", checkHeadings,
		[]string{"# One\n\n## Two\n\n## Two\n", "# One\n\n# Two\n", "## One\n", "# One\n\n### Three\n"},
		[]string{"# One\n\n## Two\n\n### Three\n"},
	},
	{
		"commands", checkCommands,
		[]string{
			"`haproxy-api dance`", "`haproxy-api plugin dance`", "`haproxy-api status --dance`", "`haproxy-api check --watch`",
			"`--dance`", "`status --dance`", "```sh\nhaproxy-api dance\n```",
			"```sh\nFOO=1 haproxy-api \\\n  status --dance\n```",
			"```sh\ntrue && sudo ./haproxy-api -f x.toml status -z\n```",
		},
		[]string{
			"`haproxy-api -f x.toml status --watch` `plugin list` `--set a=b` `haproxy-api` `haproxy-api explain [N]`",
			"`ls --dance`",
			"```sh\nsystemctl start haproxy-api\nhaproxy-api -F HOST:7777 | grep --dance x\n```",
		},
	},
	{
		"configuration keys", checkKeys,
		[]string{
			"`[haproxy] relaod_interval`", "`[dance]`", "`haproxy.relaod_interval`",
			"`relaod_interval = \"5s\"`", "`relaod_interval`",
			"`--set haproxy.relaod_interval=5s`", "`sinks.NAME.dance_time`", "`pipelines.edge.dance`",
		},
		[]string{
			"`[haproxy] reload_interval` `[sinks.NAME]` `haproxy.reload_interval` `reload_interval = \"5s\"` `state_dir`",
			"`haproxy.cfg` `[Service]` `[x]` `a = b` `pipelines.edge.vars` `--set haproxy.reload_interval=5s`",
		},
	},
	{
		"metrics", checkMetrics,
		[]string{
			"`haproxy_api_dance`", "`haproxy_api_held{pipeline}_bucket`",
			"```promql\nrate(haproxy_api_dance_total[5m])\n```",
		},
		[]string{
			"`haproxy_api_held{pipeline}` `haproxy_api_apply_seconds_bucket`",
			"`[haproxy_api]` `haproxy_api_…` `haproxy_api.bind_ip`",
		},
	},
	{
		"environment variables", checkEnvironment,
		[]string{
			"`HAPROXY_API_DANCE`", "`HAPROXYAPI_BIND_PORT`", "```sh\nHAPROXY_API_DANCE=1 true\n```",
			"`HAPROXY_API_HAPROXY__DANCE`",
		},
		[]string{
			"`HAPROXY_API_FOLLOW` `HAPROXY_API_SINKS__EDGE__CONFIG_FILE` `HAPROXY_API_`",
			"`TEST_HAPROXY_API_X` `HAPROXY_API_CONFIG_FILE`",
		},
	},
	{
		"endpoints", checkEndpoints,
		[]string{
			"`GET /dance`", "`/api/v1/dance`", "`POST /api/v1/pipelines/NAME/dance`", "`POST …/dance`", "`/api/v1/dance/…`",
			"```sh\ncurl http://localhost:7778/dance\n```",
		},
		[]string{
			"`GET /state` `/api/v1/pipelines/haproxy/release` `POST …/apply` `/api/v1/…` `GET /` `/etc/haproxy`",
			"`/api/v1/events?since=3`",
			"```sh\ncurl http://localhost:7778/api/v1/status\n```",
		},
	},
	{
		"paths of the repository", checkPaths,
		[]string{"`engine/dance.go`", "`docs/dance`", "`scripts/dance`"},
		[]string{"`engine/server/routes.go` `docs/` `engine/*` `/etc/engine` `dance.go` `examples/templates`"},
	},
	{
		"tests", checkTests,
		[]string{"`TestDance`", "`FuzzDance`"},
		[]string{"`TestImportRules` `Testing` `TestThing_Condition`"},
	},
	{
		"make targets", checkTargets,
		[]string{"`make dance`", "```sh\nmake dance\n```"},
		[]string{"`make test`", "```sh\nmake run FOLLOW=x\n```"},
	},
}

// TestNames checks the names in every document.
func TestNames(t *testing.T) {
	t.Parallel()
	v := newVocabulary(t)
	for _, name := range slices.Sorted(maps.Keys(v.pages)) {
		for _, check := range nameChecks {
			for _, found := range v.problems(check, v.pages[name]) {
				t.Errorf("%s: %s", check.name, found)
			}
		}
	}
	for _, name := range v.unreachable("README.md") {
		t.Errorf("no link leads from README.md to %s", name)
	}
}

// TestNames_ChecksFindProblems runs each check with documents that have one problem and none.
func TestNames_ChecksFindProblems(t *testing.T) {
	t.Parallel()
	v := newVocabulary(t)
	for _, check := range nameChecks {
		for want, documents := range [][]string{check.right, check.wrong} {
			for _, document := range documents {
				p, err := parsePage("example.md", []byte(document))
				if err != nil {
					t.Fatal(err)
				}
				if found := v.problems(check, p); len(found) != want {
					t.Errorf("%s: %d problems instead of %d in %q: %v", check.name, len(found), want, document, found)
				}
			}
		}
	}
	v.pages["docs/orphan.md"] = &page{name: "docs/orphan.md"}
	if !slices.Contains(v.unreachable("README.md"), "docs/orphan.md") {
		t.Error("a document without a link to it counts as reachable")
	}
}

func (v *vocabulary) problems(check nameCheck, p *page) []problem {
	var all []problem
	check.check(v, p, func(line int, format string, args ...any) {
		all = append(all, newProblem(p, line, format, args...))
	})
	return all
}

// unreachable returns the documents to which no chain of links leads from start. Templates for issues and pull requests are shown
// by GitHub.
func (v *vocabulary) unreachable(start string) []string {
	reached := map[string]bool{start: true}
	for next := []string{start}; len(next) > 0; next = next[1:] {
		p := v.pages[next[0]]
		for _, link := range p.links {
			target, _ := p.resolve(link.text)
			if v.pages[target] == nil {
				target += "/README.md"
			}
			if v.pages[target] != nil && !reached[target] {
				reached[target] = true
				next = append(next, target)
			}
		}
	}
	var lost []string
	for _, name := range slices.Sorted(maps.Keys(v.pages)) {
		if !reached[name] && !strings.HasPrefix(name, ".github/") {
			lost = append(lost, name)
		}
	}
	return lost
}
