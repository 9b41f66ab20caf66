package haproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// A recorder is all servers of the random documents at once: it listens on two ports of every loopback address and records
// each connection. A connection with a request for /probe carries traffic, every other one is a health check.
type recorder struct {
	main, other int // the ports
	tls         *tls.Config
	listeners   []net.Listener
	conns       chan net.Conn
	ctx         context.Context //nolint:containedctx // requests that are held end with the recorder
	cancel      context.CancelFunc

	mu      sync.Mutex
	live    map[string]*recorded // by local and remote address
	checks  map[string]checked   // by local address
	release chan struct{}        // closed to let the requests that are held end
	serial  int
}

// checked is what a server has seen of its health checks.
type checked struct {
	form  string // of the last one
	count int
}

// A recorded connection begins with what comes before its first request.
type recorded struct {
	net.Conn
	in       *bufio.Reader
	recorder *recorder
	id       int
	preface  string // the PROXY header and the TLS handshake, human-readable
	requests int
	check    string // the request of a check
	once     sync.Once
}

func newRecorder(t *testing.T, pem []byte) *recorder {
	t.Helper()
	pair, err := tls.X509KeyPair(pem, pem)
	check(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &recorder{conns: make(chan net.Conn), ctx: ctx, cancel: cancel, live: map[string]*recorded{},
		checks: map[string]checked{}, release: make(chan struct{})}
	r.tls = &tls.Config{
		Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"},
		MinVersion: tls.VersionTLS10, // which version HAProxy asks for is what is recorded
		ClientAuth: tls.RequestClientCert,
	}
	server := &http.Server{
		Handler: r, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: r.tls, Protocols: &http.Protocols{},
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	var serving sync.WaitGroup
	r.main, r.other = r.listen(t, &serving), r.listen(t, &serving)
	serving.Go(func() { _ = server.Serve(r) })
	t.Cleanup(func() {
		cancel()
		for _, listener := range r.listeners {
			_ = listener.Close()
		}
		_ = server.Close()
		r.mu.Lock()
		for _, conn := range r.live {
			_ = conn.Conn.Close()
		}
		r.mu.Unlock()
		serving.Wait()
	})
	return r
}

func (r *recorder) listen(t *testing.T, serving *sync.WaitGroup) int {
	t.Helper()
	listener, err := net.Listen("tcp4", "0.0.0.0:0") // of which only 127.0.0.0/8 is served
	check(t, err)
	r.listeners = append(r.listeners, listener)
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.open(conn) })
		}
	})
	return listener.Addr().(*net.TCPAddr).Port
}

// open reads what comes before the first request and passes the connection on.
func (r *recorder) open(conn net.Conn) {
	if !conn.LocalAddr().(*net.TCPAddr).IP.IsLoopback() {
		_ = conn.Close()
		return
	}
	c := &recorded{Conn: conn, in: bufio.NewReader(conn), recorder: r}
	r.mu.Lock()
	r.serial++
	c.id = r.serial
	r.live[keyOf(conn.LocalAddr().String(), conn.RemoteAddr().String())] = c
	r.mu.Unlock()
	source, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	c.describe("from " + source + c.proxyHeader())
	var handed net.Conn = c
	if first, err := c.in.Peek(1); err != nil {
		_ = c.Close()
		return
	} else if first[0] == 0x16 {
		config := r.tls.Clone()
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c.describe(describeHello(hello))
			return nil, nil
		}
		config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
			c.describe(fmt.Sprintf(" with %d certificates", len(raw)))
			return nil
		}
		handed = tls.Server(c, config)
	}
	select {
	case r.conns <- handed:
	case <-r.ctx.Done():
		_ = c.Close()
	}
}

func keyOf(local, remote string) string { return local + " " + remote }

// describe adds to the description of the connection before its first request.
func (c *recorded) describe(text string) {
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	c.preface += text
}

func (c *recorded) Read(p []byte) (int, error) { return c.in.Read(p) }

// Close records a connection without traffic as a check.
func (c *recorded) Close() error {
	c.once.Do(func() {
		r := c.recorder
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.live, keyOf(c.LocalAddr().String(), c.RemoteAddr().String()))
		if c.requests == 0 {
			was := r.checks[c.LocalAddr().String()]
			r.checks[c.LocalAddr().String()] = checked{c.preface + c.check, was.count + 1}
		}
	})
	return c.Conn.Close()
}

// ServeHTTP answers a probe with the description of its connection, and /probe/held only when held requests are released.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	local := req.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
	r.mu.Lock()
	c, release := r.live[keyOf(local, req.RemoteAddr)], r.release
	if c == nil {
		r.mu.Unlock()
		return
	}
	probe := strings.HasPrefix(req.URL.Path, "/probe")
	if probe {
		c.requests++
	} else {
		c.check = fmt.Sprintf(" %s %s %s host %q", req.Method, req.URL, req.Proto, req.Host)
	}
	header := w.Header()
	header.Set("X-Server", local)
	header.Set("X-Connection", fmt.Sprint(c.id))
	header.Set("X-Form", c.preface+" "+req.Proto)
	r.mu.Unlock()
	switch req.URL.Path {
	case "/probe/held":
		select {
		case <-release:
		case <-req.Context().Done():
		}
	case "/probe/failed":
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// releaseHeld answers all held requests.
func (r *recorder) releaseHeld() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.release)
	r.release = make(chan struct{})
}

// forgetChecks resets the counts of checks. The description of the last one is kept, for servers that are checked rarely, but not
// those of servers whose address has that prefix.
func (r *recorder) forgetChecks(prefix string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for address, c := range r.checks {
		if strings.HasPrefix(address, prefix) {
			delete(r.checks, address)
		} else {
			r.checks[address] = checked{form: c.form}
		}
	}
}

// checksOf returns what was recorded of the servers whose address has that prefix, by the rest of the address.
func (r *recorder) checksOf(prefix string) map[string]checked {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := map[string]checked{}
	for address, c := range r.checks {
		if rest, ours := strings.CutPrefix(address, prefix); ours {
			c.form = strings.ReplaceAll(c.form, prefix, commonPrefix)
			of[rest] = c
		}
	}
	return of
}

// Accept implements net.Listener for the recorder's own server.
func (r *recorder) Accept() (net.Conn, error) {
	select {
	case conn := <-r.conns:
		return conn, nil
	case <-r.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close does nothing: the listeners are closed separately.
func (r *recorder) Close() error { return nil }

// Addr is not used.
func (r *recorder) Addr() net.Addr { return r.listeners[0].Addr() }
