package haproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// reread calls Reread and checks the action.
func (r *testEnv) reread(s *Sink, watched sdk.Watched, action string) sdk.Result {
	r.t.Helper()
	result, err := s.Reread(r.t.Context(), watched)
	check(r.t, err)
	if result.Action != action {
		r.t.Fatalf("Reread did %q (%s), want %q", result.Action, result.Reason, action)
	}
	return result
}

// unwatched is a request without watched files.
var unwatched = sdk.Watched{}

// write writes a file in the directory of the test, with its parent directories, and returns its path.
func (r *testEnv) write(name, content string) string {
	r.t.Helper()
	check(r.t, os.MkdirAll(filepath.Dir(r.path(name)), 0o755))
	check(r.t, os.WriteFile(r.path(name), []byte(content), 0o644))
	return r.path(name)
}

// A besideCase is a configuration that reads a file.
type besideCase struct {
	name          string
	lines         string // DIR stands for the directory, PORT for a port
	file          string // the one that changes
	before, after string
	others        map[string]string
}

func besideCases(t *testing.T) []besideCase {
	one, two := string(certificate(t)), string(certificate(t))
	const page = "HTTP/1.0 503 Unavailable\r\nContent-Type: text/plain\r\n\r\n"
	const front = "frontend beside\n bind 127.0.0.1:PORT\n"
	const tlsFront = "frontend beside\n bind 127.0.0.1:PORT ssl "
	list := map[string]string{"list": "# certificates\nDIR/a.pem [alpn h2] x.example\n"}
	a := map[string]string{"a.pem": one}
	aInDirectory := map[string]string{"certs/a.pem": one}
	pages := "http-errors pages\n errorfile 503 DIR/503.http\n" + front + " errorfiles pages"
	module := "global\n lua-prepend-path DIR/?.lua\n lua-load DIR/a.lua"
	variable := "global\n setenv PAGES DIR/pages\n" + front + ` errorfile 503 "${PAGES}/503.http"`
	authority := tlsFront + "crt DIR/a.pem ca-file DIR/ca.pem verify optional"
	serverAuthority := "backend other\n server s 127.0.0.1:1 ssl verify required ca-file DIR/ca.pem"
	answer := front + ` http-request return status 200 content-type text/plain file DIR/answer if TRUE`
	anonymous, named := " http-request deny if { src -f DIR/nets }", " acl nets src -f DIR/nets\n http-request deny if nets"
	quoted := front + ` http-request set-header X "%[path,map_beg('DIR/hosts.map')]"`
	return []besideCase{
		{"certificate", tlsFront + "crt DIR/a.pem", "a.pem", one, two, nil},
		{"relative to crt-base", "global\n crt-base DIR\n" + tlsFront + "crt a.pem", "a.pem", one, two, nil},
		{"directory of certificates", tlsFront + "crt DIR/certs", "certs/b.pem", one, two, aInDirectory},
		{"certificate that comes to a directory", tlsFront + "crt DIR/certs", "certs/b.pem", "", two, aInDirectory},
		{"certificate list", tlsFront + "crt-list DIR/list", "list", "DIR/a.pem\n", "DIR/a.pem x.example\n", a},
		{"listed certificate", tlsFront + "crt-list DIR/list", "a.pem", one, two, list},
		{"authority", authority, "ca.pem", one, two, a},
		{"server's authority", serverAuthority, "ca.pem", one, two, nil},
		{"map", front + ` use_backend %[req.hdr(host),lower,map(DIR/hosts.map,app)]`, "hosts.map", "a app\n", "b app\n", nil},
		{"quoted map", quoted, "hosts.map", "a b\n", "b b\n", nil},
		{"patterns", front + anonymous, "nets", "10.0.0.0/8\n", "10.1.0.0/16\n", nil},
		{"named patterns", front + named, "nets", "10.0.0.0/8\n", "10.1.0.0/16\n", nil},
		{"error page", front + " errorfile 503 DIR/503.http", "503.http", page + "a", page + "b", nil},
		{"error page in a section", pages, "503.http", page + "a", page + "b", nil},
		{"answer", answer, "answer", "a", "b", nil},
		{"Lua", "global\n lua-load DIR/a.lua", "a.lua", "local a = 1\n", "local a = 2\n", nil},
		{"Lua module", module, "m.lua", "return 1\n", "return 2\n", map[string]string{"a.lua": "local m = require('m')\n"}},
		{"path with a variable", variable, "pages/503.http", page + "a", page + "b", nil},
	}
}

// A changed file is loaded only on request and once. The same content is no change.
func TestReread_LoadsAChangedFileOnce(t *testing.T) {
	t.Parallel()
	for _, c := range besideCases(t) {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			r := newTestEnv(t)
			fill := strings.NewReplacer("DIR", r.dir, "PORT", fmt.Sprint(freePort(t))).Replace
			for name, content := range c.others {
				r.write(name, fill(content))
			}
			if c.before != "" {
				r.write(c.file, fill(c.before))
			}
			s := r.sink()
			doc := r.document("one", fill(c.lines))
			r.apply(s, doc, sdk.ActionRestart)
			r.reread(s, unwatched, sdk.ActionUnchanged)

			r.write(c.file, fill(c.after))
			r.apply(s, doc, sdk.ActionUnchanged)
			result := r.reread(s, unwatched, sdk.ActionReload)
			if !strings.Contains(result.Reason, r.path(c.file)) {
				t.Errorf("the reason %q does not name %s", result.Reason, r.path(c.file))
			}
			r.reread(s, unwatched, sdk.ActionUnchanged)

			check(t, os.Remove(r.path(c.file)))
			r.write(c.file, fill(c.after))
			r.reread(s, unwatched, sdk.ActionUnchanged)
		})
	}
}

// A rendered certificate list is part of the document; the certificates that it lists are not.
func TestReread_CertificatesOfARenderedList(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	path := r.write("site.pem", string(certificate(t)))
	s := r.sink()
	main := r.document("one", fmt.Sprintf("frontend beside\n bind 127.0.0.1:%d ssl crt-list %s", freePort(t), r.path("list")))
	doc := documentOf(string(main.Files[0].Content), sdk.File{Name: "list", Content: []byte(path + "\n")})
	r.apply(s, doc, sdk.ActionRestart)
	r.reread(s, unwatched, sdk.ActionUnchanged)
	r.write("site.pem", string(certificate(t)))
	if result := r.reread(s, unwatched, sdk.ActionReload); !strings.Contains(result.Reason, path) {
		t.Errorf("the reason is %q", result.Reason)
	}
}

// A reload for another reason loads all files, so that a request has nothing to do.
func TestReread_AnyReloadLoadsTheFiles(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	path := r.write("nets", "10.0.0.0/8\n")
	lines := "frontend beside\n bind 127.0.0.1:" + fmt.Sprint(freePort(t)) + "\n http-request deny if { src -f " + path + " }"
	r.apply(s, r.document("one", lines), sdk.ActionRestart)
	r.write("nets", "10.1.0.0/16\n")
	r.apply(s, r.document("two", lines), sdk.ActionReload)
	r.reread(s, unwatched, sdk.ActionUnchanged)
}

// A new sink knows which files the adopted HAProxy has loaded.
func TestReread_SurvivesARestartOfTheSink(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	path := r.write("nets", "10.0.0.0/8\n")
	doc := r.document("one", "frontend beside\n bind 127.0.0.1:"+fmt.Sprint(freePort(t))+
		"\n http-request deny if { src -f "+path+" }")
	doc.Watched = "these.one"
	first := r.sink()
	r.apply(first, doc, sdk.ActionRestart)
	check(t, first.Stop(context.WithoutCancel(t.Context())))

	second := r.sink()
	r.reread(second, unwatched, sdk.ActionUnchanged)
	check(t, second.Stop(context.WithoutCancel(t.Context())))

	r.write("nets", "10.1.0.0/16\n")
	third := r.sink()
	r.apply(third, doc, sdk.ActionUnchanged)
	r.reread(third, unwatched, sdk.ActionReload)
	check(t, third.Stop(context.WithoutCancel(t.Context())))

	fourth := r.sink()
	r.reread(fourth, sdk.Watched{ID: "these.two"}, sdk.ActionReload)
	r.reread(fourth, sdk.Watched{ID: "these.two"}, sdk.ActionUnchanged)
}

// A file that HAProxy cannot load changes nothing that runs, is named in the error, and is loaded once it is corrected.
func TestReread_BrokenFileKeepsWhatRuns(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	port := freePort(t)
	good := certificate(t)
	path := r.write("site.pem", string(good))
	doc := r.document("one", fmt.Sprintf("frontend beside\n bind 127.0.0.1:%d ssl crt %s", port, path))
	s := r.sink()
	r.apply(s, doc, sdk.ActionRestart)
	before, serial := r.running(s), servedCertificate(t, port)
	for _, breakIt := range []func(){
		func() { r.write("site.pem", "rubbish\n") },
		func() { r.write("site.pem", "") },
		func() { check(t, os.Remove(path)) },
	} {
		breakIt()
		for range 2 {
			_, err := s.Reread(t.Context(), unwatched)
			wantError(t, err, path)
			if _, again := errors.AsType[*sdk.RetryError](err); !again || errors.Is(err, sdk.ErrRejected) {
				t.Errorf("%v is not tried again", err)
			}
		}
		r.apply(s, doc, sdk.ActionUnchanged)
		if now := r.running(s); !now.Same(before) || servedCertificate(t, port) != serial {
			t.Fatalf("%v became %v", before, now)
		}
	}
	r.write("site.pem", string(good))
	r.reread(s, unwatched, sdk.ActionUnchanged)
	r.write("site.pem", string(certificate(t)))
	r.reread(s, unwatched, sdk.ActionReload)
	if servedCertificate(t, port) == serial {
		t.Error("the old certificate is served")
	}
}

// servedCertificate identifies the certificate that a server shows.
func servedCertificate(t *testing.T, port int) string {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	check(t, err)
	defer conn.Close()
	return fmt.Sprintf("%x", conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Signature)
}

// A request within reload_interval is deferred, and the reload happens later.
func TestReread_IsDeferredLikeAnyReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.ReloadInterval = time.Hour
	path := r.write("nets", "10.0.0.0/8\n")
	lines := "frontend beside\n bind 127.0.0.1:" + fmt.Sprint(freePort(t)) + "\n http-request deny if { src -f " + path + " }"
	s := r.sink()
	r.apply(s, r.document("one", lines), sdk.ActionRestart)
	doc := r.document("two", lines)
	r.apply(s, doc, sdk.ActionReload)
	r.write("nets", "10.1.0.0/16\n")
	if _, err := s.Reread(t.Context(), unwatched); !errors.Is(err, sdk.ErrDeferred) {
		t.Fatalf("%v, want a deferral", err)
	}
	s.change.Lock()
	s.reloadLimit.last = time.Time{}
	s.change.Unlock()
	r.reread(s, unwatched, sdk.ActionReload)
}

// Changed watched files are loaded once, whatever they are.
func TestWatched_LoadsOnce(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	doc := r.document("one")
	r.apply(s, doc, sdk.ActionRestart)
	r.reread(s, sdk.Watched{ID: "these.one"}, sdk.ActionUnchanged) // somebody has begun to watch
	two := sdk.Watched{ID: "these.two", Changed: []string{"/etc/geo.mmdb"}}
	if result := r.reread(s, two, sdk.ActionReload); !strings.Contains(result.Reason, "/etc/geo.mmdb") {
		t.Errorf("the reason is %q", result.Reason)
	}
	r.reread(s, two, sdk.ActionUnchanged)
	r.reread(s, sdk.Watched{ID: "others.three"}, sdk.ActionUnchanged)
	r.reread(s, sdk.Watched{ID: "others.four"}, sdk.ActionReload)
	next := r.document("two")
	next.Watched = "others.five"
	r.apply(s, next, sdk.ActionReload)
	r.reread(s, sdk.Watched{ID: "others.five"}, sdk.ActionUnchanged)
	r.apply(s, next, sdk.ActionUnchanged)
}

// HAProxy loads again what it runs, including servers of a document that itself cannot be loaded.
func TestReread_LoadsWhatRuns(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	a, b := r.named("a"), r.named("b")
	path := r.write("nets", "10.0.0.0/8\n")
	line := "http-request deny if { src -f " + path + " }"
	r.apply(s, r.lines(line, "server a "+a.address), sdk.ActionRestart)
	failing := r.lines(line, "server b "+b.address)
	failing = edited(failing, "global\n", "global\n chroot "+r.path("missing")+"\n")
	if _, err := s.Apply(t.Context(), failing); err == nil {
		t.Fatal("HAProxy runs without its chroot")
	}
	r.write("nets", "10.1.0.0/16\n")
	r.reread(s, unwatched, r.reloadAfterFailure())
	if got := r.servers(s, "app"); got != "b" {
		t.Errorf("the servers are %q, want b", got)
	}
	worker := r.running(s)
	if _, err := s.Apply(t.Context(), failing); err == nil || !r.running(s).Same(worker) {
		t.Errorf("what failed to load was tried again: %v", err)
	}
}

// Files of a configuration that HAProxy reads before the main file count, and so does their directory.
func TestReread_OtherConfigurationFilesCount(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	nets := r.write("sub/nets", "10.0.0.0/8\n")
	other := r.write("other.cfg", fmt.Sprintf("global\n default-path origin %s\nfrontend other\n mode http\n"+
		" bind 127.0.0.1:%d\n timeout client 1s\n http-request deny if { src -f nets }\n", r.path("sub"), freePort(t)))
	r.cfg.Mode = ModeCommand
	r.cfg.ReloadCmd = fmt.Sprintf("haproxy -D -f %s -f %s -p %s -sf $(cat %[3]s 2>/dev/null)",
		other, r.cfg.ConfigFile, r.cfg.PidFile)
	s := r.sink()
	doc := r.document("one")
	r.apply(s, doc, sdk.ActionRestart)
	r.reread(s, unwatched, sdk.ActionUnchanged)
	r.write("sub/nets", "10.1.0.0/16\n")
	if result := r.reread(s, unwatched, sdk.ActionReload); !strings.Contains(result.Reason, nets) {
		t.Errorf("the reason is %q", result.Reason)
	}
	r.write("other.cfg", strings.Replace(string(contentOf(other)), "timeout client 1s", "timeout client 2s", 1))
	if result := r.reread(s, unwatched, sdk.ActionReload); !strings.Contains(result.Reason, other) {
		t.Errorf("the reason is %q", result.Reason)
	}
	r.reread(s, unwatched, sdk.ActionUnchanged)
}
