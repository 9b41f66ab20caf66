package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// A faultySidecar is a Sidecar whose answers the test decides: it pushes, serves its state, and serves the watch.
type faultySidecar struct {
	server *httptest.Server
	client http.Client

	mu      sync.Mutex
	state   sdk.Snapshot
	fault   sidecarFault
	watches map[chan []byte]context.CancelFunc
}

// A sidecarFault says what is wrong with the answers to requests for the state.
type sidecarFault string

const (
	noFault        sidecarFault = "none"
	failingState   sidecarFault = "failing"
	hangingState   sidecarFault = "hanging"
	truncatedState sidecarFault = "truncated"
	endlessState   sidecarFault = "endless"
	malformedState sidecarFault = "malformed"
)

func newFaultySidecar() *faultySidecar {
	f := &faultySidecar{fault: noFault, watches: map[chan []byte]context.CancelFunc{}}
	f.client.Timeout = 20 * time.Second
	f.server = httptest.NewServer(f)
	return f
}

func (f *faultySidecar) close() {
	f.closeWatches()
	f.server.CloseClientConnections()
	f.server.Close()
	f.client.CloseIdleConnections()
}

func (f *faultySidecar) address() string { return strings.TrimPrefix(f.server.URL, "http://") }

func (f *faultySidecar) setFault(m sidecarFault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = m
}

// setState sets the state that is served, and sends it to the watches.
func (f *faultySidecar) setState(snap sdk.Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = snap
	for objects := range f.watches {
		select {
		case objects <- stateBytes(snap):
		default: // as Sidecar does with slow readers
		}
	}
}

func (f *faultySidecar) closeWatches() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cut := range f.watches {
		cut()
	}
}

func (f *faultySidecar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	content, m := stateBytes(f.state), f.fault
	f.mu.Unlock()
	switch {
	case m == failingState:
		http.Error(w, "not today", http.StatusInternalServerError)
	case m == hangingState:
		<-r.Context().Done()
	case m == malformedState:
		_, _ = w.Write(bytes.ToUpper(content))
	case m == truncatedState:
		_, _ = w.Write(content[:len(content)/2])
	case m == endlessState:
		for block := bytes.Repeat([]byte(" "), 1<<16); r.Context().Err() == nil; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	case strings.HasSuffix(r.URL.Path, "/watch"):
		f.serveWatch(w, r)
	default:
		_, _ = w.Write(content)
	}
}

func (f *faultySidecar) serveWatch(w http.ResponseWriter, r *http.Request) {
	ctx, cut := context.WithCancel(r.Context())
	defer cut()
	objects := make(chan []byte, 50)
	f.mu.Lock()
	f.watches[objects] = cut
	objects <- stateBytes(f.state)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watches, objects)
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case object := <-objects:
			if _, err := w.Write(object); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func stateBytes(snap sdk.Snapshot) []byte {
	var b bytes.Buffer
	if err := sidecar.EncodeState(&b, snap); err != nil {
		panic(err) // the test's own snapshot
	}
	return b.Bytes()
}

// pushBody returns the body of a push whose change event is about the first instance.
func pushBody(snap sdk.Snapshot) []byte {
	change, err := json.Marshal(snap.Services[0].Instances[0])
	if err != nil {
		panic(err)
	}
	return fmt.Appendf(nil, `{"State":%s,"ChangeEvent":{"Service":%s,"PreviousStatus":3,"Time":%q}}`,
		stateBytes(snap), change, snap.Changed.Format(time.RFC3339Nano))
}

// push posts body to the daemon and returns the status code of the answer, or 0 if there is none.
func (f *faultySidecar) push(api string, body io.Reader) int {
	resp, err := f.client.Post("http://"+api+"/update", "application/json", body)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// slowReader reads content with pauses.
type slowReader struct {
	content []byte
	pause   time.Duration
}

func (s *slowReader) Read(p []byte) (int, error) {
	if len(s.content) == 0 {
		return 0, io.EOF
	}
	time.Sleep(s.pause)
	n := copy(p, s.content[:min(len(s.content), max(1, len(s.content)/4))])
	s.content = s.content[n:]
	return n, nil
}

// endlessReader reads content and then spaces forever.
type endlessReader struct{ content []byte }

func (w *endlessReader) Read(p []byte) (int, error) {
	if n := copy(p, w.content); n > 0 {
		w.content = w.content[n:]
		return n, nil
	}
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
