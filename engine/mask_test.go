package engine_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine"
)

// secretLines have S3CRET in place of every secret.
var secretLines = []string{
	"stats auth admin:S3CRET",
	"stats  auth\tadmin:S3CRET",
	`stats auth admin:"S3CRET S3CRET"`,
	`stats auth "admin:S3CRET S3CRET"`,
	`stats auth admin:S3CRET\ S3CRET`,
	`stats auth 'admin:S3CRET S3CRET'`,
	"user joe password $6$S3CRET/S3CRET.",
	"user joe insecure-password S3CRET groups a,b",
	`user joe insecure-password "S3CRET \"S3CRET" groups a`,
	"insecure-password S3CRET",
	"cluster-secret S3CRET",
	"dynamic-cookie-key S3CRET",
	"bind :443 ssl crt /a ca-sign-file /b ca-sign-pass S3CRET alpn h2",
	"setenv DB_PASSWORD S3CRET",
	`presetenv "API_TOKEN" "S3CRET S3CRET"`,
	`http-request set-header Authorization "Basic S3CRET S3CRET" if x`,
	`http-request set-header Authorization Basic\ S3CRET if x`,
	`http-request add-header X-Api-Key S3CRET`,
	`http-request replace-header Cookie S3CRET S3CRET`,
	`http-check send meth GET uri / hdr Authorization "Bearer S3CRET"`,
	`option httpchk GET / HTTP/1.1\r\nAuthorization:\ Basic\ S3CRET`,
	`acl ok req.hdr(X-Token) -m str S3CRET S3CRET`,
	`acl ok hdr_sub(Authorization) S3CRET`,
	`acl ok req.hdr(X-Auth) -m str S3CRET`,
	`acl ok url_param(token) -m str S3CRET`,
	`http-request deny unless { urlp(api_key) -m str S3CRET }`,
	`acl ok req.cook(session_token) -m str S3CRET`,
	`acl ok req.body_param(password) S3CRET`,
	`acl ok http_auth_bearer -m str S3CRET`,
	`acl ok http_auth_pass(people) -m str S3CRET`,
	`http-request set-header X-Auth S3CRET`,
	`http-request set-header X-Access-Key S3CRET`,
	`proxy_set_header X-Auth-Token "S3CRET";`,
	`http-request set-var(txn.token) str(S3CRET)`,
	`http-request set-var-fmt(txn.api_key) "S3CRET S3CRET"`,
	`set var proc.token str(S3CRET)`,
	`setenv STRIPE_KEY S3CRET`,
	`option httpchk GET / HTTP/1.1\r\nCookie:\ sid=S3CRET`,
	`option httpchk GET / HTTP/1.1\r\nX-Api-Key:\ S3CRET`,
	`option httpchk GET /health?x=1&key=S3CRET`,
	`http-check send meth POST uri / body "pwd=S3CRET"`,
	`tcp-check send AUTH\ S3CRET\r\n`,
	`tcp-check send "AUTH S3CRET\r\n" comment x`,
	`tcp-check send-binary S3CRET`,
	`http-request set-var(txn.x) req.hdr(x),hmac(sha256,S3CRET),hex`,
	`http-request deny unless { var(txn.bearer),jwt_verify(txn.alg,"S3CRET") 1 }`,
	`http-request set-var(txn.x) var(txn.y),aes_gcm_dec(128,S3CRET,S3CRET,txn.tag)`,
	`acl given str(S3CRET),secure_memcmp(txn.token)`,
	"get https://joe:S3CRET@example.com/x failed",
	"get https://S3CRET@example.com/x failed",
	"get https://joe:S3CRET@S3CRET@example.com/x failed",
	"curl --password=S3CRET -H x",
	`update_token = "S3CRET"`,
	"password = S3CRET",
	"get http://a/?api_key=S3CRET",
	`{"client_secret": "S3CRET"}`,
	"the header was Basic YS3CRET0=",
	"the header was bearer eyS3CRET.eyS3CRET.S3CRET",
	"-----BEGIN EC PRIVATE KEY-----\nS3CRET\nS3CRET\n-----END EC PRIVATE KEY-----",
	"-----BEGIN PRIVATE KEY-----\nS3CRET", // truncated
}

// contexts are messages that quote a line.
var contexts = map[string]func(line string) string{
	"alone":   func(line string) string { return line },
	"reason":  func(line string) string { return "userlist a: " + line + " added; option httplog removed" },
	"change":  func(line string) string { return "listen a: " + line + " changed to " + line },
	"alert":   func(line string) string { return "haproxy.cfg:3: '" + line + "' : not allowed here" },
	"quoted":  func(line string) string { return "rejected " + strconv.Quote(line) + ": no" },
	"doubled": func(line string) string { return "because " + strconv.Quote("rejected "+strconv.Quote(line)) },
}

func TestMasked_Secrets(t *testing.T) {
	for _, line := range secretLines {
		for name, wrap := range contexts {
			text := wrap(line)
			if got := engine.Masked(text); strings.Contains(got, "S3CRET") || !strings.Contains(got, engine.Mask) {
				t.Errorf("%s: %s\nbecame %s", name, text, got)
			}
			content, err := json.Marshal(map[string]any{"reason": text, "details": []string{text}})
			if err != nil {
				t.Fatal(err)
			}
			got := engine.MaskedJSON(content)
			if strings.Contains(string(got), "S3CRET") || !json.Valid(got) {
				t.Errorf("%s: %s\nbecame %s", name, content, got)
			}
			line := engine.MaskedLine("level=INFO msg=x reason=" + strconv.Quote(text) + " n=1")
			if strings.Contains(line, "S3CRET") || !strings.HasSuffix(line, `" n=1`) {
				t.Errorf("%s in a log: %s\nbecame %s", name, text, line)
			}
		}
	}
}

// Files of documents may be in YAML, and diffs of them have a mark before each line.
func TestMasked_YAML(t *testing.T) {
	for _, line := range []string{
		"password: S3CRET", "  api_key: 'S3CRET S3CRET'", "- token: S3CRET", "+  client_secret: S3CRET # x",
	} {
		got := engine.Masked("a: b\n" + line + "\nc: d\n")
		if strings.Contains(got, "S3CRET") || !strings.HasSuffix(got, "\nc: d\n") {
			t.Errorf("%s\nbecame %s", line, got)
		}
	}
}

func TestMasked_NoSecrets(t *testing.T) {
	for _, text := range []string{
		"userlist auth added; server auth added", "user haproxy", "backend token: server key added",
		"stats socket /run/haproxy.sock mode 600 level admin", "http-request auth realm Gate unless { http_auth(people) }",
		"tls-ticket-keys /etc/keys", "bind :443 ssl crt /etc/a.pem key /etc/a.key", "option mysql-check user haproxy",
		"environment HAPROXY_API_UPDATE_TOKN is not known: did you mean HAPROXY_API_UPDATE_TOKEN?",
		"haproxy_api.tls_key: /a/b: not the key of the certificate", "basic authentication",
		"missing or wrong token: send it as a bearer token",
		"http://localhost:7777/state.json", "'stats auth' : missing user:password", "haproxy_api.update_token_file names /x",
		"cookie SRV insert indirect", "http-request set-header X-Forwarded-Proto https",
		"http-request set-var(txn.bearer) http_auth_bearer,jwt_header_query('$.alg')", "acl a req.cook(SRV) -m found",
		"http-request set-var(txn.token) req.hdr(x-id)", "haproxy_api.update_token_file: cannot be read",
		"acl a url_param(page) -m str 1", "http-request set-header X-Key-Count 1", "setenv COLOR red",
	} {
		if got := engine.Masked(text); got != text {
			t.Errorf("%s\nbecame %s", text, got)
		}
		if got := engine.MaskedLine("msg=" + strconv.Quote(text)); got != "msg="+strconv.Quote(text) {
			t.Errorf("%s\nbecame %s in a log", text, got)
		}
	}
}

func FuzzMasked(f *testing.F) {
	for _, line := range secretLines {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		masked := engine.Masked(text)
		if again := engine.Masked(masked); len(again) > len(masked)+len(text) {
			t.Errorf("masking %q twice grows: %q", text, again)
		}
		content, err := json.Marshal([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		if got := engine.MaskedJSON(content); !json.Valid(got) {
			t.Errorf("%s became %s", content, got)
		}
	})
}
