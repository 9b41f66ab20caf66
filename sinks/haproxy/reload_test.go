package haproxy

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

func TestReload_OldWorkerIsNotTheNewOne(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
	check(t, err)
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	held := r.running(s).Worker
	_, err = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow:")
	check(t, err)
	for i := range 3 {
		name := fmt.Sprintf("more%d", i)
		r.apply(s, r.document(name), sdk.ActionReload)
		r.wantServed(name)
		if now := r.running(s); now.Worker == held {
			t.Fatalf("the old worker is taken for the new one: %v", now)
		}
	}
	if !procinfo.Exists(held) {
		t.Error("the old worker did not wait for its connection")
	}
	_, err = fmt.Fprint(conn, " done\r\n\r\n")
	check(t, err)
	if line, err := reader.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("the connection that was held got %q, %v", line, err)
	}
}

// slow returns doc with a map that blocks HAProxy while it loads, until open is called.
func (r *testEnv) slow(doc sdk.Document) (slow sdk.Document, open func()) {
	r.t.Helper()
	gate := r.path("gate")
	script := fmt.Sprintf("local function there() local f = io.open(%q); if f then f:close() end; return f end\n"+
		"while there() do os.execute(\"sleep 0.05\") end\n", gate)
	check(r.t, os.WriteFile(gate, nil, 0o600))
	check(r.t, os.WriteFile(r.path("slow.lua"), []byte(script), 0o600))
	r.cfg.VerifyCmd = "true"
	return edited(doc, "global", "global\n    lua-load "+r.path("slow.lua")), func() { check(r.t, os.Remove(gate)) }
}

func TestReload_Slow(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	slow, open := r.slow(r.document("slow"))
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	var result sdk.Result
	go func() {
		var err error
		result, err = s.Apply(ctx, slow)
		ended <- err
	}()
	eventually(t, "HAProxy loads", func() bool {
		h, err := s.Health(t.Context())
		check(t, err)
		if len(h.Problems) > 0 {
			t.Fatalf("while HAProxy loads the problems are %q", h.Problems)
		}
		return h.Facts["loading_for"] != ""
	})
	cancel() // too late: breaking off here would begin everything again
	r.wantServed("one")
	open()
	check(t, <-ended)
	if result.Action != sdk.ActionReload {
		t.Errorf("Apply did %q", result.Action)
	}
	r.wantServed("slow")
}

// Health is right also at the moment when a reload ends.
func TestHealth_DuringReloads(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(r *testEnv){
		"with a master": func(*testEnv) {},
		"without":       func(r *testEnv) { r.cfg.Mode = ModeCommand },
		"by a command":  (*testEnv).useCommands09,
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestEnv(t)
			set(r)
			document := func(name string) sdk.Document {
				if name == "with a master" {
					return r.document(name)
				}
				return edited(r.document(name), "global", "global\n    daemon")
			}
			s := r.sink()
			r.apply(s, document("one"), sdk.ActionRestart)
			done := make(chan struct{})
			var asking sync.WaitGroup
			for range 4 {
				asking.Go(func() { wantHealthyUntil(t, s, done) })
			}
			for i := range 5 {
				r.apply(s, document(fmt.Sprint("more", i)), sdk.ActionReload)
			}
			close(done)
			asking.Wait()
		})
	}
}

// wantHealthyUntil ignores an answer that timed out, which happens when the machine is overloaded.
func wantHealthyUntil(t *testing.T, s *Sink, done <-chan struct{}) {
	for asked := 1; ; asked++ {
		began := time.Now()
		h, err := s.Health(t.Context())
		if (err != nil || len(h.Problems) > 0) && time.Since(began) < healthTimeout/2 {
			t.Errorf("problems %q, %v", h.Problems, err)
		}
		select {
		case <-done:
			t.Logf("asked %d times", asked)
			return
		default:
		}
	}
}

func TestStop_DuringASlowReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	slow, open := r.slow(r.document("slow"))
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	ended := make(chan error)
	go func() {
		_, err := s.Apply(t.Context(), slow)
		ended <- err
	}()
	eventually(t, "HAProxy loads", func() bool {
		return s.state.Load().loadingFor() > 0 && r.onDisk() == string(slow.Files[0].Content)
	})
	r.stop(s)
	wantError(t, <-ended, "interrupted")
	open()

	next := r.sink()
	result, err := next.Apply(t.Context(), slow)
	check(t, err)
	r.wantServed("slow")
	if result.Action == sdk.ActionUnchanged {
		t.Error("the next sink took an unfinished reload for a finished one")
	}
}

func TestReload_MasterIsKilled(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	slow, open := r.slow(r.document("slow"))
	defer open()
	s := r.sink()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)
	before := r.running(s)
	ended := make(chan error)
	go func() {
		_, err := s.Apply(t.Context(), slow)
		ended <- err
	}()
	eventually(t, "HAProxy loads", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), runtimeapi.AnswerTimeout)
		defer cancel()
		_, err := runtimeapi.Ask(ctx, s.paths.MasterSocket, "show proc")
		return s.state.Load().loadingFor() > 0 && err != nil
	})
	kill(t, before.Pids[0])
	wantError(t, <-ended, "ended during the reload")
	// The addresses are not free before the worker has noticed the end of its master, so that HAProxy may be started later.
	eventually(t, "HAProxy serves again", func() bool { return !procinfo.Exists(before.Worker) && r.served() == "one" })
	r.wantOnDisk(one)
	wantHealthy(t, s)
	r.apply(s, one, sdk.ActionUnchanged)
}
