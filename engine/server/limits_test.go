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

// Without the limits these would wait for ever, and the test for its end.
func TestWhoIsSlowIsCutOff(t *testing.T) {
	const short = 20 * time.Millisecond
	for _, test := range []struct {
		name  string
		limit func(*limits)
		say   string
	}{
		{"nothing", func(l *limits) { l.header = short }, ""},
		{"half a header", func(l *limits) { l.header = short }, "GET /live HTTP/1.1\r\nHost: x\r\nX-"},
		{"half a body", func(l *limits) { l.read = short },
			"POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"},
		{"a refused body", func(l *limits) { l.read = short },
			"POST /update HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\nContent-Length: 1000\r\n\r\n{"},
		{"nothing more", func(l *limits) { l.idle, l.read = short, 0 }, readAlive},
	} {
		t.Run(test.name, func(t *testing.T) {
			site := open(t, true)
			test.limit(&site.limits)
			conn := serve(t, site).conn(t, test.say)
			if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) { // until it is closed
				t.Error(err)
			}
		})
	}
}

func TestWhoDoesNotReadIsCutOff(t *testing.T) {
	site := open(t, true)
	site.limits.write = 20 * time.Millisecond
	ended := make(chan error)
	site.mux.HandleFunc("GET /endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				ended <- err
				return
			}
		}
	})
	serve(t, site).conn(t, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	s := serve(t, open(t, true))
	conn := s.conn(t, "GET /live HTTP/1.1\r\nHost: x\r\n")
	go func() { _, _ = io.WriteString(conn, "X: "+strings.Repeat("x", 100<<10)+"\r\n\r\n") }()
	if got := status(t, conn); got != "431 Request Header Fields Too Large" {
		t.Errorf("got %s", got)
	}
}

// counting counts the connections that are open.
type counting struct {
	net.Listener
	open, most atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if n := l.open.Add(1); n > l.most.Load() {
		l.most.Store(n)
	}
	return &counted{Conn: conn, on: l}, nil
}

type counted struct {
	net.Conn
	on     *counting
	closed atomic.Bool
}

func (c *counted) Close() error {
	if !c.closed.Swap(true) {
		c.on.open.Add(-1)
	}
	return c.Conn.Close()
}

func TestConnectionsAreBounded(t *testing.T) {
	site := open(t, true)
	site.limits.connections, site.limits.reserve = 2, 0
	tcp, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := &counting{Listener: tcp}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- site.Serve(ctx, listener) }()
	s := &serving{site, tcp.Addr().String()}
	var conns []net.Conn
	for range 6 {
		conns = append(conns, s.conn(t, readAlive))
	}
	for i, conn := range conns {
		if got := status(t, conn); got != "200 OK" {
			t.Errorf("connection %d: %s", i, got)
		}
		_ = conn.Close() // lets the next one but one in
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if most := listener.most.Load(); most > 3 {
		t.Errorf("%d connections were open at once, want 2 and one that waits", most)
	}
}

// A stream of events outlives the limit for answers by moving its own.
func TestAnAnswerCanMoveItsDeadline(t *testing.T) {
	site := open(t, true)
	site.limits.write = 20 * time.Millisecond
	site.mux.HandleFunc("GET /stream", func(w http.ResponseWriter, _ *http.Request) {
		control := http.NewResponseController(w)
		if err := control.SetWriteDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		for n := range 3 {
			time.Sleep(site.limits.write)
			fmt.Fprintln(w, n)
			if err := control.Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	s := serve(t, site)
	if code, body, _ := fetch(client(t, nil), "GET", "http://"+s.address+"/stream"); code != 200 || body != "0\n1\n2" {
		t.Errorf("got %d %q", code, body)
	}
}

// slowReader takes an answer when it is let go on.
type slowReader struct {
	*httptest.ResponseRecorder
	reads, goOn chan struct{}
}

func (r slowReader) Write(content []byte) (int, error) {
	r.reads <- struct{}{}
	<-r.goOn
	return r.ResponseRecorder.Write(content)
}

// readSlowly has n clients begin to read the state, and returns what waits until they have when goOn is closed.
func (s *site) readSlowly(n int, goOn chan struct{}) (wait func()) {
	var readers sync.WaitGroup
	reads := make(chan struct{})
	for range n {
		readers.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "/state", nil)
			r.Host = "localhost"
			s.ServeHTTP(slowReader{httptest.NewRecorder(), reads, goOn}, r)
		})
	}
	for range n {
		<-reads
	}
	return readers.Wait
}

func TestState_SlowReadersShareOneCopy(t *testing.T) {
	site := open(t, true)
	site.emit()
	var encoded atomic.Int64
	site.states.encode = func(w io.Writer, _ sdk.Snapshot) error {
		encoded.Add(1)
		_, err := io.WriteString(w, "state")
		return err
	}
	goOn := make(chan struct{})
	wait := site.readSlowly(200, goOn)
	site.want(t, "GET", "/state", 200, "state")
	if n := encoded.Load(); n != 1 {
		t.Errorf("encoded %d times for 201 clients", n)
	}
	close(goOn)
	wait()
	if site.states.newest != nil || len(site.states.slots) != 0 {
		t.Error("the copy is kept though nobody reads it")
	}
	site.want(t, "GET", "/state.json", 200, "state")
}

func TestState_OnlyAFewDifferentOnesAreHeld(t *testing.T) {
	site := open(t, true)
	site.limits.turn = 20 * time.Millisecond
	goOn := make(chan struct{})
	var waits []func()
	next := func(n int) {
		site.source.snapshots <- sdk.Snapshot{Source: "sidecar", Cluster: fmt.Sprint(n), Taken: time.Now()}
		for snap, _ := site.cfg.Engine.Snapshot("sidecar"); snap.Cluster != fmt.Sprint(n); {
			time.Sleep(time.Millisecond)
			snap, _ = site.cfg.Engine.Snapshot("sidecar")
		}
	}
	for n := range site.limits.states {
		next(n)
		waits = append(waits, site.readSlowly(2, goOn))
	}
	next(site.limits.states)
	for _, path := range []string{"/state", "/state.json", "/api/state.json"} {
		site.want(t, "GET", path, 503, `{"errors":["`+errTooManyStates.Error()+`"]}`)
	}
	close(goOn)
	for _, wait := range waits {
		wait()
	}
	site.want(t, "GET", "/state", 200, `{"ClusterName":"8"}`)
}

// A state of which a part cannot be encoded is not sent as far as it went.
func TestState_IsNeverSentInPart(t *testing.T) {
	site := open(t, true)
	site.emit()
	site.states.encode = func(w io.Writer, _ sdk.Snapshot) error {
		_, _ = io.WriteString(w, "half a state")
		return errors.New("no")
	}
	if code, body := site.ask("GET", "/state"); code != 500 || strings.Contains(body, "half") {
		t.Errorf("got %d %s", code, body)
	}
}

func TestNobodyTakesAllConnections(t *testing.T) {
	site := open(t, true)
	site.limits.share, site.limits.reserve, site.limits.grace = 2, 0, time.Hour
	s := serve(t, site)
	first, second := s.conn(t, readAlive), s.conn(t, readAlive)
	for _, conn := range []net.Conn{first, second} {
		if got := status(t, conn); got != "200 OK" {
			t.Errorf("within the share: %s", got)
		}
	}
	if got := firstLine(s.conn(t, "")); got != "" {
		t.Errorf("beyond the share: %s", got)
	}
	elsewhere := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	other, err := elsewhere.DialContext(t.Context(), "tcp", s.address)
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
	for firstLine(s.conn(t, "")) == "" { // until the server has noticed
	}
}

// dialFrom connects from another address of loopback.
func (s *serving) dialFrom(t *testing.T, ip net.IP, say string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
	conn, err := dialer.DialContext(t.Context(), "tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, say); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Connections that are kept open for nothing keep nobody out, neither before their first request nor after it.
func TestConnections_IdleOnesAreClosedFirst(t *testing.T) {
	site := open(t, true)
	site.limits.connections, site.limits.share, site.limits.reserve, site.limits.grace = 8, 2, 0, 0
	s := serve(t, site)
	for n := range 4 {
		attacker := net.IPv4(127, 0, 1, byte(1+n))
		s.dialFrom(t, attacker, "")
		if got := status(t, s.dialFrom(t, attacker, readAlive)); got != "200 OK" {
			t.Errorf("address %d: %s", n, got)
		}
	}
	first := s.dialFrom(t, net.IPv4(127, 0, 2, 1), readAlive)
	if got := status(t, first); got != "200 OK" {
		t.Errorf("another address: %s", got)
	}
	// Of a client that has its share, its own are closed; and those of the one with most before the only one of another.
	for range 5 {
		if got := status(t, s.dialFrom(t, net.IPv4(127, 0, 1, 1), readAlive)); got != "200 OK" {
			t.Errorf("a client with its share: %s", got)
		}
	}
	if _, err := io.WriteString(first, readAlive); err != nil || status(t, first) != "200 OK" {
		t.Errorf("the only connection of a client was closed: %v", err)
	}
}

func TestConnections_AFewAreReservedForProbesAndPushes(t *testing.T) {
	site := open(t, true)
	site.limits.connections, site.limits.share, site.limits.reserve, site.limits.grace = 2, 2, 4, 0
	busy, goOn := make(chan struct{}), make(chan struct{})
	site.mux.HandleFunc("GET /busy", func(http.ResponseWriter, *http.Request) { busy <- struct{}{}; <-goOn })
	s := serve(t, site)
	for range 2 {
		s.dialFrom(t, net.IPv4(127, 0, 3, 1), "GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
		<-busy
	}
	for request, want := range map[string]string{
		"GET /live": "200 OK", "GET /health": "200 OK", "POST /update": "200 OK",
		"GET /metrics": "503 Service Unavailable",
	} {
		conn := s.dialFrom(t, net.IPv4(127, 0, 3, 2), request+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if got := status(t, conn); got != want {
			t.Errorf("%s while all connections are busy: %s, want %s", request, got, want)
		}
	}
	close(goOn)
}

// firstLine returns that of the answer, and nothing from a connection that is closed instead, perhaps before we could ask.
func firstLine(conn net.Conn) string {
	_, _ = io.WriteString(conn, readAlive)
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

func TestAHouseholdIsOneOfThePeers(t *testing.T) {
	for peer, want := range map[string]string{
		"192.0.2.7:1": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::",
		"[fe80::1%eth0]:1": "fe80::",
	} {
		if got := clientOf(peer).String(); got != want {
			t.Errorf("%s counts as %s, want %s", peer, got, want)
		}
	}
}
