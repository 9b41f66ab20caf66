package haproxy

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The tests of this file do not run in parallel with others: health checks with short intervals would fail on a busy machine.

// addedAndLoaded runs check on a HAProxy to which the servers were added at run time, and on one that loaded them. The
// settings are the other lines of the backend.
func addedAndLoaded(t *testing.T, settings, servers []string, check func(*testing.T, *testEnv, *Sink)) {
	t.Helper()
	both := append(append([]string{}, settings...), servers...)
	t.Run("loaded", func(t *testing.T) {
		r := newTestEnv(t)
		s := r.sink()
		r.apply(s, r.oneThread(both...), sdk.ActionRestart)
		check(t, r, s)
	})
	t.Run("added", func(t *testing.T) {
		r := newTestEnv(t)
		s := r.sink()
		r.apply(s, r.oneThread(settings...), sdk.ActionRestart)
		r.apply(s, r.oneThread(both...), sdk.ActionRuntime)
		check(t, r, s)
	})
}

// oneThread is like lines, for a HAProxy with one thread: each has idle connections of its own.
func (r *testEnv) oneThread(lines ...string) sdk.Document {
	return edited(r.lines(lines...), "maxconn 100\n", "maxconn 100\n    nbthread 1\n")
}

// A counted server counts the connections that it accepts.
type counted struct {
	address  string
	accepted *atomic.Int64
}

// counted starts a server that answers with its name, after it was prepared.
func (r *testEnv) counted(name string, status int, start func(*httptest.Server)) counted {
	r.t.Helper()
	c := counted{accepted: &atomic.Int64{}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Server", name)
		if req.Method == http.MethodGet { // checks ask with OPTIONS
			w.WriteHeader(status)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			c.accepted.Add(1)
		}
	}
	server.Config.ErrorLog = nil
	start(server)
	r.t.Cleanup(server.Close)
	c.address = server.Listener.Addr().String()
	return c
}

// overProxy starts a server that takes only connections with a PROXY header.
func overProxy(server *httptest.Server) {
	server.Listener = proxyListener{server.Listener}
	server.Start()
}

type proxyListener struct{ net.Listener }

func (l proxyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &proxyConn{Conn: conn, reader: bufio.NewReader(conn)}, nil
}

// A proxyConn strips the PROXY header, and ends if there is none.
type proxyConn struct {
	net.Conn
	reader *bufio.Reader
	begun  bool
}

func (c *proxyConn) Read(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		if err := c.skipHeader(); err != nil {
			return 0, err
		}
	}
	return c.reader.Read(p)
}

func (c *proxyConn) skipHeader() error {
	first, err := c.reader.Peek(16)
	switch {
	case err != nil:
		return err
	case bytes.HasPrefix(first, []byte("PROXY ")):
		_, err = c.reader.ReadString('\n')
	case bytes.HasPrefix(first, []byte("\r\n\r\n\x00\r\nQUIT\n")):
		_, err = c.reader.Discard(16 + int(binary.BigEndian.Uint16(first[14:])))
	default:
		err = errors.New("there is no PROXY header")
	}
	return err
}

// stat returns what "show stat" says about a server of the backend app, or about the backend itself.
func (r *testEnv) stat(s *Sink, server string) map[string]string {
	r.t.Helper()
	table, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(r.ask(s, "show stat app 6 -1")[0], "# "))).ReadAll()
	check(r.t, err)
	for _, fields := range table[1:] {
		if stat := maps.Collect(zip(table[0], fields)); stat["svname"] == server {
			return stat
		}
	}
	r.t.Fatalf("there are no statistics of %s", server)
	return nil
}

func TestAddedServer_ChecksAsAfterALoad(t *testing.T) {
	r := newTestEnv(t)
	plain := r.counted("plain", http.StatusOK, (*httptest.Server).Start)
	tls := r.counted("tls", http.StatusOK, (*httptest.Server).StartTLS)
	proxy := r.counted("proxy", http.StatusOK, overProxy)
	const often = " check inter 100ms rise 1 fall 1"
	for _, test := range []struct{ name, settings, server, status string }{
		{"TLS", "option httpchk", tls.address + " ssl verify none" + often, "L7OK"},
		{"TLS without a request", "", tls.address + " ssl verify none" + often, "L6OK"},
		{"broken TLS", "", plain.address + " ssl verify none" + often, "L6RSP"},
		{"TLS by default", "default-server ssl verify none" + often, tls.address, "L6OK"},
		{"TLS only for requests", "option httpchk", tls.address + " ssl verify none no-check-ssl" + often, "L7STS"},
		{"TLS only for checks", "option httpchk", tls.address + " verify none check-ssl" + often, "L7OK"},
		{"TLS to another address", "", tls.address + " ssl verify none addr 127.0.0.1" + often, "L4OK"},
		{"PROXY", "option httpchk", proxy.address + " send-proxy" + often, "L7OK"},
		{"PROXY version 2", "option httpchk", proxy.address + " send-proxy-v2" + often, "L7OK"},
		{"PROXY with options", "option httpchk", proxy.address + " send-proxy-v2-ssl proxy-v2-options crc32c" + often, "L7OK"},
		{"PROXY by default", "option httpchk\n    default-server send-proxy" + often, proxy.address, "L7OK"},
		{"PROXY where none is sent", "option httpchk", proxy.address + often, "L7STS"},
		{"PROXY to an address of its own", "option httpchk", proxy.address + " send-proxy-v2 addr 127.0.0.1" + often, "L7STS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			s := r.sink()
			r.apply(s, r.lines(test.settings), sdk.ActionRestart)
			loaded := r.lines(test.settings, "server x "+test.server)
			result, err := s.Apply(t.Context(), loaded)
			check(t, err)
			if want := strings.Contains(test.server, "no-"); (result.Action == sdk.ActionReload) != want {
				t.Errorf("Apply did %s (%s)", result.Action, result.Reason)
			}
			eventually(t, "the server is checked as "+test.status, func() bool {
				return strings.TrimPrefix(r.stat(s, "x")["check_status"], "* ") == test.status
			})
			wantUp := strings.HasSuffix(test.status, "OK")
			if up := r.stat(s, "x")["status"] == "UP"; up != wantUp {
				t.Errorf("up is %v", up)
			}
		})
	}
}

func TestAddedServer_SharesRequestsAsAfterALoad(t *testing.T) {
	r := newTestEnv(t)
	var servers []string
	for i := range 5 {
		servers = append(servers, fmt.Sprintf("server s%d %s weight 10", i, r.named(fmt.Sprint(i)).address))
	}
	for _, balance := range []string{"balance random", "balance roundrobin", "balance leastconn"} {
		t.Run(balance, func(t *testing.T) {
			addedAndLoaded(t, []string{balance}, servers, func(t *testing.T, r *testEnv, _ *Sink) {
				const requests = 300
				answers := map[string]int{}
				for range requests {
					answers[r.answer(&http.Transport{DisableKeepAlives: true})]++
				}
				for i := range servers {
					if n := answers[fmt.Sprint(i)]; n < requests/len(servers)/4 {
						t.Errorf("server s%d has %d of the requests: %v", i, n, answers)
					}
				}
			})
		})
	}
}

// answer sends one request and returns which server answered it, or else the status.
func (r *testEnv) answer(over *http.Transport) string {
	r.t.Helper()
	client := &http.Client{Transport: over, Timeout: time.Minute}
	answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", r.port))
	check(r.t, err)
	_, err = io.Copy(io.Discard, answer.Body)
	check(r.t, errors.Join(err, answer.Body.Close()))
	return cmp.Or(answer.Header.Get("X-Server"), answer.Status)
}

func TestAddedServer_ReusesConnectionsAsAfterALoad(t *testing.T) {
	overHTTP2 := func(server *httptest.Server) {
		server.EnableHTTP2 = true
		server.StartTLS()
	}
	for _, test := range []struct {
		name, options string
		start         func(*httptest.Server)
	}{
		{"HTTP", "", (*httptest.Server).Start},
		{"TLS", " ssl verify none", (*httptest.Server).StartTLS},
		{"HTTP/2", " ssl verify none alpn h2", overHTTP2},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			s := r.sink()
			r.apply(s, r.oneThread("http-reuse always"), sdk.ActionRestart)
			server := r.counted("x", http.StatusOK, test.start)
			result, err := s.Apply(t.Context(), r.oneThread("http-reuse always", "server x "+server.address+test.options))
			check(t, err)
			if test.name != "HTTP/2" && result.Action != sdk.ActionRuntime {
				t.Errorf("Apply did %s (%s)", result.Action, result.Reason)
			}
			const requests = 20
			for range requests {
				if by := r.answer(&http.Transport{DisableKeepAlives: true}); by != "x" {
					t.Fatalf("answered by %s", by)
				}
			}
			if n := server.accepted.Load(); n > requests/2 {
				t.Errorf("%d connections for %d requests", n, requests)
			}
		})
	}
}

// A limit of connections does not grow with the load, and minconn is the lower limit.
func TestAddedServer_MaxConnAsAfterALoad(t *testing.T) {
	for _, bound := range []string{"maxconn 2", "maxconn 2 minconn 2", "minconn 2", "minconn 2 maxconn 1"} {
		t.Run(bound, func(t *testing.T) {
			r := newTestEnv(t)
			server := r.named("x")
			t.Cleanup(func() { close(server.open) })
			addedAndLoaded(t, nil, []string{"server x " + server.address + " " + bound}, func(t *testing.T, r *testEnv, s *Sink) {
				for range 3 {
					r.slowly()
				}
				eventually(t, "two requests are served and one waits", func() bool {
					return r.stat(s, "x")["scur"] == "2" && r.stat(s, "BACKEND")["qcur"] == "1"
				})
				if slim := r.stat(s, "x")["slim"]; slim != "2" {
					t.Errorf("the bound is %s", slim)
				}
			})
		})
	}
}

func TestAddedServer_ObservesAsAfterALoad(t *testing.T) {
	r := newTestEnv(t)
	server := r.counted("x", http.StatusInternalServerError, (*httptest.Server).Start)
	line := "server x " + server.address + " check inter 1s fall 1 rise 1000 observe layer7"
	addedAndLoaded(t, []string{"option httpchk"}, []string{line}, func(t *testing.T, r *testEnv, s *Sink) {
		eventually(t, "the server is down for its errors", func() bool {
			r.answer(&http.Transport{DisableKeepAlives: true})
			return r.stat(s, "x")["status"] == "DOWN"
		})
		if status := r.stat(s, "x")["hanafail"]; status != "1" {
			t.Errorf("it is down with %s failures", status)
		}
	})
}

// A server that does not answer receives requests for no longer than a loaded one.
func TestAddedServer_FirstCheckAsAfterALoad(t *testing.T) {
	r := newTestEnv(t)
	good := "server good " + r.named("good").address
	port, free := occupy(t)
	free()
	for _, test := range []struct{ options, action string }{
		{"inter 100ms", sdk.ActionRuntime},
		{"inter 100ms downinter 100ms", sdk.ActionRuntime},
		{"inter 1m downinter 100ms", sdk.ActionRuntime},
		{"inter 100ms downinter 1h", sdk.ActionReload},
		{"inter 1h fastinter 100ms", sdk.ActionReload},
		{"inter 100ms fastinter 1h", sdk.ActionRuntime},
	} {
		t.Run(test.options, func(t *testing.T) {
			r := newTestEnv(t)
			s := r.sink()
			r.apply(s, r.lines(good), sdk.ActionRestart)
			r.apply(s, r.lines(good, fmt.Sprintf("server dead 127.0.0.1:%d check %s", port, test.options)), test.action)
			eventually(t, "the dead server is down", func() bool { return r.stat(s, "dead")["status"] == "DOWN" })
			r.wantAnswers("good")
		})
	}
}

// Here an added server differs from a loaded one: it starts like a server that has come up again.
func TestAddedServer_SlowStart(t *testing.T) {
	r := newTestEnv(t)
	s := r.sink()
	line := "server x " + r.backend + " weight 100 slowstart 1h"
	r.apply(s, r.lines(), sdk.ActionRestart)
	r.apply(s, r.lines(line), sdk.ActionRuntime)
	if weight := r.stat(s, "x")["weight"]; weight == "100" {
		t.Error("it has its weight at once")
	}
	r.apply(s, r.lines(line, "option httplog"), sdk.ActionReload)
	if weight := r.stat(s, "x")["weight"]; weight != "100" {
		t.Errorf("it has the weight %s after a reload", weight)
	}
}
