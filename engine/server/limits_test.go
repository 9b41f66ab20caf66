package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const readAlive = "GET /live HTTP/1.1\r\nHost: x\r\n\r\n"

// Without the limits the connections would stay open, and the test would time out.
func TestLimits_SlowClientsAreDisconnected(t *testing.T) {
	const short = 20 * time.Millisecond
	for _, test := range []struct {
		name  string
		limit func(*limits)
		sent  string
	}{
		{"nothing", func(l *limits) { l.header = short }, ""},
		{"half a header", func(l *limits) { l.header = short }, "GET /live HTTP/1.1\r\nHost: x\r\nX-"},
		{"half a body", func(l *limits) { l.read = short },
			"POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"},
		{"the body of a denied request", func(l *limits) { l.read = short },
			"POST /update HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\nContent-Length: 1000\r\n\r\n{"},
		{"no second request", func(l *limits) { l.idle, l.read = short, 0 }, readAlive},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTestServer(t, true)
			test.limit(&s.limits)
			conn := serve(t, s).conn(t, test.sent)
			if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) { // until it is closed
				t.Error(err)
			}
		})
	}
}

func TestLimits_ClientsThatDoNotReadAreDisconnected(t *testing.T) {
	s := newTestServer(t, true)
	s.limits.write = 20 * time.Millisecond
	ended := make(chan error)
	s.mux.HandleFunc("GET /endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				ended <- err
				return
			}
		}
	})
	serve(t, s).conn(t, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestLimits_Headers(t *testing.T) {
	s := serve(t, newTestServer(t, true))
	conn := s.conn(t, "GET /live HTTP/1.1\r\nHost: x\r\n")
	go func() { _, _ = io.WriteString(conn, "X: "+strings.Repeat("x", 100<<10)+"\r\n\r\n") }()
	if got := status(t, conn); got != "431 Request Header Fields Too Large" {
		t.Errorf("got %s", got)
	}
}

// countingListener counts the open connections.
type countingListener struct {
	net.Listener
	open, most atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if n := l.open.Add(1); n > l.most.Load() {
		l.most.Store(n)
	}
	return &countedConn{Conn: conn, on: l}, nil
}

type countedConn struct {
	net.Conn
	on     *countingListener
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if !c.closed.Swap(true) {
		c.on.open.Add(-1)
	}
	return c.Conn.Close()
}

func TestPerClientListener_TotalLimit(t *testing.T) {
	s := newTestServer(t, true)
	s.limits.connections, s.limits.reserve = 2, 0
	tcp, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := &countingListener{Listener: tcp}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, listener) }()
	running := &runningServer{s, tcp.Addr().String()}
	var conns []net.Conn
	for range 6 {
		conns = append(conns, running.conn(t, readAlive))
	}
	for i, conn := range conns {
		if got := status(t, conn); got != "200 OK" {
			t.Errorf("connection %d: %s", i, got)
		}
		_ = conn.Close() // makes room for another one
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if most := listener.most.Load(); most > 3 {
		t.Errorf("%d connections were open at once, want 2 and one that is waiting", most)
	}
}

func TestLimits_StreamsExtendTheirDeadline(t *testing.T) {
	s := newTestServer(t, true)
	s.limits.write = 20 * time.Millisecond
	s.mux.HandleFunc("GET /stream", func(w http.ResponseWriter, _ *http.Request) {
		control := http.NewResponseController(w)
		if err := control.SetWriteDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		for n := range 3 {
			time.Sleep(s.limits.write)
			fmt.Fprintln(w, n)
			if err := control.Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	running := serve(t, s)
	if code, body, _ := fetch(client(t, nil), "GET", "http://"+running.address+"/stream"); code != 200 || body != "0\n1\n2" {
		t.Errorf("got %d %q", code, body)
	}
}

// slowReader blocks each write until resume is closed.
type slowReader struct {
	*httptest.ResponseRecorder
	reads, resume chan struct{}
}

func (r slowReader) Write(content []byte) (int, error) {
	r.reads <- struct{}{}
	<-r.resume
	return r.ResponseRecorder.Write(content)
}

// readSlowly starts n clients that read the state until resume is closed. wait waits for their end.
func (s *testServer) readSlowly(n int, resume chan struct{}) (wait func()) {
	var readers sync.WaitGroup
	reads := make(chan struct{})
	for range n {
		readers.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "/state", nil)
			r.Host = "localhost"
			s.ServeHTTP(slowReader{httptest.NewRecorder(), reads, resume}, r)
		})
	}
	for range n {
		<-reads
	}
	return readers.Wait
}

func TestState_SlowReadersShareOneCopy(t *testing.T) {
	s := newTestServer(t, true)
	s.emit()
	var encoded atomic.Int64
	s.states.encode = func(w io.Writer, _ sdk.Snapshot) error {
		encoded.Add(1)
		_, err := io.WriteString(w, "state")
		return err
	}
	resume := make(chan struct{})
	wait := s.readSlowly(200, resume)
	s.want(t, "GET", "/state", 200, "state")
	if n := encoded.Load(); n != 1 {
		t.Errorf("encoded %d times for 201 clients", n)
	}
	close(resume)
	wait()
	if s.states.newest != nil || len(s.states.slots) != 0 {
		t.Error("the copy is kept although nobody reads it")
	}
	s.want(t, "GET", "/state.json", 200, "state")
}

func TestState_LimitsCopies(t *testing.T) {
	s := newTestServer(t, true)
	s.limits.stateCopyWait = 20 * time.Millisecond
	resume := make(chan struct{})
	var waits []func()
	next := func(n int) {
		s.source.snapshots <- sdk.Snapshot{Source: "sidecar", Cluster: fmt.Sprint(n), Taken: time.Now()}
		for snap, _ := s.cfg.Engine.Snapshot("sidecar"); snap.Cluster != fmt.Sprint(n); {
			time.Sleep(time.Millisecond)
			snap, _ = s.cfg.Engine.Snapshot("sidecar")
		}
	}
	for n := range s.limits.stateCopies {
		next(n)
		waits = append(waits, s.readSlowly(2, resume))
	}
	next(s.limits.stateCopies)
	for _, path := range []string{"/state", "/state.json", "/api/state.json"} {
		s.want(t, "GET", path, 503, `{"errors":["`+errTooManyStates.Error()+`"]}`)
	}
	close(resume)
	for _, wait := range waits {
		wait()
	}
	s.want(t, "GET", "/state", 200, `{"ClusterName":"8"}`)
}

func TestState_EncodingErrorSendsNothing(t *testing.T) {
	s := newTestServer(t, true)
	s.emit()
	s.states.encode = func(w io.Writer, _ sdk.Snapshot) error {
		_, _ = io.WriteString(w, "half a state")
		return errors.New("no")
	}
	if code, body := s.ask("GET", "/state"); code != 500 || strings.Contains(body, "half") {
		t.Errorf("got %d %s", code, body)
	}
}

func TestPerClientListener_LimitPerClient(t *testing.T) {
	s := newTestServer(t, true)
	s.limits.perClient, s.limits.reserve, s.limits.idleGrace = 2, 0, time.Hour
	running := serve(t, s)
	first, second := running.conn(t, readAlive), running.conn(t, readAlive)
	for _, conn := range []net.Conn{first, second} {
		if got := status(t, conn); got != "200 OK" {
			t.Errorf("within the limit: %s", got)
		}
	}
	if got := firstLine(running.conn(t, "")); got != "" {
		t.Errorf("beyond the limit: %s", got)
	}
	elsewhere := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	other, err := elsewhere.DialContext(t.Context(), "tcp", running.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := io.WriteString(other, readAlive); err != nil {
		t.Fatal(err)
	}
	if got := status(t, other); got != "200 OK" {
		t.Errorf("another address: %s", got)
	}
	_ = first.Close()
	for firstLine(running.conn(t, "")) == "" { // until the server has noticed
	}
}

// dialFrom connects from that loopback address and sends request.
func (s *runningServer) dialFrom(t *testing.T, ip net.IP, request string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
	conn, err := dialer.DialContext(t.Context(), "tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Idle connections do not keep other clients out, neither before their first request nor after it.
func TestPerClientListener_ClosesIdleConnectionsFirst(t *testing.T) {
	s := newTestServer(t, true)
	s.limits.connections, s.limits.perClient, s.limits.reserve, s.limits.idleGrace = 8, 2, 0, 0
	running := serve(t, s)
	for n := range 4 {
		attacker := net.IPv4(127, 0, 1, byte(1+n))
		running.dialFrom(t, attacker, "")
		if got := status(t, running.dialFrom(t, attacker, readAlive)); got != "200 OK" {
			t.Errorf("address %d: %s", n, got)
		}
	}
	first := running.dialFrom(t, net.IPv4(127, 0, 2, 1), readAlive)
	if got := status(t, first); got != "200 OK" {
		t.Errorf("another address: %s", got)
	}
	// A client at its limit gets its own connections closed. Those of the client with the most connections are closed before the
	// only one of another client.
	for range 5 {
		if got := status(t, running.dialFrom(t, net.IPv4(127, 0, 1, 1), readAlive)); got != "200 OK" {
			t.Errorf("a client at its limit: %s", got)
		}
	}
	if _, err := io.WriteString(first, readAlive); err != nil || status(t, first) != "200 OK" {
		t.Errorf("the only connection of a client was closed: %v", err)
	}
}

func TestPerClientListener_ReserveForProbesAndPushes(t *testing.T) {
	s := newTestServer(t, true)
	s.limits.connections, s.limits.perClient, s.limits.reserve, s.limits.idleGrace = 2, 2, 4, 0
	busy, resume := make(chan struct{}), make(chan struct{})
	s.mux.HandleFunc("GET /busy", func(http.ResponseWriter, *http.Request) { busy <- struct{}{}; <-resume })
	running := serve(t, s)
	for range 2 {
		running.dialFrom(t, net.IPv4(127, 0, 3, 1), "GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
		<-busy
	}
	for request, want := range map[string]string{
		"GET /live": "200 OK", "GET /health": "200 OK", "POST /update": "200 OK",
		"GET /metrics": "503 Service Unavailable",
	} {
		conn := running.dialFrom(t, net.IPv4(127, 0, 3, 2), request+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if got := status(t, conn); got != want {
			t.Errorf("%s while all connections are busy: %s, want %s", request, got, want)
		}
	}
	close(resume)
}

// firstLine sends a request and returns the first line of the answer, or "" if the connection is closed.
func firstLine(conn net.Conn) string {
	_, _ = io.WriteString(conn, readAlive)
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

func TestClientOf(t *testing.T) {
	for peer, want := range map[string]string{
		"192.0.2.7:1": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::",
		"[fe80::1%eth0]:1": "fe80::",
	} {
		if got := clientOf(peer).String(); got != want {
			t.Errorf("%s counts as %s, want %s", peer, got, want)
		}
	}
}
