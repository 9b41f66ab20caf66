package config_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestValues(t *testing.T) {
	all := config.Options{
		File: "testdata/general.toml",
		Environ: []string{
			"HAPROXY_API_HAPROXY_API_BIND_PORT=80", "HAPROXY_API_HAPROXY_USER=env",
			"HAPROXY_API_SINKS__EDGE__NESTED__PASSWD=hush",
			"HAPROXY_API_PIPELINES__EDGE__VARS__CLIENT_SECRETS=[1]", "HAPROXY_API_SIDECAR_HOLD=1s",
		},
		Set:   []string{"sidecar.hold=2s", "pipelines.edge.vars.limit=4", "haproxy_api.logging_format=text"},
		Flags: flags(t, "-F", "me:7777", "--log-level=error"),
	}
	// Names of pipelines and sources that look like names of secrets.
	suspicious := config.Options{File: write(t, "names.json", `{
		"sources": {"secret": {"type": "file", "path": "p"}},
		"sinks": {"token": {"type": "file", "path": "", "password": ""}},
		"pipelines": {"password": {"source": "secret", "sink": "token", "vars": {
			"tokens": 3, "x_token": 3, "urls": ["amqp://a:hush@b/c@d"], "list": [{"secret": "hush", "plain": "<&>"}]}}}
	}`)}
	for name, o := range map[string]config.Options{
		"default": {}, "older": {File: "testdata/older.toml"}, "all": all, "names": suspicious,
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, v := range load(t, o).Values() {
				origin := strings.ReplaceAll(v.Origin, suspicious.File, "names.json")
				fmt.Fprintf(&b, "%s = %s # %s\n", v.Key, v.Text(), origin)
			}
			golden := "testdata/values-" + name + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(read(t, golden), b.String()); diff != "" {
				t.Error(diff)
			}
			for _, secret := range []string{"hush", "s3cret"} {
				if strings.Contains(b.String(), secret) {
					t.Errorf("%s is not masked", secret)
				}
			}
		})
	}
}

// The configuration itself contains the secrets.
func TestValues_MaskingDoesNotChangeTheConfiguration(t *testing.T) {
	c := load(t, config.Options{File: "testdata/general.toml"})
	if c.API.UpdateToken != "s3cret" || c.Plugins["nginx"].Env["NGINX_LICENSE"] != "hush" ||
		!strings.Contains(c.Sidecar.StateURL, "me:hush@") {
		t.Errorf("masked: %+v", c)
	}
}

func TestValues_Infinite(t *testing.T) {
	o, _ := inFile(t, "[sources.s]\ntype='file'\nx=inf")
	if got, _ := value(t, load(t, o), "sources.s.x"); got != "+Inf" {
		t.Errorf("x is shown as %s", got)
	}
}
