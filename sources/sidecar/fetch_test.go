package sidecar

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

func TestFetchState_BothPaths(t *testing.T) {
	for name, tt := range map[string]struct {
		older bool
		path  string
	}{
		"older at the old path": {true, "/state.json"},
		"older at the new path": {true, "/api/state.json"},
		"newer at the old path": {false, "/state.json"},
		"newer at the new path": {false, "/api/state.json"},
		"services":              {false, "/api/services.json"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(sidecartest.New(sidecartest.Options{Older: tt.older, Cluster: "blue"}))
			defer server.Close()
			snap, err := FetchState(t.Context(), server.Client(), server.URL+tt.path, "here")
			if err != nil {
				t.Fatal(err)
			}
			if snap.Cluster != "blue" || snap.Source != "here" || snap.Taken.IsZero() {
				t.Errorf("got %+v", snap)
			}
		})
	}
}

func TestFetchState_OnlyAtTheNewPath(t *testing.T) {
	server := httptest.NewServer(http.StripPrefix("/api", sidecartest.New(sidecartest.Options{Older: true})))
	defer server.Close()
	if _, err := FetchState(t.Context(), server.Client(), server.URL+"/state.json", ""); err != nil {
		t.Error(err)
	}
}

func TestFetchState_Errors(t *testing.T) {
	for name, tt := range map[string]struct {
		answer  network
		address string
		want    string
	}{
		"not found": {answers(404, "404 page not found"), "http://side:7777/state.json",
			"http://side:7777/state.json returns 404 Not Found"},
		"broken": {answers(503, ""), "http://u:secret@side:7777/state.json?key=secret",
			"http://xxxxx@side:7777/state.json returns 503 Service Unavailable"},
		"another program": {answers(200, "<html>"), "http://side:7777/state.json",
			"http://side:7777/state.json does not return a Sidecar state: " +
				"not JSON: invalid character '<' looking for beginning of value (at byte 0)"},
		"unreachable": {func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
			"http://u:secret@side:7777/state.json", "cannot reach http://xxxxx@side:7777/state.json: connection refused"},
		"no URL": {nil, "side:7777", `"side:7777" is not a URL such as http://localhost:7777/state.json`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := FetchState(t.Context(), clientOf(tt.answer), tt.address, "")
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func answers(status int, content string) network {
	return func(*http.Request) (*http.Response, error) { return answerWith(status, []byte(content)), nil }
}

func TestFetchState_Timeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := clientOf(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		_, err := FetchState(context.Background(), hung, "http://side/state.json", "")
		if !errors.Is(err, errTimeout) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFetchState_Limit(t *testing.T) {
	u, err := parseURL("http://side/state.json")
	if err != nil {
		t.Fatal(err)
	}
	_, err = fetchState(t.Context(), clientOf(answers(200, strings.Repeat(" ", 11))), u, "", 10)
	if tooLarge, ok := errors.AsType[*catalog.TooLargeError](err); !ok || tooLarge.Limit != 10 {
		t.Errorf("got %v", err)
	}
}

// A redirect is followed on the same host only, for every kind of fetch.
func TestFetchState_Redirects(t *testing.T) {
	var asked atomic.Int32
	answer := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"Servers":{}}`) }
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, r)
	}))
	defer other.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/here", answer)
	mux.Handle("/near", http.RedirectHandler("/here", http.StatusFound))
	mux.Handle("/far", http.RedirectHandler(other.URL+"/state.json", http.StatusFound))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	first := httptest.NewServer(mux)
	defer first.Close()
	own := newClient(nil)
	defer own.CloseIdleConnections()
	allowed := newClient([]string{strings.TrimPrefix(other.URL, "http://")})
	defer allowed.CloseIdleConnections()
	u, err := parseURL(first.URL + "/far")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fetchState(t.Context(), allowed, u, "s", MaxState); err != nil || asked.Swap(0) != 1 {
		t.Errorf("a host of redirect_hosts: %v", err)
	}
	for _, client := range []*http.Client{own, first.Client()} {
		for path, good := range map[string]bool{"/here": true, "/near": true, "/far": false, "/round": false} {
			_, err := FetchState(t.Context(), client, first.URL+path, "s")
			if _, elsewhere := errors.AsType[*redirectError](err); (err == nil) != good || elsewhere != (path == "/far") {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

func TestRedirectPolicy(t *testing.T) {
	policy := redirectPolicy([]string{"other:7777"})
	for _, c := range []struct {
		from, to string
		follow   bool
	}{
		{"http://h:7777/a", "http://h:7777/b", true},
		{"http://h:7777/a", "http://H:7777/b", true},
		{"http://h:7777/a", "http://h:7778/b", false},
		{"http://h:7777/a", "http://other:7777/b", true},
		{"http://h:7777/a", "http://other/b", false},
		{"http://h:7777/a", "http://169.254.169.254/", false},
		{"http://h/a", "https://h/a", true},
		{"https://h/a", "http://h/a", false},
		{"https://h/a", "http://other:7777/a", false},
		{"https://h/a", "https://other:7777/a", true},
	} {
		request := func(address string) *http.Request {
			return httptest.NewRequest(http.MethodGet, address, http.NoBody)
		}
		err := policy(request(c.to), []*http.Request{request(c.from)})
		if _, refused := errors.AsType[*redirectError](err); refused == c.follow || (err == nil) != c.follow {
			t.Errorf("from %s to %s: %v", c.from, c.to, err)
		}
	}
}
