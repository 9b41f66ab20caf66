package sidecartest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	pushBuffer  = 20 // pending events of a listener; further ones are dropped
	pushRetries = 5
)

// A listener is a URL to which one goroutine pushes events in order.
type listener struct {
	url    string
	events chan event
}

func newListener(url string) *listener {
	return &listener{url: url, events: make(chan event, pushBuffer)}
}

func (l *listener) announce(e event) {
	select {
	case l.events <- e:
	default: // the real Sidecar drops it too
	}
}

func (l *listener) dropEvents() {
	for {
		select {
		case <-l.events:
		default:
			return
		}
	}
}

// announce queues an event for all listeners and watches. The caller holds the lock, so that all receive events in the same
// order.
func (s *Sidecar) announce(e event) {
	for _, l := range s.listeners {
		l.announce(e)
	}
	for w := range s.watches {
		w.announce(e)
	}
}

func (s *Sidecar) push(ctx context.Context, l *listener) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-l.events:
			if err := s.deliver(ctx, l.url, e); err != nil {
				s.options.Log.Warn("push failed", "error", err)
			}
		}
	}
}

// deliver posts an event in up to six attempts. All of them read one buffer, so an attempt lacks what the previous one has read.
func (s *Sidecar) deliver(ctx context.Context, url string, e event) error {
	content, err := s.encode(func(c *catalogue) object { return c.event(e) })
	if err != nil {
		return err
	}
	body := &buffer{content: bytes.NewReader(content)}
	for attempt := range 1 + pushRetries {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(attempt) * s.options.RetryPause):
		}
		if err = s.post(ctx, url, body); err == nil {
			return nil
		}
	}
	return err
}

func (s *Sidecar) post(ctx context.Context, url string, body *buffer) error {
	var content io.Reader = body
	if body.left() == 0 {
		content = http.NoBody
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, content)
	if err != nil {
		return err
	}
	request.ContentLength = int64(body.left())
	request.Header.Set("Content-Type", "application/json")
	cookie := http.Cookie{Name: "sidecar-session-host", Value: s.sessionHost()} //nolint:gosec // sent, not set
	request.AddCookie(&cookie)
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the listener answered %s", response.Status)
	}
	return nil
}

// sessionHost returns the value of the session cookie, by which a load balancer recognises the Sidecar. It changes with every
// start.
func (s *Sidecar) sessionHost() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.options.Hostname + "-" + strconv.FormatInt(s.started.UnixNano(), 10)
}

func (s *Sidecar) encode(what func(*catalogue) object) ([]byte, error) {
	s.mu.Lock()
	o := what(&s.catalogue)
	s.mu.Unlock()
	return json.Marshal(o)
}

// A buffer is safe for concurrent use, because an attempt that timed out may still read it while the next one uses it.
type buffer struct {
	mu      sync.Mutex
	content *bytes.Reader
}

func (b *buffer) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.Read(p)
}

func (b *buffer) left() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.Len()
}
