package haproxy

import (
	"errors"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// faulty are mistakes of templates and catalogues. Each "(n)" ends a line at which HAProxy must report a fault, whose text is
// wanted beside it.
var faulty = []struct {
	name, config string
	want         []string
}{
	{"unknown keyword", "backend b\n bogus (1)\n", []string{"unknown keyword 'bogus' in 'backend' section"}},
	{"bad address", "backend b\n server a not an ip!:80 (1)\n", []string{"unknown keyword 'an'"}},
	{"bad ports", "backend b\n server a 127.0.0.1:99999 (1)\n server c 127.0.0.1:x (2)\n", []string{
		"invalid port '99999'", "invalid character 'x' in port number 'x'",
	}},
	{"one server twice", "backend b\n server a 127.0.0.1:1\n server a 127.0.0.1:2 (1)\n", []string{"another server named 'a'"}},
	{"one backend twice", "backend b\n server a 127.0.0.1:1\nbackend b (1)\n server a 127.0.0.1:2\n", []string{
		"has the same name as backend 'b'",
	}},
	{"no such backend", "backend b\n server a 127.0.0.1:1\nfrontend f (1)\n bind 127.0.0.1:1\n default_backend nope\n", []string{
		"unable to find required default_backend: 'nope'",
	}},
	{"bad mode", "backend b\n mode bogus (1)\n", []string{"unknown proxy mode 'bogus'"}},
	{"no certificate", "frontend f\n bind 127.0.0.1:1 ssl crt /nope.pem (1)\n", []string{"unable to stat SSL certificate"}},
	{"bad name of a backend", "backend b!x (1)\n server a 127.0.0.1:1\n", []string{"character '!' is not permitted"}},
	{"bad name of a server", "backend b\n server a!x 127.0.0.1:1 (1)\n", []string{"character '!' is not permitted"}},
	{"no resolvers", "backend c\n server a 127.0.0.1:1\nbackend b\n server a x.example:1 resolvers nope (1)\n", []string{
		"unable to find required resolvers 'nope'",
	}},
	{"nothing to check", "backend b\n server a 127.0.0.1 check (1)\n", []string{"neither service port nor check port"}},
	{"no application", "backend b (1)\n use-fcgi-app nope\n server a 127.0.0.1:1\n", []string{"fcgi-app 'nope' not found", ""}},
	{"unmatched quote", "backend b\n server a \"127.0.0.1:80 (1)\n", []string{"unmatched quote"}},
	{"bad address to listen on", "frontend f\n bind 999.1.1.1:1 (1)\n", []string{"invalid address: '999.1.1.1'"}},
}

// plain returns config without the marks, and the line of each mark.
func plain(config string) (string, []int) {
	var lines []int
	text := strings.Split(config, "\n")
	for i, line := range text {
		if start := strings.Index(line, " ("); start >= 0 && strings.HasSuffix(line, ")") {
			text[i] = line[:start]
			lines = append(lines, i+1)
		}
	}
	return strings.Join(text, "\n"), lines
}

func TestCheck_PositionsOfFaults(t *testing.T) {
	t.Parallel()
	const head = "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
	for _, test := range faulty {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			config, lines := plain(head + test.config)
			for _, verify := range []string{"", r.cfg.Binary + " -c -f " + r.cfg.ConfigFile} {
				r.cfg.VerifyCmd = verify
				rejection := r.rejection(documentOf(config))
				if len(rejection.Positions) != len(test.want) {
					t.Fatalf("%d positions, want %d: %v", len(rejection.Positions), len(test.want), rejection)
				}
				for i, got := range rejection.Positions {
					wanted := lines[min(i, len(lines)-1)]
					if got.File != "main" || got.Path != r.cfg.ConfigFile || got.Line != wanted ||
						!strings.Contains(got.Problem, test.want[i]) {
						t.Errorf("got %+v, want line %d and %q", got, wanted, test.want[i])
					}
				}
				if strings.Contains(rejection.Error(), "/.haproxy") {
					t.Errorf("the error shows a temporary name: %v", rejection)
				}
			}
		})
	}
}

func (r *testEnv) rejection(doc sdk.Document) *sdk.Rejection {
	r.t.Helper()
	err := r.sink().Check(r.t.Context(), doc)
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok {
		r.t.Fatalf("no rejection: %v", err)
	}
	return rejection
}

// During a check, a companion has a temporary name, and so has the main file that refers to it.
func TestCheck_PositionBesideACompanion(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	doc := r.document("x", "backend other", " bogus", " http-request deny if { path -f "+r.path("paths.lst")+" }")
	doc.Files = append(doc.Files, sdk.File{Name: "paths.lst", Content: []byte("/a\n")})
	rejection := r.rejection(doc)
	want := sdk.Position{
		File: "main", Path: r.cfg.ConfigFile, Line: 15, Problem: "unknown keyword 'bogus' in 'backend' section",
	}
	if len(rejection.Positions) != 1 || rejection.Positions[0] != want {
		t.Errorf("got %+v, want %+v", rejection.Positions, want)
	}
}
