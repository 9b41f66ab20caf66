package sidecartest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func instance(id string) sdk.Instance {
	return sdk.Instance{
		ID: id, Name: "web", Image: "web:1", Hostname: "node-1", ProxyMode: "http",
		Ports: []sdk.Port{{Type: "tcp", Port: 8080, ServicePort: 80, IP: "127.0.0.1"}},
	}
}

func get(t *testing.T, s *sidecartest.Sidecar, path string) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		return nil
	}
	return w.Body.Bytes()
}

func TestState_DecodedByCodec(t *testing.T) {
	s := sidecartest.New(sidecartest.Options{})
	for _, id := range []string{"a", "b", "c"} {
		s.Add(instance(id))
	}
	s.Drain("node-1", "b")
	s.Remove("node-1", "c")
	if s.Remove("node-1", "nobody") || s.Remove("node-1", "c") {
		t.Error("an unchanged status was reported as a change")
	}
	var orders []string
	for range 20 {
		for _, path := range []string{"/state.json", "/services.json", "/api/state.json", "/api/services.json"} {
			content := get(t, s, path)
			snap, err := catalog.Decode(content)
			if err != nil || !snapshots.Equal(snap, s.Snapshot()) {
				t.Fatalf("%s: %v\n%s", path, err, content)
			}
		}
		orders = append(orders, string(get(t, s, "/state.json")))
	}
	for n := range orders {
		if orders[n] != orders[0] {
			return
		}
	}
	t.Error("twenty states have the same order")
}

func TestState_HasRecordedFields(t *testing.T) {
	s := sidecartest.New(sidecartest.Options{})
	s.Add(instance("a"))
	var state struct {
		Servers map[string]struct {
			Services map[string]map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(get(t, s, "/state.json"), &state); err != nil {
		t.Fatal(err)
	}
	fields := state.Servers["node-1"].Services["a"]
	for _, name := range strings.Fields("ID Name Image Created Hostname Ports Updated ProxyMode Status") {
		if fields[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestOlder_HasNoAPIPathsAndNoIP(t *testing.T) {
	s := sidecartest.New(sidecartest.Options{Older: true})
	s.Add(instance("a"))
	if get(t, s, "/api/state.json") != nil || get(t, s, "/api/watch") != nil {
		t.Error("an older Sidecar has no /api")
	}
	if bytes.Contains(get(t, s, "/state.json"), []byte(`"IP"`)) {
		t.Error("an older Sidecar has no IP")
	}
}

// A receiver is a listener that can delay its responses.
type receiver struct {
	*httptest.Server
	bodies chan []byte
	hold   atomic.Bool
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{bodies: make(chan []byte, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		user, password, _ := q.BasicAuth()
		cookie, err := q.Cookie("sidecar-session-host")
		if err != nil || !strings.HasPrefix(cookie.Value, "node-1") || user != "me" || password != "secret" ||
			q.Header.Get("Content-Type") != "application/json" {
			t.Errorf("cookie %v, user %q, password %q, header %v", cookie, user, password, q.Header)
		}
		r.bodies <- body
		if r.hold.Load() {
			<-q.Context().Done()
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) address() string {
	return strings.Replace(r.URL, "//", "//me:secret@", 1) + "/update"
}

// start starts a Sidecar whose pushes time out when r holds its responses, but not because the machine is busy.
func start(t *testing.T, r *receiver) *sidecartest.Sidecar {
	t.Helper()
	s := sidecartest.New(sidecartest.Options{
		Listeners: []string{r.address()}, PushTimeout: 2 * time.Second, RetryPause: time.Millisecond,
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestBurst_PushedWithOneLastChanged(t *testing.T) {
	r := newReceiver(t)
	s := start(t, r)
	s.Burst(func(b *sidecartest.Batch) {
		for _, id := range []string{"a", "b", "c"} {
			b.Add(instance(id))
		}
	})
	for _, id := range []string{"a", "b", "c"} {
		snap, err := catalog.DecodeEvent(<-r.bodies)
		if err != nil {
			t.Fatal(err)
		}
		if !snap.Changed.Equal(s.Snapshot().Changed) || !snapshots.Equal(snap, s.Snapshot()) {
			t.Errorf("push of %s has another state", id)
		}
		if snap.Last.Instance.ID != id || snap.Last.PreviousStatus != sdk.Unknown {
			t.Errorf("push of %s has event %+v", id, snap.Last)
		}
	}
}

func TestPush_RetriesAreEmpty(t *testing.T) {
	r := newReceiver(t)
	s := start(t, r)
	r.hold.Store(true)
	s.Add(instance("a"))
	if len(<-r.bodies) == 0 {
		t.Error("the first attempt is empty")
	}
	for n := range 5 {
		if body := <-r.bodies; len(body) != 0 {
			t.Errorf("retry %d has %d bytes", n+1, len(body))
		}
	}
	r.hold.Store(false)
	s.Add(instance("b"))
	if body := <-r.bodies; len(body) == 0 {
		t.Error("the next push is empty")
	}
}

func TestPush_EventsBeyondBufferAreDropped(t *testing.T) {
	r := newReceiver(t)
	s := start(t, r)
	r.hold.Store(true)
	s.Add(instance("first"))
	<-r.bodies // the listener is busy from here on
	s.Burst(func(b *sidecartest.Batch) {
		for n := range 30 {
			b.Add(instance(string(rune('a' + n))))
		}
	})
	r.hold.Store(false)
	pushed := 0
	for {
		body := <-r.bodies
		if len(body) == 0 {
			continue
		}
		snap, err := catalog.DecodeEvent(body)
		if err != nil {
			t.Fatal(err)
		}
		if snap.Last.Instance.ID == "last" {
			break
		}
		if pushed++; pushed == 20 {
			s.Add(instance("last"))
		}
	}
	if pushed != 20 {
		t.Errorf("%d of 30 events arrived", pushed)
	}
}

func TestRestart_KeepsOwnHostOnly(t *testing.T) {
	s := sidecartest.New(sidecartest.Options{})
	other := instance("b")
	other.Hostname = "node-2"
	s.Add(instance("a"))
	s.Add(other)
	s.Restart()
	snap := s.Snapshot()
	if len(snap.Services) != 1 || len(snap.Services[0].Instances) != 1 || snap.Services[0].Instances[0].ID != "a" {
		t.Errorf("services %+v", snap.Services)
	}
}

func TestWatch_BothForms(t *testing.T) {
	r := newReceiver(t)
	s := start(t, r)
	for path, cluster := range map[string]string{
		"/watch": "", "/api/watch": "", "/watch?by_service=false": "demo", "/api/watch?by_service=false": "demo",
	} {
		response, err := http.Get(s.URL(path))
		if err != nil {
			t.Fatal(err)
		}
		stream := catalog.NewStream(response.Body, 1<<20)
		if _, err := stream.Next(); err != nil {
			t.Fatal(err)
		}
		s.Add(instance(path))
		snap, err := stream.Next()
		if err != nil || snap.Cluster != cluster {
			t.Errorf("%s: cluster %q, %v", path, snap.Cluster, err)
		}
		s.Restart()
		if _, err = stream.Next(); err == nil {
			t.Errorf("%s outlived a restart", path)
		}
		_ = response.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestStart_AddressInUse(t *testing.T) {
	first := sidecartest.New(sidecartest.Options{})
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second := sidecartest.New(sidecartest.Options{Address: first.Address()})
	if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), first.Address()) {
		t.Errorf("got %v", err)
	}
	second.Close()
}
