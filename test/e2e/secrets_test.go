package e2e_test

import (
	"os/exec"
	"strings"
	"testing"
)

// secretTemplate has passwords in lines of all kinds. HAProxy accepts it with "tcp" and rejects it with anything else.
func secretTemplate(secret, mode string) string {
	return edited(0) + `
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
func TestSecretsAreMaskedOnTheWayOut(t *testing.T) {
	t.Parallel()
	s := newSite(t, `template = "haproxy.tmpl"`)
	s.write("haproxy.tmpl", secretTemplate("S3CRETone", "tcp"))
	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")

	s.write("haproxy.tmpl", secretTemplate("S3CRETtwo", "tcp"))
	s.eventually("a reload because of a password", func() bool {
		last := s.pipeline().Last
		return last != nil && strings.Contains(last.Reason, "***")
	})
	s.write("haproxy.tmpl", secretTemplate("S3CRETthree", "stats auth admin:S3CRETfour"))
	s.eventually("a rejection", func() bool { return s.pipeline().TemplateError != "" })
	s.write("haproxy.tmpl", secretTemplate("S3CRETfive", "tcp")+`{{ fail "no user joe password S3CRETsix" }}`)
	s.eventually("an error of the template", func() bool { return strings.Contains(s.pipeline().TemplateError, "user ***") })

	answer, err := get("http://" + s.api + "/api/v1/pipelines")
	if err != nil {
		t.Fatal(err)
	}
	said := []string{s.log.String(), answer}
	for _, args := range [][]string{{"status"}, {"check", "--live"}} {
		cmd := exec.Command("haproxy-api", append([]string{"-f", "haproxy-api.toml"}, args...)...)
		cmd.Dir = s.folder
		out, _ := cmd.CombinedOutput() // both fail, which is not the matter here
		said = append(said, string(out))
	}
	for _, text := range said {
		if !strings.Contains(text, "***") || strings.Contains(text, "S3CRET") {
			t.Errorf("not masked:\n%s", text)
		}
	}
}
