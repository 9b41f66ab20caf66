package haproxy

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// useBareName sets the reload command of haproxy-api 0.9, which calls HAProxy by its bare name.
func (r *testEnv) useBareName() {
	r.t.Setenv("PATH", fmt.Sprintf("%s:%s", filepath.Dir(findIt(r.t, r.cfg.Binary)), os.Getenv("PATH")))
	r.cfg.Binary = "haproxy"
	r.useCommands09()
}

// The listening sockets are handed over in each mode: every new connection is answered.
func TestReload_LosesNoConnection(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(r *testEnv)
	}{
		{"master", func(*testEnv) {}},
		{"daemon", func(r *testEnv) { r.cfg.Mode = ModeCommand }},
		{"daemon by the older command", (*testEnv).useBareName},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			test.set(r)
			s := r.sink()
			doc := r.daemonDocument("x")
			r.apply(s, doc, sdk.ActionRestart)
			sockets := listening(t, r.port)
			asked, failed := r.underLoad(func() {
				for i := range 12 {
					r.apply(s, edited(doc, "maxconn 100", fmt.Sprintf("maxconn %d", 2000+i)), sdk.ActionReload)
				}
			})
			t.Logf("%d requests, %d failed", asked, failed)
			if failed > 0 || asked < 100 {
				t.Errorf("%d of %d requests failed", failed, asked)
			}
			// Requests may succeed by chance, so the socket has to be the same.
			if now := listening(t, r.port); now != sockets {
				t.Errorf("the listening sockets were %s and are %s", sockets, now)
			}
		})
	}
}

// Loads that fail leave the worker that serves as it is, and the next load takes over its listening sockets. From HAProxy 3.1 on,
// this takes the start of another master.
func TestReload_LosesNoConnectionAfterFailures(t *testing.T) {
	r := newTestEnv(t)
	s := r.sink()
	events := eventsOf(s)
	a, b := r.named("a"), r.named("b")
	good := func(round int) sdk.Document {
		return edited(r.lines("server a "+a.address), "maxconn 100", fmt.Sprint("maxconn ", 200+round))
	}
	r.apply(s, good(0), sdk.ActionRestart)
	sockets := listening(t, r.port)
	unloadable := r.onlyAStartFinds()
	if !r.atLeast31() {
		delete(unloadable, "chroot") // it ends the master, and with it the worker that serves
	}
	asked, failed := r.underLoad(func() {
		for round := range 3 {
			before := r.running(s)
			for kind, lines := range unloadable {
				if _, err := s.Apply(t.Context(), withGlobal(good(round), lines[0])); !isNotLoaded(err) {
					t.Errorf("%s: got %v", kind, err)
				}
				if now := r.running(s); !now.Same(before) {
					t.Errorf("%s: %+v serves instead of %+v", kind, now, before)
				}
				wantHealthy(t, s)
			}
			r.apply(s, edited(good(round), "server a "+a.address, "server b "+b.address), sdk.ActionRuntime)
			r.apply(s, good(round), sdk.ActionRuntime)
			r.apply(s, good(round+1), r.reloadAfterFailure())
		}
	})
	if failed > 0 || asked < 100 {
		t.Errorf("%d of %d requests failed", failed, asked)
	}
	if now := listening(t, r.port); now != sockets {
		t.Errorf("the listening sockets were %s and are %s", sockets, now)
	}
	if got := events.kinds(); got != "" {
		t.Errorf("the events are %q", got)
	}
	r.wantTidy()
}

// listening returns the inodes of the sockets that listen on a port of 127.0.0.1.
func listening(t *testing.T, port int) string {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	check(t, err)
	var sockets []string
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		const listens = "0A"
		if len(fields) > 9 && fields[1] == fmt.Sprintf("0100007F:%04X", port) && fields[3] == listens {
			sockets = append(sockets, fields[9])
		}
	}
	if len(sockets) == 0 {
		t.Fatalf("no process listens on port %d", port)
	}
	slices.Sort(sockets)
	return strings.Join(sockets, " ")
}

// underLoad calls something while clients make requests over new connections.
func (r *testEnv) underLoad(something func()) (asked, failed int64) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	var clients sync.WaitGroup
	var all, bad atomic.Int64
	for range 3 {
		clients.Go(func() {
			for ctx.Err() == nil {
				all.Add(1)
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
				answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", r.port))
				if err != nil || answer.StatusCode != http.StatusOK {
					bad.Add(1)
				}
				if err == nil {
					_ = answer.Body.Close()
				}
			}
		})
	}
	something()
	cancel()
	clients.Wait()
	return all.Load(), bad.Load()
}

// An old worker finishes its connections until drain_timeout, or until the template's own hard-stop-after.
func TestOldWorkers_EndAfterDrainTimeout(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("own=%v", own), func(t *testing.T) {
			r := newTestEnv(t)
			r.cfg.DrainTimeout = time.Second
			if own {
				r.cfg.DrainTimeout = time.Hour
			}
			a := r.named("a")
			defer close(a.open)
			s := r.sink()
			// The request must not end by itself.
			doc := edited(r.lines("server a "+a.address), "10s", "10m")
			if own {
				doc = edited(doc, "global", "global\n    hard-stop-after 1s")
			}
			r.apply(s, doc, sdk.ActionRestart)
			r.slowly()
			<-a.asked
			old := r.running(s).Worker
			r.apply(s, edited(doc, "maxconn 100", "maxconn 200"), sdk.ActionReload)
			h, err := s.Health(t.Context())
			check(t, err)
			if procinfo.Exists(old) && !strings.Contains(h.Facts["old_workers"], fmt.Sprint(old)) {
				t.Errorf("the old worker %d is not reported: %v", old, h.Facts)
			}
			eventually(t, "the old worker has ended", func() bool { return !procinfo.Exists(old) })
		})
	}
}
