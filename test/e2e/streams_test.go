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

// A stream is one connection through HAProxy that transfers data until it is ended.
type stream struct {
	kind        string
	transferred atomic.Int64 // bytes or messages that arrived unchanged
	end         func()
	err         error // set when end has returned
}

// A streamBackend serves /download, which sends bytes until finished is closed, and /socket, which echoes.
type streamBackend struct{ finished chan struct{} }

// downloadContent returns an endless reader of the bytes that each download consists of.
func downloadContent() io.Reader { return rand.NewChaCha8([32]byte{7}) }

func (b streamBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/download":
		b.send(w)
	case "/socket":
		echo(w, r)
	default:
		_, _ = io.WriteString(w, "streams")
	}
}

func (b streamBackend) send(w http.ResponseWriter) {
	bytes := downloadContent()
	for {
		select {
		case <-b.finished:
			return
		case <-time.After(5 * time.Millisecond): // bounds the load
		}
		if _, err := io.CopyN(w, bytes, 2000); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
	}
}

// echo accepts a WebSocket handshake and sends back each byte. HAProxy looks at no more of the protocol than that.
func echo(w http.ResponseWriter, r *http.Request) {
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

// startDownload reads from /download until the backend ends the answer, and compares each byte.
func (env *testEnv) startDownload(servicePort int, ended chan struct{}) *stream {
	s := &stream{kind: "download"}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.err = s.compare(ctx, fmt.Sprintf("http://%s:%d/download", env.ip, servicePort)) })
	s.end = sync.OnceFunc(func() {
		defer cancel()
		timer := time.AfterFunc(waitLimit, cancel)
		defer timer.Stop()
		close(ended)
		wg.Wait()
	})
	env.t.Cleanup(s.end)
	return s
}

func (s *stream) compare(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, want := make([]byte, 4000), make([]byte, 4000)
	expected := downloadContent()
	for {
		n, err := resp.Body.Read(got)
		_, _ = io.ReadFull(expected, want[:n])
		if !bytes.Equal(got[:n], want[:n]) {
			return fmt.Errorf("unexpected bytes after %d", s.transferred.Load())
		}
		s.transferred.Add(int64(n))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// startWebSocket exchanges messages with /socket.
func (env *testEnv) startWebSocket(servicePort int) *stream {
	env.t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort(env.ip, strconv.Itoa(servicePort)))
	if err != nil {
		env.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{kind: "WebSocket"}
	var wg sync.WaitGroup
	wg.Go(func() { s.err = s.exchange(ctx, conn) })
	s.end = sync.OnceFunc(func() { cancel(); wg.Wait(); _ = conn.Close() })
	env.t.Cleanup(s.end)
	return s
}

func (s *stream) exchange(ctx context.Context, conn net.Conn) error {
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
		message := fmt.Sprintf("message %d\n", s.transferred.Load())
		_ = conn.SetDeadline(time.Now().Add(waitLimit))
		if _, err := io.WriteString(conn, message); err != nil {
			return err
		}
		if answer, err := answers.ReadString('\n'); err != nil || answer != message {
			return fmt.Errorf("got %q, want %q: %w", answer, message, err)
		}
		s.transferred.Add(1)
		time.Sleep(5 * time.Millisecond) // bounds the load
	}
	return nil
}

// wantIntact ends the stream and fails the test if it was cut before.
func (s *stream) wantIntact(t testing.TB) {
	t.Helper()
	s.end()
	t.Logf("%s: %d moved, ended with %v", s.kind, s.transferred.Load(), s.err)
	if s.err != nil || s.transferred.Load() == 0 {
		t.Errorf("the %s was cut after %d: %v", s.kind, s.transferred.Load(), s.err)
	}
}
