package server

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
)

const token = "s3cret-marker"

func newPolicy(t testing.TB, cfg AccessConfig) *AccessPolicy {
	t.Helper()
	policy, err := NewAccessPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func networks(t testing.TB, texts ...string) []netip.Prefix {
	t.Helper()
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// unreadBody is a body that must not be read.
type unreadBody struct{ t *testing.T }

func (u unreadBody) Read([]byte) (int, error) {
	u.t.Error("the body was read before the request was authorized")
	return 0, io.EOF
}

func TestAccessPolicy_ScriptsGetNoBasicChallenge(t *testing.T) {
	s := newServerWithPolicy(t, AccessConfig{Token: token})
	for script, want := range map[bool]int{false: 2, true: 1} {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/pipelines/haproxy/release", strings.NewReader(""))
		if script {
			r.Header.Set("X-Requested-With", "XMLHttpRequest")
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if challenges := w.Header().Values("WWW-Authenticate"); w.Code != 401 || len(challenges) != want {
			t.Errorf("from a script %t: status %d, challenges %q", script, w.Code, challenges)
		}
	}
}

func TestAccessPolicy(t *testing.T) {
	const inside, outside, mapped = "10.1.2.3:5000", "192.0.2.1:5000", "[::ffff:10.1.2.3]:5000"
	zero := AccessConfig{}
	withToken := AccessConfig{Token: token}
	withNetworks := AccessConfig{AllowFrom: networks(t, "10.0.0.0/8", "fe80::/10", "::ffff:172.16.0.0/108")}
	both := AccessConfig{Token: token, AllowFrom: networks(t, "10.0.0.0/8")}
	bearer := map[string]string{"Authorization": "Bearer " + token}
	basic := map[string]string{"Authorization": basicAuth("x", token)}
	for _, test := range []struct {
		name, method, path, from string
		cfg                      AccessConfig
		header                   map[string]string
		code                     int
	}{
		{"open", "POST", "/update", outside, zero, nil, 200},
		{"open alias", "POST", "/sidecar/update", outside, zero, nil, 200},
		{"open change", "POST", "/api/v1/x", outside, zero, nil, 404},

		{"no token", "POST", "/update", outside, withToken, nil, 401},
		{"no token, alias", "POST", "/api/update", outside, withToken, nil, 401},
		{"no token, release", "POST", "/api/v1/pipelines/haproxy/release", outside, withToken, nil, 401},
		{"no token, no route", "DELETE", "/nowhere", outside, withToken, nil, 401},
		{"no token, another method", "PUT", "/health", outside, withToken, nil, 401},
		{"no token, an invented method", "FETCH", "/health", outside, withToken, nil, 401},
		{"bearer", "POST", "/update", outside, withToken, bearer, 200},
		{"bearer in lower case", "POST", "/update", outside, withToken,
			map[string]string{"Authorization": "bearer " + token}, 200},
		{"basic", "POST", "/update", outside, withToken, basic, 200},
		{"another user", "POST", "/update", outside, withToken, map[string]string{"Authorization": basicAuth("", token)}, 200},
		{"as the user", "POST", "/update", outside, withToken, map[string]string{"Authorization": basicAuth(token, "")}, 401},
		{"wrong", "POST", "/update", outside, withToken, map[string]string{"Authorization": "Bearer " + token + "x"}, 401},
		{"shorter", "POST", "/update", outside, withToken, map[string]string{"Authorization": "Bearer " + token[1:]}, 401},
		{"no scheme", "POST", "/update", outside, withToken, map[string]string{"Authorization": token}, 401},
		{"empty", "POST", "/update", outside, withToken, map[string]string{"Authorization": "Bearer "}, 401},
		{"in the query", "POST", "/update?token=" + token, outside, withToken, nil, 401},
		{"read health", "GET", "/health", outside, withToken, nil, 200},
		{"read live", "HEAD", "/live", outside, withToken, nil, 200},
		{"read metrics", "GET", "/metrics", outside, withToken, nil, 200},
		{"read pipelines", "GET", "/api/v1/pipelines", outside, withToken, nil, 200},

		{"from inside", "POST", "/update", inside, withNetworks, nil, 200},
		{"from inside over IPv6", "POST", "/update", mapped, withNetworks, nil, 200},
		{"from inside with a zone", "POST", "/update", "[fe80::1%eth0]:5000", withNetworks, nil, 200},
		{"an IPv4-mapped network", "POST", "/update", "172.16.0.1:5000", withNetworks, nil, 200},
		{"from outside", "POST", "/update", outside, withNetworks, nil, 403},
		{"from loopback", "POST", "/update", "127.0.0.1:5000", withNetworks, nil, 403},
		{"from outside, apply", "POST", "/api/v1/pipelines/haproxy/apply", outside, withNetworks, nil, 403},
		{"forwarded for", "POST", "/update", outside, withNetworks, map[string]string{"X-Forwarded-For": "10.1.2.3",
			"Forwarded": "for=10.1.2.3", "X-Real-IP": "10.1.2.3"}, 403},
		{"from a peer without an address", "POST", "/update", "@", withNetworks, nil, 403},
		{"read from outside", "GET", "/health", outside, withNetworks, nil, 200},

		{"both", "POST", "/update", inside, both, basic, 200},
		{"both, release", "POST", "/api/v1/pipelines/haproxy/release", inside, both, bearer, 200},
		{"both, apply", "POST", "/api/v1/pipelines/haproxy/apply", inside, both, basic, 202},
		{"address alone", "POST", "/update", inside, both, nil, 401},
		{"token alone", "POST", "/update", outside, both, basic, 403},

		{"a browser from our origin", "POST", "/update", inside, zero, map[string]string{"Sec-Fetch-Site": "same-origin"}, 403},
		{"a browser after DNS rebinding", "POST", "/update", inside, zero,
			map[string]string{"Origin": "http://example.com"}, 403},
		{"a browser with the token", "POST", "/api/update", inside, withToken, map[string]string{"Sec-Fetch-Site": "none",
			"Authorization": "Bearer " + token}, 403},
		{"another origin", "POST", "/api/v1/x", inside, zero, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"another origin of the site", "POST", "/api/v1/x", inside, zero, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"another origin in an older browser", "POST", "/api/v1/x", inside, zero,
			map[string]string{"Origin": "http://evil.example"}, 403},
		{"no origin", "POST", "/api/v1/x", inside, zero, map[string]string{"Origin": "null"}, 403},
		{"our origin", "POST", "/api/v1/x", inside, zero, map[string]string{"Sec-Fetch-Site": "same-origin",
			"Origin": "http://localhost:7778"}, 404},
		{"another origin with the token", "POST", "/api/v1/x", inside, withToken,
			map[string]string{"Origin": "http://evil.example", "Authorization": "Bearer " + token}, 403},
		{"another origin reads", "GET", "/health", inside, zero, map[string]string{"Origin": "http://evil.example"}, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServerWithPolicy(t, test.cfg)
			var body io.Reader = strings.NewReader("{}")
			if test.code == 401 || test.code == 403 {
				body = unreadBody{t}
			}
			r := httptest.NewRequest(test.method, test.path, body)
			r.RemoteAddr, r.Host = test.from, "localhost:7778"
			for name, value := range test.header {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != test.code {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, test.code)
			}
			if refused := w.Code == 401 || w.Code == 403; refused && !strings.HasPrefix(w.Body.String(), `{"errors":["`) {
				t.Errorf("not in the shape of errors: %s", w.Body)
			}
			if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("WWW-Authenticate %q", w.Header().Values("WWW-Authenticate"))
			}
			if strings.Contains(w.Body.String(), "s3cret") {
				t.Errorf("the token is in the answer: %s", w.Body)
			}
		})
	}
}

func basicAuth(user, password string) string {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// newServerWithPolicy returns a server that takes pushes, with that access policy.
func newServerWithPolicy(t *testing.T, cfg AccessConfig) *testServer {
	t.Helper()
	s := newTestServer(t, true)
	s.SetAccessPolicy(newPolicy(t, cfg))
	return s
}

// Routes that are added later are authorized as well.
func TestAccessPolicy_CoversEveryRouteThatChangesSomething(t *testing.T) {
	s := newServerWithPolicy(t, AccessConfig{Token: token})
	reached := false
	s.mux.HandleFunc("/future", func(http.ResponseWriter, *http.Request) { reached = true })
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "CONNECT", "TRACE", "get", "PURGE"} {
		if code, _ := s.ask(method, "/future"); code != 401 || reached {
			t.Errorf("%s answered %d, reached: %v", method, code, reached)
		}
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		reached = false
		if code, _ := s.ask(method, "/future"); code != 200 || !reached {
			t.Errorf("%s answered %d, reached: %v", method, code, reached)
		}
	}
}

func TestSetAccessPolicy_WhileServing(t *testing.T) {
	s := newServerWithPolicy(t, AccessConfig{})
	s.want(t, "POST", "/update", 200, "pushed")
	s.SetAccessPolicy(newPolicy(t, AccessConfig{Token: token}))
	if code, _ := s.ask("POST", "/update"); code != 401 {
		t.Errorf("answered %d", code)
	}
	s.SetAccessPolicy(newPolicy(t, AccessConfig{}))
	s.want(t, "POST", "/update", 200, "pushed")
}

func TestCORS(t *testing.T) {
	const status, evil = "https://status.example.com", "https://evil.example"
	listed, all := []string{"HTTPS://Status.Example.com"}, []string{"*"}
	for _, test := range []struct {
		name, method, origin string
		origins              []string
		code                 int
		allowed, vary        string
	}{
		{"none", "GET", status, nil, 200, "", ""},
		{"listed", "GET", status, listed, 200, status, "Origin"},
		{"another", "GET", evil, listed, 200, "", "Origin"},
		{"no origin", "GET", "", listed, 200, "", "Origin"},
		{"all", "GET", evil, all, 200, "*", ""},
		{"asked beforehand", "OPTIONS", status, listed, 204, status, "Origin"},
		{"asked beforehand by another", "OPTIONS", evil, listed, 405, "", "Origin"},
		{"asked beforehand by any", "OPTIONS", evil, all, 204, "*", ""},
		{"asked beforehand of none", "OPTIONS", status, nil, 405, "", ""},
		{"listed changes", "POST", status, listed, 403, "", ""},
		{"any changes", "POST", evil, all, 403, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServerWithPolicy(t, AccessConfig{CORSOrigins: test.origins})
			r := httptest.NewRequest(test.method, "/live", nil)
			if test.origin != "" {
				r.Header.Set("Origin", test.origin)
			}
			r.Header.Set("Access-Control-Request-Method", "POST")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			h := w.Header()
			if w.Code != test.code || h.Get("Access-Control-Allow-Origin") != test.allowed || h.Get("Vary") != test.vary {
				t.Errorf("got %d %v", w.Code, h)
			}
			methods := h.Get("Access-Control-Allow-Methods")
			if (w.Code == 204) != (methods == "GET, HEAD") || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("got %v", h)
			}
		})
	}
}

// DNS rebinding gives any page the origin of the daemon, so host names are restricted for browsers. Sidecar and programs use any
// name.
func TestAccessPolicy_HostNames(t *testing.T) {
	const evil = "evil.example:7778"
	secret := AccessConfig{Token: token}
	named := AccessConfig{AllowedHosts: []string{"Edge.Example.com", "*.internal."}}
	all := AccessConfig{AllowedHosts: []string{"*"}}
	bearer := map[string]string{"Authorization": "Bearer " + token}
	wrong := map[string]string{"Authorization": "Bearer wrong"}
	same := map[string]string{"Origin": "http://" + evil}
	for _, test := range []struct {
		name, method, path, host string
		cfg                      AccessConfig
		header                   map[string]string
		code                     int
	}{
		{"a foreign name", "GET", "/state", evil, AccessConfig{}, nil, 403},
		{"a foreign name, status", "GET", "/api/v1/pipelines", evil, AccessConfig{}, nil, 403},
		{"a foreign name, metrics", "HEAD", "/metrics", evil, AccessConfig{}, nil, 403},
		{"a foreign name that looks like an address", "GET", "/state", "127.0.0.1.evil.example", AccessConfig{}, nil, 403},
		{"a foreign name that looks like localhost", "GET", "/state", "localhost.evil.example", AccessConfig{}, nil, 403},
		{"a foreign name, live", "GET", "/live", evil, AccessConfig{}, nil, 200},
		{"a foreign name, ready", "GET", "/ready", evil, AccessConfig{}, nil, 503},
		{"a foreign name, health", "GET", "/health", evil, AccessConfig{}, nil, 200},
		{"no name", "GET", "/metrics", "", AccessConfig{}, nil, 200},
		{"loopback", "GET", "/metrics", "localhost:7778", AccessConfig{}, nil, 200},
		{"below localhost", "GET", "/metrics", "edge.localhost.", AccessConfig{}, nil, 200},
		{"an address", "GET", "/metrics", "192.0.2.7:7778", AccessConfig{}, nil, 200},
		{"an address of IPv6", "GET", "/metrics", "[2001:db8::1]:7778", AccessConfig{}, nil, 200},
		{"an address of IPv6 without a port", "GET", "/metrics", "[2001:db8::1]", AccessConfig{}, nil, 200},
		{"a container's name", "GET", "/metrics", "haproxy-api:7778", AccessConfig{}, nil, 200},
		{"an allowed name", "GET", "/metrics", "EDGE.example.com.:7778", named, nil, 200},
		{"below an allowed name", "GET", "/metrics", "a.b.internal", named, nil, 200},
		{"a name that ends like an allowed one", "GET", "/metrics", "evilinternal.example", named, nil, 403},
		{"above an allowed name", "GET", "/metrics", "example.com", named, nil, 403},
		{"any name", "GET", "/metrics", evil, all, nil, 200},
		{"a foreign name with the token", "GET", "/metrics", evil, secret, bearer, 200},
		{"a foreign name with a wrong token", "GET", "/metrics", evil, secret, wrong, 403},
		{"a foreign origin", "GET", "/state", "localhost", AccessConfig{},
			map[string]string{"Origin": "http://evil.example"}, 403},
		{"no origin", "GET", "/state", "localhost", AccessConfig{}, map[string]string{"Origin": "null"}, 403},
		{"our origin", "GET", "/metrics", "localhost:1", AccessConfig{}, map[string]string{"Origin": "http://localhost:1"}, 200},
		{"our host at another port", "GET", "/metrics", "localhost:1", AccessConfig{},
			map[string]string{"Origin": "http://localhost:2"}, 403},

		{"Sidecar pushes to a name", "POST", "/update", "haproxy-api.example.com:7778", AccessConfig{}, nil, 200},
		{"a program changes by a name", "POST", "/api/v1/pipelines/haproxy/apply", evil, AccessConfig{}, nil, 202},
		{"a page of a foreign name changes", "POST", "/api/v1/pipelines/haproxy/apply", evil, AccessConfig{}, same, 403},
		{"a page of a foreign name releases", "POST", "/api/v1/pipelines/haproxy/release", evil, AccessConfig{},
			map[string]string{"Sec-Fetch-Site": "same-origin"}, 403},
		{"a page of a foreign name pushes", "POST", "/update", evil, AccessConfig{}, same, 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			if code, _ := answer(t, test.cfg, test.method, test.path, test.host, test.header); code != test.code {
				t.Errorf("got %d, want %d", code, test.code)
			}
		})
	}
}

func answer(t *testing.T, cfg AccessConfig, method, path, host string, header map[string]string) (int, http.Header) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	newServerWithPolicy(t, cfg).ServeHTTP(w, r)
	return w.Code, w.Header()
}

func TestAccessPolicy_ProtectReads(t *testing.T) {
	cfg := AccessConfig{Token: token, ProtectReads: true, CORSOrigins: []string{"https://status.example.com"}}
	bearer := map[string]string{"Authorization": "Bearer " + token}
	for _, test := range []struct {
		name, method, path string
		header             map[string]string
		code               int
	}{
		{"state", "GET", "/state", nil, 401},
		{"state's alias", "HEAD", "/api/state.json", nil, 401},
		{"metrics", "GET", "/metrics", nil, 401},
		{"pipelines", "GET", "/api/v1/pipelines", nil, 401},
		{"no route", "GET", "/live/", nil, 401},
		{"options", "OPTIONS", "/metrics", nil, 401},
		{"a wrong token", "GET", "/metrics", map[string]string{"Authorization": "Bearer x"}, 401},
		{"metrics with the token", "GET", "/metrics", bearer, 200},
		{"pipelines with the token", "GET", "/api/v1/pipelines", bearer, 200},
		{"metrics with a password", "GET", "/metrics", map[string]string{"Authorization": basicAuth("x", token)}, 200},
		{"live", "GET", "/live", nil, 200},
		{"ready", "GET", "/ready", nil, 503},
		{"health", "HEAD", "/health", nil, 200},
		{"asked beforehand", "OPTIONS", "/metrics", map[string]string{"Origin": "https://status.example.com",
			"Access-Control-Request-Method": "GET"}, 204},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, header := answer(t, cfg, test.method, test.path, "localhost", test.header)
			if code != test.code || (code == 401) != (header.Get("WWW-Authenticate") != "") {
				t.Errorf("got %d %v, want %d", code, header, test.code)
			}
			if code == 204 && header.Get("Access-Control-Allow-Headers") != "Authorization" {
				t.Errorf("a page may not send the token: %v", header)
			}
		})
	}
}

func TestDenials_AreLoggedOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		policy := newPolicy(t, AccessConfig{Token: token, Log: slog.New(slog.NewTextHandler(&log, nil))})
		send := func(from string) {
			r := httptest.NewRequest(http.MethodPost, "/update", nil)
			r.RemoteAddr = from
			r.Header.Set("Authorization", "Bearer wrong-s3cret\nlevel=ERROR")
			if policy.authorize(httptest.NewRecorder(), r) {
				t.Error("authorized")
			}
		}
		lines := func() int { return strings.Count(log.String(), "\n") }
		for range 100 {
			send("192.0.2.1:5000")
			send("192.0.2.2:5001")
		}
		if lines() != 2 || !strings.Contains(log.String(), `reason="no token or a wrong one" client=192.0.2.1`) ||
			strings.Contains(log.String(), "s3cret") {
			t.Errorf("logged\n%s", log.String())
		}
		for n := range 3 * logdedup.MaxKeys {
			send(fmt.Sprintf("[2001:db8::%x]:1", n))
		}
		if lines() != logdedup.MaxKeys+1 {
			t.Errorf("%d lines for very many addresses", lines())
		}
		time.Sleep(time.Hour)
		send("192.0.2.1:5000")
		if lines() != logdedup.MaxKeys+2 {
			t.Errorf("%d lines, want one more after an hour", lines())
		}
	})
}

// Behind a reverse proxy that replaces the Host header, the scripts of the status page come with another origin. Only they are
// served to it.
func TestAccessPolicy_StatusPageBehindProxy(t *testing.T) {
	for path, want := range map[string]int{"/ui/x": 404, "/": 403, "/api/v1/status": 403, "/uix": 403} {
		for _, cfg := range []AccessConfig{{}, {Token: token, ProtectReads: true}} {
			if cfg.ProtectReads {
				want = 401
			}
			s := newServerWithPolicy(t, cfg)
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = "127.0.0.1:7778"
			r.Header.Set("Origin", "http://proxy.example")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s: %d, want %d", path, w.Code, want)
			}
		}
	}
}

// Browsers store no answer of the API, which may be protected, and take none for anything else than what it is.
func TestServer_HeadersOfAnswers(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	for path, cached := range map[string]bool{
		"/": true, "/api/v1/status": false, "/api/v1/nothing": false, "/metrics": false, "/state": false,
		generationsPath + "/1/diff": false, "/api/v1/openapi.json": false,
	} {
		header := env.do(request{path: path}).Header
		if got := header.Get("Cache-Control"); (got != "no-store") != cached {
			t.Errorf("%s: Cache-Control is %q", path, got)
		}
		if got := header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options is %q", path, got)
		}
	}
}
