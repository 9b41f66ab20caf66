package sidecar

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// fetching returns a Push whose state comes from the network n.
func fetching(t *testing.T, log *lockedBuffer, n network) *Push {
	t.Helper()
	p, err := NewPush(logTo(log), PushDefaults())
	if err != nil {
		t.Fatal(err)
	}
	p.client = clientOf(n)
	return p
}

// pass advances the fake time and waits for what happens meanwhile.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestPush_FetchesTheFirstStateWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		var up atomic.Bool
		var asked atomic.Int32
		p := fetching(t, &log, func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			if !up.Load() {
				return nil, errors.New("connection refused")
			}
			return answerWith(200, stateOf(t, "a")), nil
		})
		emitted, stop := watch(t, p)
		defer stop()
		synctest.Wait()
		if asked.Load() != 1 {
			t.Errorf("asked %d times at once", asked.Load())
		}
		pass(5 * time.Minute)
		if n := asked.Load(); n < 10 || n > 30 {
			t.Errorf("asked %d times in five minutes", n)
		}
		if got := strings.Count(log.String(), "\n"); got != 1 || !strings.Contains(log.String(), "connection refused") {
			t.Errorf("%d lines for one fault:\n%s", got, log.String())
		}
		wantProblem(t, p, "http://localhost:7777/state.json", "connection refused")
		up.Store(true)
		pass(time.Minute)
		wantProblem(t, p)
		if emitted.images() != "a" || !strings.Contains(log.String(), "again") {
			t.Errorf("emitted %q; log:\n%s", emitted.images(), log.String())
		}
	})
}

// The first push of a Sidecar that started after the daemon ends the fault of fetching.
func TestPush_FirstPushEndsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		p := fetching(t, &lockedBuffer{}, func(*http.Request) (*http.Response, error) {
			if !up.Load() {
				return nil, errors.New("connection refused")
			}
			return answerWith(200, stateOf(t, "pushed")), nil
		})
		p.config.ResyncInterval = 0
		_, stop := watch(t, p)
		defer stop()
		pass(time.Minute)
		wantProblem(t, p, "connection refused")
		up.Store(true)
		post(t, p, eventOf(t, "pushed"))
		pass(minFetchInterval)
		wantProblem(t, p)
	})
}

func TestPush_SecondPushEndsFetching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		p := fetching(t, &lockedBuffer{}, func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			return nil, errors.New("connection refused")
		})
		emitted, stop := watch(t, p)
		defer stop()
		pass(time.Minute)
		post(t, p, eventOf(t, "first"))
		pass(minFetchInterval)
		before := asked.Load()
		post(t, p, eventOf(t, "pushed"))
		pass(45 * time.Second)
		if asked.Load() > before || emitted.images() != "first pushed" {
			t.Errorf("%d fetches after a push; emitted %q", asked.Load()-before, emitted.images())
		}
		pass(45 * time.Second)
		if asked.Load() == before {
			t.Error("no fetch an interval later")
		}
	})
}

func TestPush_ResyncFindsALostPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sidecartest.New(sidecartest.Options{})
		s.Add(sdk.Instance{ID: "a", Name: "web", Hostname: "node-1", Image: "one"})
		p := fetching(t, &lockedBuffer{}, handledBy(s))
		emitted, stop := watch(t, p)
		defer stop()
		synctest.Wait()
		s.Touch()
		pass(5 * time.Minute)
		if got := emitted.images(); got != "one" {
			t.Fatalf("emitted %q: a state that differs only in times is no change", got)
		}
		s.Quietly(func(b *sidecartest.Batch) {
			b.Add(sdk.Instance{ID: "a", Name: "web", Hostname: "node-1", Image: "two"})
		})
		pass(2 * time.Minute)
		if got := emitted.images(); got != "one two" {
			t.Errorf("emitted %q", got)
		}
	})
}

// handledBy returns a network in which h answers requests without a stream.
func handledBy(h http.Handler) network {
	return func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result(), nil
	}
}

func TestPush_EmptyBodyFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		p := fetching(t, &lockedBuffer{}, func(*http.Request) (*http.Response, error) {
			n := asked.Add(1)
			return answerWith(200, stateOf(t, []string{"one", "two", "three"}[min(n, 3)-1])), nil
		})
		emitted, stop := watch(t, p)
		defer stop()
		pass(5 * time.Second)
		for range 6 {
			post(t, p, nil)
			synctest.Wait()
		}
		if asked.Load() != 2 || emitted.images() != "one two" {
			t.Errorf("%d fetches, emitted %q; want the bootstrap and one at once", asked.Load(), emitted.images())
		}
		pass(minFetchInterval)
		if asked.Load() != 3 || emitted.images() != "one two three" {
			t.Errorf("%d fetches, emitted %q; want one more for the hints since", asked.Load(), emitted.images())
		}
	})
}

func TestPush_PushDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int32
		p := fetching(t, &lockedBuffer{}, func(*http.Request) (*http.Response, error) {
			n := asked.Add(1)
			<-release
			return answerWith(200, stateOf(t, []string{"stale", "fresh"}[n-1])), nil
		})
		emitted, stop := watch(t, p)
		defer stop()
		synctest.Wait()
		post(t, p, eventOf(t, "pushed"))
		close(release)
		synctest.Wait()
		if got := emitted.images(); got != "pushed" {
			t.Errorf("emitted %q", got)
		}
		pass(75 * time.Second)
		if got := emitted.images(); got != "pushed fresh" {
			t.Errorf("an interval later: emitted %q", got)
		}
	})
}

func TestPush_EmptyBodyDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int32
		p := fetching(t, &lockedBuffer{}, func(*http.Request) (*http.Response, error) {
			n := asked.Add(1)
			<-release
			return answerWith(200, stateOf(t, []string{"one", "two"}[n-1])), nil
		})
		emitted, stop := watch(t, p)
		defer stop()
		synctest.Wait()
		post(t, p, nil)
		synctest.Wait()
		close(release)
		pass(2 * minFetchInterval)
		if got := emitted.images(); got != "one two" {
			t.Errorf("emitted %q", got)
		}
	})
}

func TestPush_SlowPushOvertakenByAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fetching(t, &lockedBuffer{}, func(*http.Request) (*http.Response, error) {
			return answerWith(200, stateOf(t, "newer")), nil
		})
		body, slow := io.Pipe()
		go p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/update", body))
		synctest.Wait()
		emitted, stop := watch(t, p)
		defer stop()
		pass(2 * time.Second)
		_, _ = slow.Write(eventOf(t, "older"))
		_ = slow.Close()
		synctest.Wait()
		if got := emitted.images(); got != "newer older newer" {
			t.Errorf("emitted %q; want the state fetched again at once", got)
		}
	})
}

func TestPush_ResyncDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		p := fetching(t, &lockedBuffer{}, func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			return answerWith(200, stateOf(t, "a")), nil
		})
		p.config.ResyncInterval = 0
		_, stop := watch(t, p)
		defer stop()
		pass(time.Hour)
		if asked.Load() != 1 {
			t.Errorf("%d fetches", asked.Load())
		}
	})
}

func TestPush_StopsWhileFetching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fetching(t, &lockedBuffer{}, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		_, stop := watch(t, p)
		synctest.Wait()
		before := time.Now()
		stop()
		if time.Since(before) != 0 {
			t.Errorf("it took %v", time.Since(before))
		}
	})
}

// Sidecar retries a push with an empty body if the listener did not answer in time. The change must not be lost.
func TestPush_DrainedRetries(t *testing.T) {
	var p *Push
	var tries atomic.Int32
	var drained atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) == 1 {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done() // until Sidecar times out
			return
		}
		drained.Store(r.ContentLength == 0)
		p.ServeHTTP(w, r)
	}))
	defer server.Close()
	s := sidecartest.New(sidecartest.Options{
		PushTimeout: 2 * time.Second, RetryPause: time.Millisecond, Listeners: []string{server.URL + "/update"},
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p = newTestPush(t, func(c *PushConfig) { c.StateURL = s.URL("/state.json") })
	emitted, stop := watch(t, p)
	defer stop()
	emitted.until(t, func(snap sdk.Snapshot) bool { return len(snap.Services) == 0 })
	s.Add(sdk.Instance{ID: "a", Name: "web", Hostname: "node-1", Image: "one"})
	emitted.until(t, func(snap sdk.Snapshot) bool { return snapshots.Equal(s.Snapshot(), snap) })
	if !drained.Load() {
		t.Error("the retry was not empty, so nothing was tested")
	}
}

// wantProblem checks that the source reports one problem that contains the words, or none if there are no words.
func wantProblem(t *testing.T, source sdk.Reporter, words ...string) {
	t.Helper()
	health, err := source.Health(t.Context())
	got := strings.Join(health.Problems, "; ")
	if err != nil || len(health.Problems) != min(len(words), 1) {
		t.Errorf("got %q, %v, want a problem with %q", got, err, words)
	}
	for _, word := range words {
		if !strings.Contains(got, word) {
			t.Errorf("%q does not contain %q", got, word)
		}
	}
}
