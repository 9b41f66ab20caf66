package haproxy

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// A named server answers with its name. It answers a request for /slow only when it is told to.
type named struct {
	address string
	open    chan struct{} // closed to let slow answers go
	asked   chan struct{} // receives when a slow request has come
}

func (r *testEnv) named(name string) named {
	n := named{open: make(chan struct{}), asked: make(chan struct{}, 10)}
	answer := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/slow" {
			n.asked <- struct{}{}
			select {
			case <-n.open:
			case <-req.Context().Done():
			}
		}
		w.Header().Set("X-Server", name)
	})
	server := httptest.NewServer(answer)
	r.t.Cleanup(server.Close)
	n.address = server.Listener.Addr().String()
	// HAProxy may look up localhost as ::1.
	_, port, err := net.SplitHostPort(n.address)
	check(r.t, err)
	if listener, err := net.Listen("tcp", net.JoinHostPort("::1", port)); err == nil {
		other := &httptest.Server{Listener: listener, Config: &http.Server{Handler: answer, ReadHeaderTimeout: time.Minute}}
		other.Start()
		r.t.Cleanup(other.Close)
	}
	return n
}

// lines returns a document whose backend app has these lines.
func (r *testEnv) lines(lines ...string) sdk.Document {
	return edited(r.document("x"), "    server s1 "+r.backend+"\n", "    "+strings.Join(lines, "\n    ")+"\n")
}

// answeredBy asks HAProxy a few times and returns the servers that answered, each once.
func (r *testEnv) answeredBy() string {
	var names []string
	for range 6 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", r.port))
		check(r.t, err)
		_ = answer.Body.Close()
		names = append(names, cmp.Or(answer.Header.Get("X-Server"), answer.Status))
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

func (r *testEnv) wantAnswers(want string) {
	r.t.Helper()
	if got := r.answeredBy(); got != want {
		r.t.Fatalf("answers come from %q, want %q", got, want)
	}
}

// ask sends commands to the worker that serves. HAProxy may not answer a command to a worker that it is replacing, so the
// connection is tried again.
func (r *testEnv) ask(s *Sink, commands ...string) []string {
	r.t.Helper()
	var conn *runtimeapi.Conn
	eventually(r.t, "the worker can be asked", func() bool {
		to, err := s.controller.Endpoint(s.state.Load().running)
		check(r.t, err)
		ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Second)
		defer cancel()
		conn, err = runtimeapi.Dial(ctx, to)
		return err == nil
	})
	defer conn.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	answers, err := conn.Do(ctx, commands...)
	check(r.t, err)
	return answers
}

// servers returns the names of a backend's servers in HAProxy, with a "-" after those that are draining.
func (r *testEnv) servers(s *Sink, backend string) string {
	r.t.Helper()
	servers, err := runtimeapi.ParseServers(r.ask(s, "show servers state "+backend)[0])
	check(r.t, err)
	var names []string
	for _, server := range servers {
		name := server.Name
		if server.Admin&(runtimeapi.ForcedDrain|runtimeapi.ForcedMaint) != 0 {
			name += "-"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// awaitDisk waits until the document is on disk.
func (r *testEnv) awaitDisk(doc sdk.Document) {
	r.t.Helper()
	eventually(r.t, "the file follows", func() bool { return r.onDisk() == string(doc.Files[0].Content) })
}

func TestRuntimeChange_Servers(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	before := r.running(s)
	var last sdk.Document
	for _, step := range []struct {
		reason, answers string
		lines           []string
	}{
		{"server b added", "a b", []string{"server a " + a.address, "server b " + b.address + " check cookie b"}},
		{"weight 1 changed to 0", "b", []string{"server a " + a.address + " weight 0", "server b " + b.address + " check"}},
		{"disabled", "b", []string{"server a " + a.address + " disabled", "server b " + b.address + " check"}},
		{"no longer disabled", "a b", []string{"server a " + a.address, "server b " + b.address + " check maxconn 7"}},
		{"server a removed", "b", []string{"server b " + b.address + " check maxconn 7"}},
		{"address", "a", []string{"server b " + a.address + " check"}},
		{"removed", "503 Service Unavailable", nil},
		{"server b added", "b", []string{"server b " + b.address + " check"}},
	} {
		last = r.lines(step.lines...)
		result := r.apply(s, last, sdk.ActionRuntime)
		if !strings.Contains(result.Reason, step.reason) || len(result.Commands) == 0 || stepsOf(result) != "plan runtime" {
			t.Errorf("reason %q, commands %q, steps %v", result.Reason, result.Commands, result.Steps)
		}
		r.wantAnswers(step.answers)
	}
	r.awaitDisk(last)
	eventually(t, "what left is gone", func() bool { return r.servers(s, "app") == "b" })
	if now := r.running(s); !now.Same(before) {
		t.Errorf("HAProxy was reloaded: %v became %v", before, now)
	}
	wantHealthy(t, s)
	r.apply(s, last, sdk.ActionUnchanged)
	r.wantTidy()
	r.stop(s)

	next := r.sink()
	r.apply(next, last, sdk.ActionUnchanged)
}

// slowly sends a request that is answered when the server is told to, and returns who answered.
func (r *testEnv) slowly() (answer func() string) {
	r.t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
	check(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	check(r.t, err)
	return func() string {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err.Error()
		}
		return cmp.Or(resp.Header.Get("X-Server"), resp.Status)
	}
}

func TestDraining_SessionsFinish(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.watchful()
	const cuts = " on-marked-down shutdown-sessions" // as maintenance does, which must not come too early
	r.apply(s, r.lines("server a "+a.address+cuts), sdk.ActionRestart)
	answer := r.slowly()
	<-a.asked
	r.apply(s, r.lines("server b "+b.address), sdk.ActionRuntime)
	r.wantAnswers("b")
	if got := r.servers(s, "app"); got != "a- b" {
		t.Errorf("while a finishes the servers are %q", got)
	}
	wantHealthy(t, s)

	// It is wanted again meanwhile.
	both := r.lines("server a "+a.address+cuts, "server b "+b.address)
	r.apply(s, both, sdk.ActionRuntime)
	r.wantAnswers("a b")
	r.apply(s, r.lines("server b "+b.address), sdk.ActionRuntime)
	r.wantAnswers("b")

	seen := s.observedTimes()
	eventually(t, "draining servers were observed", func() bool { return s.observedTimes() > seen+1 })
	close(a.open)
	if got := answer(); got != "a" {
		t.Errorf("the request that was under way was answered by %q", got)
	}
	eventually(t, "a is gone", func() bool { return r.servers(s, "app") == "b" })
	r.apply(s, both, sdk.ActionRuntime)
	r.wantAnswers("a b")
}

func TestDraining_TimeoutEndsSessions(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.DrainTimeout = 0
	a, b := r.named("a"), r.named("b")
	defer close(a.open)
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	answer := r.slowly()
	<-a.asked
	r.apply(s, r.lines("server b "+b.address), sdk.ActionRuntime)
	eventually(t, "a is gone", func() bool { return r.servers(s, "app") == "b" })
	if got := answer(); got == "a" {
		t.Errorf("the request that took too long was answered by %q", got)
	}
}

// A server that is wanted again with other options than those of the draining one needs a reload.
func TestDraining_ServerReturnsWithOtherOptions(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	answer := r.slowly()
	<-a.asked
	r.apply(s, r.lines("server b "+b.address), sdk.ActionRuntime)
	result := r.apply(s, r.lines("server a "+a.address+" check", "server b "+b.address), sdk.ActionReload)
	if !strings.Contains(result.Reason, "while it is draining") {
		t.Errorf("reason %q", result.Reason)
	}
	close(a.open)
	if got := answer(); got != "a" {
		t.Errorf("the request that was under way was answered by %q", got)
	}
	r.wantAnswers("a b")
}

// A change that HAProxy refuses is undone and reported, and needs a reload. Later changes of that backend are not tried at run
// time.
func TestRuntimeChange_Refused(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	pem := filepath.Join(r.dir, "own.pem")
	check(t, os.WriteFile(pem, certificate(t), 0o600))
	s := r.sink()
	one := "server s1 " + r.backend
	r.apply(s, r.lines(one), sdk.ActionRestart)
	with := r.lines(one, "server s2 "+r.backend+" ssl verify none crt "+pem)
	result := r.apply(s, with, sdk.ActionReload)
	if !strings.Contains(result.Reason, "HAProxy answered") {
		t.Errorf("reason %q", result.Reason)
	}
	r.wantOnDisk(with)
	if got := r.servers(s, "app"); got != "s1 s2" {
		t.Errorf("the servers are %q", got)
	}
}

func TestReloadInterval_ServersDoNotWait(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.ReloadInterval = time.Hour
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	before := r.lines("server a "+a.address, "option httplog")
	r.apply(s, before, sdk.ActionReload) // the first at once
	worker := r.running(s).Worker

	more := edited(r.lines("server b "+b.address, "option httplog"), "maxconn 100", "maxconn 200")
	for range 3 {
		_, err := s.Apply(t.Context(), more)
		if !errors.Is(err, sdk.ErrDeferred) {
			t.Fatalf("a reload that comes too soon: %v", err)
		}
		wantError(t, err, "maxconn 100 changed to maxconn 200")
		r.wantAnswers("b")
		wantHealthy(t, s)
	}
	r.awaitDisk(r.lines("server b "+b.address, "option httplog")) // what runs, and nothing else
	if now := r.running(s).Worker; now != worker {
		t.Error("HAProxy was reloaded all the same")
	}

	bad := edited(more, "option httplog", "bogus")
	if _, err := s.Apply(t.Context(), bad); !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("a document that will never do need not wait for its turn: %v", err)
	}

	s.change.Lock()
	s.reloadLimit.last = s.reloadLimit.last.Add(-time.Hour)
	s.change.Unlock()
	r.apply(s, more, sdk.ActionReload)
	r.wantOnDisk(more)
	r.wantAnswers("b")
}

// HAProxy looks up host names when it starts, and not when a server is added, so that the sink has to.
func TestRuntimeChange_HostnamesAreResolved(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	b := r.named("b")
	s := r.sink()
	addresses := []string{"127.0.0.1"}
	s.resolver.Lookup = func(_ context.Context, network, host string) ([]netip.Addr, error) {
		if network != "ip" || host != "localhost" {
			t.Errorf("looked up %s %s", network, host)
		}
		var all []netip.Addr
		for _, address := range addresses {
			all = append(all, netip.MustParseAddr(address))
		}
		return all, nil
	}
	r.apply(s, r.lines(), sdk.ActionRestart)
	_, port, err := net.SplitHostPort(b.address)
	check(t, err)
	r.apply(s, r.lines("server b localhost:"+port), sdk.ActionRuntime)
	r.wantAnswers("b")
	for _, several := range [][]string{{"127.0.0.1", "::1"}, nil} {
		r.apply(s, r.lines(), sdk.ActionRuntime)
		eventually(t, "b is gone", func() bool { return r.servers(s, "app") == "" })
		addresses = several
		awaitExpiry(t, s, "localhost")
		result := r.apply(s, r.lines("server b localhost:"+port), sdk.ActionReload)
		if !strings.Contains(result.Reason, fmt.Sprintf("has %d addresses", len(several))) {
			t.Errorf("reason %q", result.Reason)
		}
		r.wantAnswers("b")
	}
}

func TestRuntimeChange_MaxConnOfManyBackends(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	with := func(bound string) sdk.Document {
		var more []string
		for i := range 100 {
			more = append(more, fmt.Sprintf("backend b%d\n    server x %s%s", i, r.backend, bound))
		}
		return r.document("one", more...)
	}
	r.apply(s, with(" maxconn 5"), sdk.ActionRestart)
	r.apply(s, with(""), sdk.ActionRuntime)
	loads, err := runtimeapi.ParseLoads(r.ask(s, "show stat -1 4 -1")[0])
	check(t, err)
	for id, load := range loads {
		if load.MaxConn != 0 {
			t.Fatalf("%s is still bound by %d", id, load.MaxConn)
		}
	}
}

// A backend that HAProxy refuses to change does not make the others wait for the reload.
func TestPartialUpdate_RefusedBackend(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.ReloadInterval = time.Hour
	pem := filepath.Join(r.dir, "own.pem")
	check(t, os.WriteFile(pem, certificate(t), 0o600))
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address, "backend other"), sdk.ActionRestart)
	r.apply(s, r.lines("server a "+a.address, "option httplog", "backend other"), sdk.ActionReload)
	_, err := s.Apply(t.Context(), r.lines("server b "+b.address, "option httplog", "backend other",
		"server x "+r.backend+" ssl verify none crt "+pem))
	if !errors.Is(err, sdk.ErrDeferred) {
		t.Fatalf("got %v", err)
	}
	r.wantAnswers("b")
}

// A server with a new address does not keep the check state of the old one.
func TestRuntimeChange_AddressOfAServerThatIsDown(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	b := r.named("b")
	s := r.sink()
	const checks = " check inter 50ms fall 1 rise 1000"
	port, free := occupy(t)
	free()
	r.apply(s, r.lines(fmt.Sprintf("server b 127.0.0.1:%d", port)+checks), sdk.ActionRestart)
	eventually(t, "it is down", func() bool { return r.answeredBy() == "503 Service Unavailable" })
	r.apply(s, r.lines("server b "+b.address+checks), sdk.ActionRuntime)
	r.wantAnswers("b")
}

// After a failed reload the master's prompt is another one.
func TestRuntimeChange_AfterAFailedReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	port, free := occupy(t)
	taken := fmt.Sprintf("frontend other\n    bind 127.0.0.1:%d-%d", port, port)
	_, err := s.Apply(t.Context(), r.lines("server a "+a.address, taken))
	wantError(t, err, "HAProxy")
	free()
	r.apply(s, r.lines("server b "+b.address), sdk.ActionRuntime)
	r.wantAnswers("b")
}
