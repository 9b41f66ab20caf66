package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// Every secret of the daemon contains a marker, which no output may contain.
func TestSecrets_NotDisclosed(t *testing.T) {
	t.Parallel()
	const marker = "marker"
	env := newTestEnv(t)
	env.write("url", "http://marker:marker@127.0.0.1:1/state.json?key=marker\n")
	env.env = append(os.Environ(), "HAPROXY_API_HAPROXY_API_UPDATE_TOKEN="+testToken)
	env.write("haproxy-api.toml", strings.Replace(env.read("haproxy-api.toml"), "state_url =", "state_url_file = \"url\" #", 1)+`
[plugins.other]
path = "other"
args = ["--password=marker"]
env = { LICENSE = "marker" }
`)
	env.start("--log-level", "debug")
	env.waitLogged("127.0.0.1:1/state.json") // which cannot be fetched
	said := map[string]string{}
	for _, request := range []struct{ method, path, authorization string }{
		{"GET", "/api/v1/status", ""}, {"GET", "/api/v1/pipelines/haproxy/generations", ""},
		{"GET", "/api/v1/pipelines", ""}, {"GET", "/metrics", ""}, {"GET", "/health", ""}, {"GET", "/ready", ""},
		{"GET", "/state", ""},
		{"POST", "/update", "Bearer marker"}, {"POST", "/update", "Bearer " + testToken}, {"POST", "/update", "Basic marker"},
	} {
		r, err := http.NewRequest(request.method, "http://"+env.apiAddress+request.path, strings.NewReader(`{"State":`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", request.authorization)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		said[request.method+request.path+request.authorization] = fmt.Sprint(resp.Status, resp.Header, string(body))
	}
	for _, command := range [][]string{{"config"}, {"status"}, {"check"}, {"check", "--live"}, {"diff"}, {"plugin", "list"},
		{"check", "--state", "http://marker:marker@127.0.0.1:1/?token=marker"},
		{"render", "--state", "http://marker:marker@127.0.0.1:1/%zz"},
		{"config", "--set", "sidecar.state_url=ftp://me:marker@host"},
		{"config", "--set", "haproxy_api.update_token_file=url"},
		{"config", "--set", "plugins.other.env=marker"},
	} {
		said[strings.Join(command[:1], " ")+" …"+fmt.Sprint(len(said))] = env.output(command...)
	}
	env.eventually("the plugin runs", func() bool { return env.pluginPID() != 0 })
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", env.pluginPID()))
	if err != nil || len(environ) == 0 {
		t.Errorf("the plugin's environment: %v", err)
	}
	said["the plugin's environment"], said["log"] = string(environ), env.log.String()
	for where, text := range said {
		if text == "" {
			t.Errorf("%s says nothing", where)
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, marker) {
				t.Errorf("%s has a secret: %s", where, line)
			}
		}
	}
}

// secretTemplate has passwords in many kinds of lines. HAProxy accepts it with mode "tcp" and rejects other modes.
func secretTemplate(secret, mode string) string {
	return templateRevision(0) + `
userlist people
  user joe insecure-password ` + secret + `
listen stats
  bind {{ bindIP }}:8099
  mode http
  stats enable
  stats auth admin:` + secret + `
  http-request set-header Authorization "Basic ` + secret + `"
listen checked
  bind {{ bindIP }}:8098
  mode ` + mode + `
  option tcp-check
  tcp-check send AUTH\ ` + secret + `\r\n
`
}

// Passwords are masked wherever lines of the configuration are quoted: in reasons of reloads, rejections and template errors, in
// the log, the API and the output of commands.
func TestSecrets_MaskedInHAProxyLines(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", secretTemplate("S3CRETone", "tcp"))
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")

	env.write("haproxy.tmpl", secretTemplate("S3CRETtwo", "tcp"))
	env.eventually("a reload because of a changed password", func() bool {
		last := env.pipeline().Last
		return last != nil && strings.Contains(last.Reason, "***")
	})
	env.write("haproxy.tmpl", secretTemplate("S3CRETthree", "stats auth admin:S3CRETfour"))
	env.eventually("a rejection", func() bool { return env.pipeline().TemplateError != "" })
	env.write("haproxy.tmpl", secretTemplate("S3CRETfive", "tcp")+`{{ fail "no user joe password S3CRETsix" }}`)
	env.eventually("an error of the template", func() bool { return strings.Contains(env.pipeline().TemplateError, "user ***") })

	answer, err := get("http://" + env.apiAddress + "/api/v1/pipelines")
	if err != nil {
		t.Fatal(err)
	}
	said := []string{env.log.String(), answer}
	for _, args := range [][]string{{"status"}, {"check", "--live"}} {
		said = append(said, env.output(args...)) // both commands fail
	}
	for _, text := range said {
		if !strings.Contains(text, "***") || strings.Contains(text, "S3CRET") {
			t.Errorf("not masked:\n%s", text)
		}
	}
}
