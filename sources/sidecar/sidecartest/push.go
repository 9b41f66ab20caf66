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
	pushBuffer  = 20 // events that wait for a listener; more are dropped
	pushRetries = 5
)

// A listener is one URL that is told of changes, in their order, by one goroutine.
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
	default: // dropped, as by the real one
	}
}

func (l *listener) forget() {
	for {
		select {
		case <-l.events:
		default:
			return
		}
	}
}

// announce tells everybody who listens. It is called with the lock held, so that all hear changes in the same order.
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
				s.options.Log.Warn("a push was given up", "error", err)
			}
		}
	}
}

// deliver posts one event, up to six times, from one buffer: what a try that failed has read of it is missing in the
// next.
func (s *Sidecar) deliver(ctx context.Context, url string, e event) error {
	content, err := s.encode(func(c *catalogue) object { return c.event(e) })
	if err != nil {
		return err
	}
	body := &buffer{content: bytes.NewReader(content)}
	for try := range 1 + pushRetries {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(try) * s.options.RetryPause):
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

// sessionHost changes with every start, by which a load balancer keeps one Sidecar's pushes together.
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

// A buffer can be drained by a try that is timed out and still asked by the next one.
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
