package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A stream is one connection through HAProxy that is used without a break until it is ended.
type stream struct {
	what  string
	moved atomic.Int64 // bytes or messages that came back as they should
	end   func()
	err   error // known once end has returned
}

// A sidestream is a backend for streams: /download sends bytes until it is told to end, /socket sends back what it gets.
type sidestream struct{ ended chan struct{} }

// downloaded are the bytes of every download, as many as are wanted.
func downloaded() io.Reader { return rand.NewChaCha8([32]byte{7}) }

func (d sidestream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/download":
		d.send(w)
	case "/socket":
		sendBack(w, r)
	default:
		_, _ = io.WriteString(w, "streams")
	}
}

func (d sidestream) send(w http.ResponseWriter) {
	bytes := downloaded()
	for {
		select {
		case <-d.ended:
			return
		case <-time.After(5 * time.Millisecond): // so much load and no more
		}
		if _, err := io.CopyN(w, bytes, 2000); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
	}
}

// sendBack is a WebSocket as far as HAProxy can tell.
func sendBack(w http.ResponseWriter, r *http.Request) {
	conn, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if r.Header.Get("Upgrade") != "websocket" {
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	_, _ = io.Copy(conn, both)
}

// download reads from /download until the backend ends it, and compares every byte.
func (s *site) download(servicePort int, ended chan struct{}) *stream {
	d := &stream{what: "download"}
	var wg sync.WaitGroup
	wg.Go(func() { d.err = d.compare(fmt.Sprintf("http://%s:%d/download", s.ip, servicePort)) })
	d.end = sync.OnceFunc(func() { close(ended); wg.Wait() })
	s.t.Cleanup(d.end)
	return d
}

func (d *stream) compare(url string) error {
	resp, err := (&http.Client{Transport: &http.Transport{}}).Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, want := make([]byte, 4000), make([]byte, 4000)
	expected := downloaded()
	for {
		n, err := resp.Body.Read(got)
		_, _ = io.ReadFull(expected, want[:n])
		if !bytes.Equal(got[:n], want[:n]) {
			return fmt.Errorf("other bytes than were sent, after %d", d.moved.Load())
		}
		d.moved.Add(int64(n))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// socket exchanges messages with /socket.
func (s *site) socket(servicePort int) *stream {
	s.t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort(s.ip, strconv.Itoa(servicePort)))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &stream{what: "WebSocket"}
	var wg sync.WaitGroup
	wg.Go(func() { m.err = m.exchange(ctx, conn) })
	m.end = sync.OnceFunc(func() { cancel(); wg.Wait(); _ = conn.Close() })
	s.t.Cleanup(m.end)
	return m
}

func (m *stream) exchange(ctx context.Context, conn net.Conn) error {
	_, err := fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", conn.RemoteAddr())
	if err != nil {
		return err
	}
	answers := bufio.NewReader(conn)
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the upgrade was answered with %s", resp.Status)
	}
	for ctx.Err() == nil {
		message := fmt.Sprintf("message %d\n", m.moved.Load())
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, message); err != nil {
			return err
		}
		if answer, err := answers.ReadString('\n'); err != nil || answer != message {
			return fmt.Errorf("%q came back for %q: %w", answer, message, err)
		}
		m.moved.Add(1)
		time.Sleep(5 * time.Millisecond) // so much load and no more
	}
	return nil
}

// whole ends the stream and fails the test if it was cut before.
func (m *stream) whole(t testing.TB) {
	t.Helper()
	m.end()
	t.Logf("%s: %d moved, ended with %v", m.what, m.moved.Load(), m.err)
	if m.err != nil || m.moved.Load() == 0 {
		t.Errorf("the %s was cut after %d: %v", m.what, m.moved.Load(), m.err)
	}
}
