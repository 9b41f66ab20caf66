package e2e_test

import (
	"os/exec"
	"strings"
	"testing"
)

// secretTemplate has passwords in lines of all kinds. HAProxy accepts it with "tcp" and rejects it with anything else.
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

// Nothing that quotes lines of a configuration quotes the passwords in them: not reasons of reloads, not rejections by HAProxy,
// not errors of templates, in the log, over HTTP and in what commands print.
func TestSecrets_MaskedInHAProxyLines(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", secretTemplate("S3CRETone", "tcp"))
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")

	env.write("haproxy.tmpl", secretTemplate("S3CRETtwo", "tcp"))
	env.eventually("a reload because of a password", func() bool {
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
		cmd := exec.Command("haproxy-api", append([]string{"-f", "haproxy-api.toml"}, args...)...)
		cmd.Dir = env.folder
		out, _ := cmd.CombinedOutput() // both fail, which is not the matter here
		said = append(said, string(out))
	}
	for _, text := range said {
		if !strings.Contains(text, "***") || strings.Contains(text, "S3CRET") {
			t.Errorf("not masked:\n%s", text)
		}
	}
}
