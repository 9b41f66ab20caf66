package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A streamClient reads the events of a server over a connection of its own.
type streamClient struct {
	t    *testing.T
	resp *http.Response
	text *bufio.Reader
}

// openStream requests events. headers are names and values.
func (s *runningServer) openStream(t *testing.T, headers ...string) *streamClient {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client(t, nil).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &streamClient{t, resp, bufio.NewReader(resp.Body)}
}

// block returns the next lines until an empty one, and the error that ended the stream.
func (c *streamClient) block() (string, error) {
	var block strings.Builder
	for {
		line, err := c.text.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == "\n" {
			return block.String(), nil
		}
		block.WriteString(line)
	}
}

// next returns the next event.
func (c *streamClient) next() receivedEvent {
	c.t.Helper()
	for {
		block, err := c.block()
		if err != nil {
			c.t.Fatal(err)
		}
		if events, _ := parseEvents(block + "\n\n"); len(events) > 0 {
			return events[0]
		}
	}
}

// wantEnd fails the test unless the server ends the stream in an orderly way.
func (c *streamClient) wantEnd() {
	c.t.Helper()
	for {
		if _, err := c.block(); err != nil {
			if !errors.Is(err, io.EOF) {
				c.t.Errorf("the stream ended with %v", err)
			}
			return
		}
	}
}

// openStreams returns how many streams the server has.
func (s *testServer) openStreams() int {
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	return len(s.streams.open)
}

// waitForStreams waits until the server has that many streams.
func (s *testServer) waitForStreams(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); s.openStreams() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d streams are open, want %d", s.openStreams(), n)
		}
	}
}

func TestEventStream_SendsEvents(t *testing.T) {
	s := newTestServer(t, true)
	running := serve(t, s)
	stream := running.openStream(t)
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no",
	} {
		if got := stream.resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	first, err := stream.block()
	if err != nil || !strings.HasPrefix(first, "retry: ") || !strings.Contains(first, "\nid: "+s.cfg.Events.epoch+"-") {
		t.Errorf("the stream begins with %q, %v", first, err)
	}
	s.emit() // makes the engine publish the status
	for event := stream.next(); event.kind != eventStatus || event.data != `{"pipeline":"haproxy"}`; event = stream.next() {
	}
	s.cfg.Events.add(1)
	for event := stream.next(); event.kind != eventChange; event = stream.next() {
	}
}

// Clients learn that the configuration was reloaded, or could not be, when the status has that.
func TestEventStream_ConfigurationReload(t *testing.T) {
	s := newTestServer(t, true)
	stream := serve(t, s).openStream(t)
	s.waitForStreams(t, 1)
	waitForDaemon := func() {
		t.Helper()
		for event := stream.next(); event.kind != eventStatus || event.data != `{"pipeline":""}`; event = stream.next() {
		}
	}
	s.SetConfigurationError(errors.New("line 1"))
	waitForDaemon()
	if _, body := s.ask("GET", "/api/v1/status"); !strings.Contains(body, "line 1") {
		t.Errorf("the status is %s", body)
	}
	s.SetConfiguration("file", time.Now())
	waitForDaemon()
}

func TestEventStream_Burst(t *testing.T) {
	s := newTestServer(t, true)
	stream := serve(t, s).openStream(t)
	s.waitForStreams(t, 1)
	const n = maxEvents - 100 // events of the status are kept too, before the client has read the first one
	for g := range uint64(n) {
		s.cfg.Events.add(g)
	}
	for g := range uint64(n) {
		event := stream.next()
		for event.kind == eventStatus {
			event = stream.next()
		}
		if got := event.generation(t); got != g {
			t.Fatalf("event %d has the generation %d", g, got)
		}
	}
}

// A connection that breaks anywhere, even within an event, costs no event, and none is received twice.
func TestEventStream_ResumesAfterBrokenConnections(t *testing.T) {
	s := newTestServer(t, true)
	running := serve(t, s)
	random := rand.New(rand.NewPCG(1, 2))
	const total = 2000
	added, want, lastID := uint64(0), uint64(1), ""
	for want <= total {
		header := ""
		if lastID != "" {
			header = "Last-Event-ID: " + lastID + "\r\n"
		}
		conn := running.conn(t, "GET /api/v1/events HTTP/1.1\r\nHost: x\r\n"+header+"\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		var text []byte
		if lastID == "" { // wait for the first id
			for !strings.Contains(string(text), "\n\n") {
				text = append(text, make([]byte, 1)...)
				if _, err := io.ReadFull(resp.Body, text[len(text)-1:]); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range random.Uint64N(min(200, total-added+1, want+maxEvents-100-added)) {
			added++
			s.cfg.Events.add(added)
		}
		if want <= added {
			part := make([]byte, 1+random.IntN(20_000))
			_ = conn.SetReadDeadline(time.Now().Add(time.Duration(1+random.IntN(20)) * time.Millisecond))
			n, _ := io.ReadFull(resp.Body, part)
			text = append(text, part[:n]...)
		}
		_ = conn.Close()
		_ = resp.Body.Close()
		events, id := parseEvents(string(text))
		if id != "" {
			lastID = id
		}
		for _, event := range events {
			if event.kind == eventStatus {
				continue
			}
			if got := event.generation(t); got != want {
				t.Fatalf("got event %d, want %d", got, want)
			}
			want++
		}
	}
	s.waitForStreams(t, 0)
}

func TestEventStream_LastEventIDAsParameter(t *testing.T) {
	s := newTestServer(t, true)
	running := serve(t, s)
	s.cfg.Events.add(1)
	before, _ := s.cfg.Events.latest()
	s.cfg.Events.add(2)
	conn := running.conn(t, "GET /api/v1/events?last_event_id="+s.cfg.Events.id(before)+" HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer conn.Close() // else the body is read to its end
	stream := &streamClient{t, resp, bufio.NewReader(resp.Body)}
	event := stream.next()
	for event.kind == eventStatus {
		event = stream.next()
	}
	if got := event.generation(t); got != 2 {
		t.Errorf("got the event %d, want 2", got)
	}
	if event := running.openStream(t, "Last-Event-ID", "x-1").next(); event.kind != eventReset {
		t.Errorf("an unknown id: got %+v", event)
	}
}

// Neither a push, nor the engine, nor another reader waits for a client that does not read, and it is disconnected.
func TestEventStream_ClientThatDoesNotReadIsDisconnected(t *testing.T) {
	s := newTestServer(t, true)
	s.limits.eventWrite = 2 * time.Second // the client that reads must not seem to be silent because the machine is busy
	running := serve(t, s)
	const silent = 5
	for range silent {
		conn := running.conn(t, "")
		if err := conn.(*net.TCPConn).SetReadBuffer(1); err != nil { // the system uses its least size
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	stream := running.openStream(t)
	s.waitForStreams(t, silent+1)
	large := history.Change{Outcome: history.OutcomeApplied, Details: []string{strings.Repeat("x", maxEventBytes-100)}}
	c := client(t, nil)
	for n := uint64(1); s.openStreams() > 1; n++ {
		large.Generation = n
		s.cfg.Events.Changed("p", large)
		event := stream.next()
		for event.kind == eventStatus {
			event = stream.next()
		}
		if got := event.generation(t); got != n {
			t.Fatalf("got event %d, want %d", got, n)
		}
		if code, body, _ := fetch(c, http.MethodPost, "http://"+running.address+"/update"); code != http.StatusOK {
			t.Fatalf("a push: %d %s", code, body)
		}
	}
}

func TestEventStream_OutlivesTheDeadlinesOfRequests(t *testing.T) {
	s := newTestServer(t, true)
	const deadline = 2 * time.Second
	s.limits.read, s.limits.write, s.limits.heartbeat = deadline, deadline, deadline/2
	stream := serve(t, s).openStream(t)
	for heartbeats := 0; heartbeats < 3; {
		block, err := stream.block()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(block, ":") {
			heartbeats++
		}
	}
}

func TestEventStream_Limits(t *testing.T) {
	s := newTestServer(t, true)
	s.limits.streams, s.limits.streamsPerClient = 3, 2
	running := serve(t, s)
	open := func(client byte) (net.Conn, string) {
		request := "GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n"
		conn := running.dialFrom(t, net.IPv4(127, 0, 4, client), request)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return conn, strings.TrimSpace(line)
	}
	const ok, busy = "HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"
	first, got := open(1)
	for i, test := range []struct {
		client byte
		want   string
	}{{1, ok}, {1, busy}, {2, ok}, {3, busy}} {
		if _, got := open(test.client); got != test.want {
			t.Errorf("stream %d, of client %d: %s, want %s", i+2, test.client, got, test.want)
		}
	}
	if got != ok {
		t.Errorf("the first stream: %s", got)
	}
	_ = first.Close()
	s.waitForStreams(t, 2)
	if _, got := open(3); got != ok {
		t.Errorf("after another stream has ended: %s", got)
	}
	s.want(t, http.MethodGet, "/api/v1/events", 503, `{"errors":["too many clients are reading events: ask again in a moment"]}`)
}

func TestEventStream_EndsWithTheServer(t *testing.T) {
	s := newTestServer(t, true)
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, listener) }()
	running := &runningServer{s, listener.Addr().String()}
	streams := []*streamClient{running.openStream(t), running.openStream(t)}
	s.waitForStreams(t, len(streams))
	cancel()
	for _, stream := range streams {
		stream.wantEnd() // a connection that is closed after the timeout of the shutdown ends with another error
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestEventStream_EndsWhenItIsNoLongerAuthorized(t *testing.T) {
	const token = "correct horse"
	s := newTestServer(t, true)
	running := serve(t, s)
	anonymous := running.openStream(t)
	authenticated := running.openStream(t, "Authorization", "Bearer "+token)
	s.waitForStreams(t, 2)
	policy, err := NewAccessPolicy(AccessConfig{Token: token, ProtectReads: true})
	if err != nil {
		t.Fatal(err)
	}
	s.SetAccessPolicy(policy)
	anonymous.wantEnd()
	s.cfg.Events.add(1)
	for event := authenticated.next(); event.kind != eventChange; event = authenticated.next() {
	}
	if got := running.openStream(t).resp.StatusCode; got != http.StatusUnauthorized {
		t.Errorf("another stream: %d", got)
	}
}

// The files of the policy may change while it stays in use.
func TestEventStream_EndsWhenItsCertificateIsNoLongerTrusted(t *testing.T) {
	a := newAuthority(t)
	cert, key, _ := a.server()
	cfg := AccessConfig{TLSCert: cert, TLSKey: key, ClientCA: a.write("ca.pem", certPEM(a.cert)), ProtectReads: true}
	server := newServerWithPolicy(t, cfg)
	server.limits.heartbeat = 10 * time.Millisecond
	s := serve(t, server)
	known := client(t, &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{a.client()}})
	known.Timeout = 30 * time.Second
	resp, err := known.Get("https://" + s.address + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.waitForStreams(t, 1)
	a.write("ca.pem", certPEM(newAuthority(t).cert))
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the stream goes on: %v", err)
	}
}

func TestEventStream_Access(t *testing.T) {
	s := newTestServer(t, true)
	policy, err := NewAccessPolicy(AccessConfig{CORSOrigins: []string{"https://board.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	s.SetAccessPolicy(policy)
	for _, test := range []struct {
		name, method, host, origin string
		code                       int
		allowed                    string // Access-Control-Allow-Origin
	}{
		{"HEAD", "HEAD", "localhost", "", 200, ""},
		{"POST", "POST", "localhost", "", 405, ""},
		{"DELETE", "DELETE", "localhost", "", 405, ""},
		{"an unknown host name", "GET", "evil.example.com", "", 403, ""},
		{"an unknown origin", "GET", "localhost", "https://evil.example.com", 403, ""},
		{"an allowed origin", "HEAD", "localhost", "https://board.example.com", 200, "https://board.example.com"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, "/api/v1/events", nil)
			r.Host = test.host
			if test.origin != "" {
				r.Header.Set("Origin", test.origin)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != test.code || got != test.allowed {
				t.Errorf("got %d and allowed origin %q, want %d and %q", w.Code, got, test.code, test.allowed)
			}
			if n := s.openStreams(); n != 0 {
				t.Errorf("%d streams are open", n)
			}
		})
	}
}

// What a service or a program says cannot add lines to the stream.
func TestEventStream_HostileText(t *testing.T) {
	e := NewEvents()
	reader := e.reader("")
	hostile := "x\n\nid: 1\nevent: reset\ndata: {}\r\r\n\u2028\x00</script>"
	e.Changed(hostile, history.Change{Reason: hostile, Event: sdk.EventOther})
	text := string(reader.next(t.Context()))
	lines := slices.Collect(strings.Lines(text))
	if len(lines) != 4 || strings.ContainsAny(strings.Join(lines, ""), "\r\x00\u2028") || lines[3] != "\n" {
		t.Errorf("got %s", fmt.Sprintf("%q", text))
	}
}
