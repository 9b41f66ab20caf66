package e2e_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// pipeline returns the status of the pipeline haproxy from the API, or the zero value if there is no answer.
func (env *testEnv) pipeline() server.Pipeline {
	resp, err := http.Get("http://" + env.apiAddress + "/api/v1/pipelines/haproxy")
	if err != nil {
		return server.Pipeline{}
	}
	defer resp.Body.Close()
	var p server.Pipeline
	if json.NewDecoder(resp.Body).Decode(&p) != nil || resp.StatusCode != http.StatusOK {
		return server.Pipeline{}
	}
	return p
}

// fact returns a number from the facts about HAProxy in the status. It waits while HAProxy is too slow to report them.
func (env *testEnv) fact(fact string) int {
	env.t.Helper()
	value := ""
	env.eventually("the status has the fact "+fact, func() bool { value = env.pipeline().Facts[fact]; return value != "" })
	n, err := strconv.Atoi(value)
	if err != nil {
		env.t.Fatalf("%s: %v", fact, err)
	}
	return n
}

// expectedDocument renders the snapshot of the Sidecar as the daemon has to. Its digest equals the daemon's only with a template
// that does not render the time.
func (env *testEnv) expectedDocument() sdk.File {
	env.t.Helper()
	if env.template == nil {
		env.template = env.loadTemplate()
	}
	snap, _ := engine.Quarantine(env.sidecar.Snapshot())
	files, _, err := env.template.Render(env.t.Context(), snap)
	if err != nil {
		env.t.Fatal(err)
	}
	return files[0]
}

func (env *testEnv) loadTemplate() engine.Template {
	env.t.Helper()
	cfg, err := config.Load(config.Options{File: env.path("haproxy-api.toml"), Named: true})
	if err != nil {
		env.t.Fatal(err)
	}
	p := cfg.Pipelines["haproxy"]
	set := templates.Config{
		Path: p.Template, Files: p.Files, Partials: p.Partials, Vars: p.Vars,
		BindIP: p.BindIP, UseHostnames: p.UseHostnames, User: p.User, Group: p.Group,
	}
	if p.Template != "" && !filepath.IsAbs(p.Template) {
		set.Path = env.path(p.Template)
	}
	template, err := templates.New(set).Load()
	if err != nil {
		env.t.Fatal(err)
	}
	return template
}

// waitApplied waits until the document for the current snapshot of the Sidecar is applied, and returns it.
func (env *testEnv) waitApplied() string {
	env.t.Helper()
	want := env.expectedDocument()
	digest := sdk.DigestOf([]sdk.File{want})
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); {
		next := env.log.next() // the daemon logs each change
		if env.pipeline().Digest == digest {
			return string(want.Content)
		}
		select {
		case <-next:
		case <-time.After(100 * time.Millisecond):
		}
	}
	env.t.Fatalf("the snapshot of the Sidecar is not applied; the pipeline is %+v", env.pipeline())
	return ""
}

// waitInSync waits until the file equals the document for the current snapshot, and fails the test if HAProxy does not run its
// servers.
func (env *testEnv) waitInSync() {
	env.t.Helper()
	want := env.waitApplied()
	env.eventually("the file is persisted", func() bool { return env.read(env.config) == want })
	env.wantServers(want)
}

// waitPipeline waits until the status of the pipeline fulfils the condition, and returns it.
func (env *testEnv) waitPipeline(what string, is func(server.Pipeline) bool) server.Pipeline {
	env.t.Helper()
	var p server.Pipeline
	env.eventually(what, func() bool {
		if env.apiAnswers() {
			p = env.pipeline()
		}
		return is(p)
	})
	return p
}

// waitGenerationApplied waits until the last document is applied.
func (env *testEnv) waitGenerationApplied() server.Pipeline {
	env.t.Helper()
	return env.waitPipeline("applied", func(p server.Pipeline) bool {
		return p.Generation > 0 && p.InSync
	})
}

func (env *testEnv) apiAnswers() bool {
	_, err := get("http://" + env.apiAddress + "/live")
	return err == nil
}

// post sends a POST without a body and returns the status code of the answer.
func (env *testEnv) post(path string) int {
	env.t.Helper()
	resp, err := http.Post("http://"+env.apiAddress+path, "", nil)
	if err != nil {
		env.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// output returns the standard output and error of a subcommand, whatever its exit code is.
func (env *testEnv) output(args ...string) string {
	out, _ := env.command(args...).CombinedOutput()
	return string(out)
}

// subcommandOutput returns the standard output of a subcommand, which has to succeed.
func (env *testEnv) subcommandOutput(args ...string) string {
	env.t.Helper()
	out, err := env.command(args...).Output()
	if err != nil {
		env.t.Fatal(err)
	}
	return string(out)
}

func (env *testEnv) reloads() int { return env.fact("reloads") }

// metric returns the line of /metrics that starts with name, or an empty string.
func (env *testEnv) metric(name string) string {
	body, err := get("http://" + env.apiAddress + "/metrics")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, name) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
