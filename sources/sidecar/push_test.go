package sidecar

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func newTestPush(t *testing.T, change func(*PushConfig)) *Push {
	t.Helper()
	config := PushDefaults()
	config.StateURL = ""
	if change != nil {
		change(&config)
	}
	p, err := NewPush(sdk.Env{Name: "test"}, config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPush_RecordedUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPush(t, nil)
		emitted, stop := watch(t, p)
		defer stop()
		for n := 1; n <= updates; n++ {
			if w := post(t, p, recordedUpdate(t, n)); w.Code != http.StatusOK {
				t.Fatalf("post %d: %d %s", n, w.Code, w.Body)
			}
			synctest.Wait()
		}
		all := emitted.all()
		if len(all) != updates {
			t.Fatalf("%d snapshots emitted for %d pushes: bursts have one LastChanged", len(all), updates)
		}
		for n, snap := range all {
			want := decoded(t, recordedUpdate(t, n+1))
			if !snapshots.Equal(snap, want) || !cmp.Equal(snap.Last, want.Last) {
				t.Errorf("push %d was not emitted as it was sent", n+1)
			}
		}
		last := all[updates-1]
		if !snapshots.Equal(last, decoded(t, recorded(t, "state-4-node3-tombstoned.json"))) {
			t.Error("the replay does not end in the last recorded state")
		}
		if last.Source != "test" || last.Cluster != "demo" || last.Taken.IsZero() || last.Changed.IsZero() {
			t.Errorf("a field is not set: %+v", last)
		}
	})
}

// Headers do not change who sent a push.
func TestPush_Cause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fetching(t, &lockedBuffer{}, answers(200, string(stateOf(t, "fetched"))))
		emitted, stop := watch(t, p)
		defer stop()
		synctest.Wait()
		for _, address := range []string{"192.0.2.7:4711", "[2001:db8::1]:4711"} {
			r := httptest.NewRequest(http.MethodPost, "/update", bytes.NewReader(recordedUpdate(t, 1)))
			r.RemoteAddr = address
			r.Header.Set("X-Forwarded-For", "198.51.100.1")
			p.ServeHTTP(httptest.NewRecorder(), r)
			synctest.Wait()
		}
		var got []string
		for _, snap := range emitted.all() {
			got = append(got, snap.Cause+" "+snap.Sender)
		}
		want := []string{sdk.CauseResync + " ", sdk.CausePush + " 192.0.2.7", sdk.CausePush + " 2001:db8::1"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestPush_DoesNotWaitForEmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPush(t, nil)
		release := make(chan struct{})
		var emitted []sdk.Snapshot
		ended := make(chan error, 1)
		go func() {
			ended <- p.Watch(t.Context(), func(s sdk.Snapshot) {
				<-release
				emitted = append(emitted, s)
			})
		}()
		for n := 1; n <= updates; n++ {
			post(t, p, recordedUpdate(t, n)) // would block forever if it waited
			if n == 1 {
				synctest.Wait()
			}
		}
		close(release)
		synctest.Wait()
		if len(emitted) != 2 || !snapshots.Equal(emitted[1], decoded(t, recorded(t, "state-4-node3-tombstoned.json"))) {
			t.Errorf("%d snapshots emitted; want the first and the newest", len(emitted))
		}
	})
}

func TestPush_BeforeWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPush(t, nil)
		post(t, p, eventOf(t, "early"))
		emitted, stop := watch(t, p)
		defer stop()
		synctest.Wait()
		if got := emitted.images(); got != "early" {
			t.Errorf("emitted %q", got)
		}
	})
}

func TestPush_OrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPush(t, nil)
		emitted, stop := watch(t, p)
		defer stop()
		body, slow := io.Pipe()
		go p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/update", body))
		synctest.Wait()
		post(t, p, eventOf(t, "second"))
		_, _ = slow.Write(eventOf(t, "first"))
		_ = slow.Close()
		synctest.Wait()
		if got := emitted.images(); got != "second" {
			t.Errorf("emitted %q: a push that took longer replaced a newer one", got)
		}
	})
}

func TestPush_Responses(t *testing.T) {
	whole := recordedUpdate(t, 31)
	for name, tt := range map[string]struct {
		method string
		body   io.Reader
		status int
		error  string // a part of the one error
	}{
		"push":           {"POST", bytes.NewReader(whole), 200, ""},
		"get":            {"GET", nil, 405, "POST"},
		"put":            {"PUT", bytes.NewReader(whole), 405, "POST"},
		"empty":          {"POST", nil, 400, "empty"},
		"truncated":      {"POST", bytes.NewReader(whole[:2000]), 400, "truncated (at byte 2000)"},
		"malformed":      {"POST", strings.NewReader("\x00\x1b[31m"), 400, `'\x00' looking for beginning of value (at byte 0)`},
		"trailing":       {"POST", strings.NewReader(`{"State":{"Servers":{}}}{}`), 400, "(at byte 24)"},
		"something else": {"POST", strings.NewReader(`{}`), 400, `"State" is missing`},
		"too large":      {"POST", strings.NewReader(strings.Repeat(" ", 10_001)), 413, "10000 bytes"},
		"aborted":        {"POST", io.MultiReader(bytes.NewReader(whole[:100]), failingReader{}), 400, "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestPush(t, func(c *PushConfig) { c.MaxBody = 10_000 })
			w := httptest.NewRecorder()
			p.ServeHTTP(w, httptest.NewRequest(tt.method, "/sidecar/update", tt.body))
			var answer struct{ Errors []string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatalf("the answer is not JSON: %q", w.Body)
			}
			if w.Code != tt.status || (len(answer.Errors) == 1) != (tt.status != 200) ||
				!strings.Contains(strings.Join(answer.Errors, ""), tt.error) {
				t.Errorf("got %d %q\nwant %d %q", w.Code, answer.Errors, tt.status, tt.error)
			}
			if got := w.Header().Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
			if allow := w.Header().Get("Allow"); (allow == "POST") != (tt.status == 405) {
				t.Errorf("Allow %q", allow)
			}
			if _, queued := p.latest.take(); (queued != nil) != (tt.status == 200) {
				t.Errorf("queued: %v", queued)
			}
		})
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("gone") }

func TestPush_LogsARejectionOnceAndEscaped(t *testing.T) {
	var log lockedBuffer
	p, err := NewPush(logTo(&log), PushDefaults())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		post(t, p, []byte("\x1b[31m"))
	}
	if got := strings.Count(log.String(), "\n"); got != 1 || strings.Contains(log.String(), "\x1b") {
		t.Errorf("%d lines, want one without control characters: %q", got, log.String())
	}
}

func TestPush_Subscriptions(t *testing.T) {
	p := newTestPush(t, func(c *PushConfig) { c.Subscriptions = []string{"web", "chat"} })
	post(t, p, recordedUpdate(t, 31)) // a change of chat
	_, snap := p.latest.take()
	if len(snap.Services) != 2 || snap.Services[0].Name != "chat" || snap.Services[1].Name != "web" || snap.Last == nil {
		t.Errorf("got %+v", snap)
	}
	post(t, p, recordedUpdate(t, 29)) // a change of dns
	if _, snap = p.latest.take(); snap.Last != nil {
		t.Errorf("the last change is of a service that is not subscribed: %+v", snap.Last)
	}
}

func TestPushConfig_AllFaults(t *testing.T) {
	_, err := NewPush(sdk.Env{}, PushConfig{StateURL: "ftp://user:secret@x/", ResyncInterval: -1, MaxBody: 0})
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"state_url", "resync_interval", "max_body"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is missing in %q", key, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in %q", err)
	}
	if err := PushDefaults().Validate(); err != nil {
		t.Errorf("the defaults are invalid: %v", err)
	}
	if _, err = NewPush(sdk.Env{}, PushConfig{StateURL: "http://user:secret@x/%zz", MaxBody: 1}); err == nil ||
		strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// A push with one invalid instance is accepted.
func TestPush_InvalidInstance(t *testing.T) {
	p, err := NewPush(sdk.Env{Name: "s"}, PushConfig{MaxBody: MaxState})
	if err != nil {
		t.Fatal(err)
	}
	body := `{"State":{"Servers":{"h":{"Services":{"bad":{"ID":"bad","Name":"web","Hostname":"h","Ports":"80"},` +
		`"good":{"ID":"good","Name":"web","Hostname":"h"}}}}},"ChangeEvent":null}`
	answer := httptest.NewRecorder()
	p.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/update", strings.NewReader(body)))
	_, snap := p.latest.take()
	if answer.Code != http.StatusOK || snap == nil || len(snap.Services) != 1 || len(snap.Services[0].Instances) != 2 {
		t.Fatalf("answered %d and received %+v", answer.Code, snap)
	}
	if bad := snap.Services[0].Instances[0]; bad.ID != "bad" || bad.Invalid == "" {
		t.Errorf("%+v", bad)
	}
}
