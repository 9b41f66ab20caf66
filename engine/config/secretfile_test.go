package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

func TestSecretFile_Content(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"trailing newline", "s3cret\n", "s3cret"},
		{"no newline", "s3cret", "s3cret"},
		{"carriage return and newline", "s3cret\r\n", "s3cret"},
		{"byte order mark", "\ufeffs3cret\n", "s3cret"},
		{"two newlines", "s3cret\n\n", "s3cret\n"},
		{"spaces", " s3cret ", " s3cret "},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := write(t, "token", test.content)
			o, _ := inFile(t, "[haproxy_api]\nupdate_token_file = '"+file+"'")
			c := load(t, o)
			if c.API.UpdateToken != test.want || c.API.UpdateTokenFile != file {
				t.Errorf("got %q from %q", c.API.UpdateToken, c.API.UpdateTokenFile)
			}
			if text, origin := value(t, c, "haproxy_api.update_token"); text != `"***"` || origin != "file "+file {
				t.Errorf("shown as %s from %s", text, origin)
			}
			if text, _ := value(t, c, "haproxy_api.update_token_file"); text != `"`+file+`"` {
				t.Errorf("the file is shown as %s", text)
			}
		})
	}
}

func TestSecretFile_StateURL(t *testing.T) {
	file := write(t, "url", "https://me:hush@side/state.json?key=hush\n")
	c := load(t, config.Options{Environ: []string{"HAPROXY_API_SIDECAR_STATE_URL_FILE=" + file}})
	if want := "https://me:hush@side/state.json?key=hush"; c.Sidecar.StateURL != want ||
		c.Sources["sidecar"].Block["state_url"] != want {
		t.Errorf("got %q, and for the source %q", c.Sidecar.StateURL, c.Sources["sidecar"].Block["state_url"])
	}
	if text, origin := value(t, c, "sidecar.state_url"); text != `"***"` || origin != "file "+file {
		t.Errorf("shown as %s from %s", text, origin)
	}
}

func TestSecretFile_Faults(t *testing.T) {
	directory := t.TempDir()
	at := func(name string) string { return filepath.Join(directory, name) }
	for name, content := range map[string]string{
		"token": "s3cret", "empty": "\n", "large": strings.Repeat("s3cret", 20_000), "noise": "s3cret\n",
	} {
		if err := os.WriteFile(at(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	token := "haproxy_api.update_token_file names "
	for _, test := range []struct{ key, file, more, want string }{
		{"update_token_file", "missing", "", token + at("missing") + ", which cannot be read: no such file or directory"},
		{"update_token_file", "", "", token + at("") + ", which is not a regular file"},
		{"update_token_file", "empty", "", token + at("empty") + ", which is empty"},
		{"update_token_file", "large", "", token + at("large") + ", which is larger than 64 KiB"},
		{"update_token_file", "token", "update_token = 's3cret'", "haproxy_api.update_token_file cannot be set together with " +
			"haproxy_api.update_token (haproxy-api.toml); remove one of them"},
		{"state_url_file", "noise", "", "sidecar.state_url_file names " + at("noise") +
			`, which does not contain a URL such as "http://localhost:7777/state.json"`},
		{"state_url_file", "noise", "state_url = ''", "sidecar.state_url_file cannot be set together with " +
			"sidecar.state_url (haproxy-api.toml); remove one of them"},
	} {
		table, _, _ := strings.Cut(test.want, ".")
		o, clean := inFile(t, "["+table+"]\n"+test.key+" = '"+at(test.file)+"'\n"+test.more)
		_, err := config.Load(o)
		if err == nil || clean(err.Error()) != "haproxy-api.toml: "+test.want {
			t.Errorf("got  %v\nwant haproxy-api.toml: %s", err, test.want)
		}
	}
}

func TestSecretFile_SecretAndFileFromTwoPlaces(t *testing.T) {
	file := write(t, "token", "s3cret")
	_, err := config.Load(config.Options{
		Environ: []string{"HAPROXY_API_HAPROXY_API_UPDATE_TOKEN=s3cret"}, Set: []string{"haproxy_api.update_token_file=" + file},
	})
	want := "flag --set: haproxy_api.update_token_file cannot be set together with haproxy_api.update_token " +
		"(environment HAPROXY_API_HAPROXY_API_UPDATE_TOKEN); remove one of them"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestSecretFile_WarnsIfEverybodyCanRead(t *testing.T) {
	file := write(t, "token", "s3cret")
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o640: "", 0o660: "",
		0o644: "flag --set: haproxy_api.update_token_file names " + file +
			", which every user of this machine can read: chmod it to 600",
	} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		c := load(t, config.Options{Set: []string{"haproxy_api.update_token_file=" + file}})
		if got := strings.Join(c.Warnings, "\n"); got != want {
			t.Errorf("%v: got %q, want %q", mode, got, want)
		}
	}
}

// A marker is in every key that can contain a secret, in many forms. Neither values nor faults contain it.
func TestSecrets_AreNotInValuesAndFaults(t *testing.T) {
	const marker = "MARKER"
	plain := `
[haproxy_api]
update_token = "MARKER"
[sidecar]
state_url = "http://me:MARKER@side:7777/state.json?token=MARKER&x=1"
[haproxy]
reload_cmd = "curl --password=MARKER -H 'Authorization: Bearer MARKER' -H 'X-Token: MARKER' 'http://MARKER@host/?api_key=MARKER'"
[sources.cat]
type = "etcd"
password = "MARKER"
endpoints = ["https://me:MARKER@etcd:2379"]
nested = { passwd = "MARKER", deep = { client_secret = ["MARKER"] } }
[sinks.edge]
type = "edge"
api_token = "MARKER"
apiKey = "MARKER"
ssl_key = "MARKER"
passphrase = "MARKER"
credentials = { user = "MARKER" }
secrets = ["MARKER"]
pin_key = 31337
tls_key = "key.pem"
key_file = "key.pem"
token_path = "token"
[plugins.edge]
path = "/opt/edge"
args = ["--token=MARKER", "--level=3"]
env = { LICENSE = "MARKER" }
[pipelines.edge]
source = "cat"
sink = "edge"
vars = { db_password = "MARKER", dsn = "postgres://me:MARKER@db/x" }
`
	o, _ := inFile(t, plain)
	o.Set = []string{"sinks.edge.more=--token=MARKER"}
	var out strings.Builder
	for _, v := range load(t, o).Values() {
		out.WriteString(v.Key + " = " + v.Text() + " # " + v.Origin + "\n")
	}
	for _, want := range []string{
		`sinks.edge.tls_key = "key.pem"`, `sinks.edge.key_file = "key.pem"`, `sinks.edge.token_path = "token"`,
		`plugins.edge.args = ["--token=***","--level=3"]`, `sidecar.state_url = "http://***@side:7777/state.json?token=***&x=1"`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s", want)
		}
	}
	// Faults of secrets.
	for _, broken := range []config.Options{
		{Set: []string{"haproxy_api.update_token MARKER"}},
		{Set: []string{"haproxy_api.update_token=[\"MARKER\"]", "haproxy_api={\"update_token\":\"MARKER\"",
			"plugins.x.env=token=MARKER"}},
		{Environ: []string{"HAPROXY_API_SIDECAR_STATE_URL=ftp://me:MARKER@host"}},
		{Environ: []string{"HAPROXY_API_SIDECAR_STATE_URL=http://me:MARKER@host:port/%zz"}},
		{Environ: []string{"HAPROXY_API_PLUGINS__X__ENV={\"A\":[\"MARKER\"]}"}},
		{Environ: []string{"HAPROXY_API_HAPROXY_API__UPDATE_TOKEN__X=MARKER"}},
		{File: write(t, "a.toml", "[haproxy_api]\nupdate_token = ['MARKER']\n[sidecar]\nstate_url = ['http://a:MARKER@b']")},
		{File: write(t, "a.toml", "[haproxy_api]\nupdate_token = 'MARKER' 'MARKER'")},
		{File: write(t, "a.toml", "[haproxy_api]\nupdate_token = MARKER")},
		{File: write(t, "a.yaml", "haproxy_api:\n  update_token: [MARKER]\n")},
		{File: write(t, "a.yaml", "haproxy_api:\n  update_token: MARKER: MARKER\n")},
		{File: write(t, "a.json", `{"haproxy_api": {"update_token": "MARKER}}`)},
		{Set: []string{"sidecar.state_url_file=" + write(t, "secret", "MARKER")}},
	} {
		_, err := config.Load(broken)
		if err == nil {
			t.Errorf("no fault: %+v", broken)
			continue
		}
		out.WriteString(err.Error() + "\n")
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, marker) || strings.Contains(line, "31337") {
			t.Errorf("a secret is shown: %s", line)
		}
	}
}
