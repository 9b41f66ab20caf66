package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const updates = 31

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata/recorded", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func recordedUpdate(t testing.TB, n int) []byte {
	t.Helper()
	return recorded(t, fmt.Sprintf("updates/post-%03d.json", n))
}

func decoded(t testing.TB, content []byte) sdk.Snapshot {
	t.Helper()
	snap, err := DecodeState(content, "test")
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// stateOf returns the encoded state of one instance. The image distinguishes states.
func stateOf(t testing.TB, image string) []byte {
	t.Helper()
	var b bytes.Buffer
	web := sdk.Instance{ID: "a", Name: "web", Hostname: "node-1", Image: image}
	snap := sdk.Snapshot{Cluster: "demo", Services: sdk.GroupByName([]sdk.Instance{web})}
	if err := catalog.EncodeState(&b, snap); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func eventOf(t testing.TB, image string) []byte {
	t.Helper()
	return fmt.Appendf(nil, `{"State":%s}`, stateOf(t, image))
}

func imageOf(snap sdk.Snapshot) string {
	if len(snap.Services) == 0 {
		return "none"
	}
	return snap.Services[0].Instances[0].Image
}

// A recorder records the emitted snapshots.
type recorder struct {
	mu    sync.Mutex
	snaps []sdk.Snapshot
	more  chan struct{}
}

func newRecorder() *recorder { return &recorder{more: make(chan struct{}, 1)} }

func (r *recorder) emit(s sdk.Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.snaps = append(r.snaps, s)
	select {
	case r.more <- struct{}{}:
	default:
	}
}

func (r *recorder) all() []sdk.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]sdk.Snapshot(nil), r.snaps...)
}

// images returns the images of the emitted snapshots of stateOf in their order.
func (r *recorder) images() string {
	var images []string
	for _, s := range r.all() {
		images = append(images, imageOf(s))
	}
	return strings.Join(images, " ")
}

// until blocks until the snapshot emitted last satisfies ok.
func (r *recorder) until(t *testing.T, ok func(sdk.Snapshot) bool) sdk.Snapshot {
	t.Helper()
	limit := time.After(30 * time.Second) // only a failing test gets there
	for {
		if all := r.all(); len(all) > 0 && ok(all[len(all)-1]) {
			return all[len(all)-1]
		}
		select {
		case <-r.more:
		case <-limit:
			t.Fatalf("no such snapshot among %d", len(r.all()))
		}
	}
}

// watch runs source until the test ends, and returns the recorder of its snapshots.
func watch(t *testing.T, source sdk.Source) (emitted *recorder, stop func()) {
	t.Helper()
	emitted = newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Watch(ctx, emitted.emit) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Watch returned %v", err)
		}
	})
	t.Cleanup(stop)
	return emitted, stop
}

// A network is a transport without sockets, for tests with fake time.
type network func(*http.Request) (*http.Response, error)

func (n network) RoundTrip(r *http.Request) (*http.Response, error) { return n(r) }

func answerWith(status int, content []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(content)),
	}
}

func clientOf(n network) *http.Client { return &http.Client{Transport: n} }

func post(t testing.TB, h http.Handler, content []byte) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/update", bytes.NewReader(content)))
	return w
}

// logTo returns an environment that logs to b.
func logTo(b *lockedBuffer) sdk.Env {
	return sdk.Env{Name: "test", Log: slog.New(slog.NewTextHandler(b, nil))}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
