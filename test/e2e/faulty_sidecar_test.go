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

// A liar is a Sidecar that may tell anything: it pushes, answers for its state and has a watch, each as the test likes.
type liar struct {
	server *httptest.Server
	client http.Client

	mu      sync.Mutex
	state   sdk.Snapshot
	mood    mood
	watches map[chan []byte]context.CancelFunc
}

// A mood is how a liar answers for its state.
type mood string

const (
	honest  mood = "honest"
	failing mood = "failing"
	hanging mood = "hanging"
	cutting mood = "cut in the middle"
	endless mood = "endless"
	rubbish mood = "rubbish"
)

func newLiar() *liar {
	l := &liar{mood: honest, watches: map[chan []byte]context.CancelFunc{}}
	l.client.Timeout = 20 * time.Second
	l.server = httptest.NewServer(l)
	return l
}

func (l *liar) close() {
	l.cutWatches()
	l.server.CloseClientConnections()
	l.server.Close()
	l.client.CloseIdleConnections()
}

func (l *liar) address() string { return strings.TrimPrefix(l.server.URL, "http://") }

func (l *liar) be(m mood) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mood = m
}

// know is what the state and the watches tell from now on.
func (l *liar) know(snap sdk.Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = snap
	for objects := range l.watches {
		select {
		case objects <- stateBytes(snap):
		default: // as Sidecar does with a reader that is too slow
		}
	}
}

func (l *liar) cutWatches() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, cut := range l.watches {
		cut()
	}
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	content, m := stateBytes(l.state), l.mood
	l.mu.Unlock()
	switch {
	case m == failing:
		http.Error(w, "not today", http.StatusInternalServerError)
	case m == hanging:
		<-r.Context().Done()
	case m == rubbish:
		_, _ = w.Write(bytes.ToUpper(content))
	case m == cutting:
		_, _ = w.Write(content[:len(content)/2])
	case m == endless:
		for block := bytes.Repeat([]byte(" "), 1<<16); r.Context().Err() == nil; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	case strings.HasSuffix(r.URL.Path, "/watch"):
		l.serveWatch(w, r)
	default:
		_, _ = w.Write(content)
	}
}

func (l *liar) serveWatch(w http.ResponseWriter, r *http.Request) {
	ctx, cut := context.WithCancel(r.Context())
	defer cut()
	objects := make(chan []byte, 50)
	l.mu.Lock()
	l.watches[objects] = cut
	objects <- stateBytes(l.state)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watches, objects)
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

// event is the body of a push.
func event(snap sdk.Snapshot) []byte {
	change, err := json.Marshal(snap.Services[0].Instances[0])
	if err != nil {
		panic(err)
	}
	return fmt.Appendf(nil, `{"State":%s,"ChangeEvent":{"Service":%s,"PreviousStatus":3,"Time":%q}}`,
		stateBytes(snap), change, snap.Changed.Format(time.RFC3339Nano))
}

// push posts body to the daemon and returns the status of the answer; 0 for none.
func (l *liar) push(api string, body io.Reader) int {
	resp, err := l.client.Post("http://"+api+"/update", "application/json", body)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// slowly reads like content, with pauses.
type slowly struct {
	content []byte
	pause   time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	if len(s.content) == 0 {
		return 0, io.EOF
	}
	time.Sleep(s.pause)
	n := copy(p, s.content[:min(len(s.content), max(1, len(s.content)/4))])
	s.content = s.content[n:]
	return n, nil
}

// withoutEnd reads like content and then like white space for ever.
type withoutEnd struct{ content []byte }

func (w *withoutEnd) Read(p []byte) (int, error) {
	if n := copy(p, w.content); n > 0 {
		w.content = w.content[n:]
		return n, nil
	}
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
