package haproxy

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A slowSocket is a proxy between the sink and HAProxy's socket. Once it is armed, it holds back the first command with a certain
// word on a new connection, or HAProxy's answer to it.
type slowSocket struct {
	word     string
	question bool // the question and not the answer
	armed    atomic.Bool
	kept     chan struct{} // receives when it has the question or the answer
	release  chan struct{} // closed to let that go
}

func (r *testEnv) slowSocket(s *Sink, word string) *slowSocket {
	r.t.Helper()
	slow := &slowSocket{word: word, kept: make(chan struct{}, 1), release: make(chan struct{})}
	listener, err := net.Listen("unix", r.path("slow.sock"))
	check(r.t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			onward, err := net.Dial("unix", r.path("haproxy.master.sock"))
			if err != nil {
				_ = conn.Close()
				continue
			}
			late := slow.armed.Load()
			serving.Go(func() { slow.lead(conn, onward, late) })
		}
	})
	r.t.Cleanup(func() {
		_ = listener.Close()
		s.change.Lock()
		s.client.Close()
		s.change.Unlock()
		serving.Wait()
	})
	s.endpoint = func(now process.Instance) (runtimeapi.Endpoint, error) {
		return runtimeapi.Endpoint{Path: r.path("slow.sock"), Worker: now.Worker}, nil
	}
	return slow
}

// arm makes the socket hold back a command or an answer.
func (slow *slowSocket) arm() block {
	slow.armed.Store(true)
	return block{func() { <-slow.kept }, sync.OnceFunc(func() { close(slow.release) })}
}

func (slow *slowSocket) lead(conn, onward net.Conn, late bool) {
	var keep atomic.Bool
	copying := func(to, from net.Conn, before func(chunk []byte)) {
		chunk := make([]byte, 64<<10)
		for {
			n, err := from.Read(chunk)
			if n > 0 {
				before(chunk[:n])
				_, _ = to.Write(chunk[:n])
			}
			if err != nil {
				break
			}
		}
		_ = conn.Close()
		_ = onward.Close()
	}
	var both sync.WaitGroup
	both.Go(func() {
		copying(onward, conn, func(question []byte) {
			if late && bytes.Contains(question, []byte(slow.word)) && slow.armed.CompareAndSwap(true, false) {
				keep.Store(!slow.question)
				slow.wait(slow.question)
			}
		})
	})
	copying(conn, onward, func([]byte) {
		slow.wait(keep.CompareAndSwap(true, false))
	})
	both.Wait()
}

func (slow *slowSocket) wait(keeps bool) {
	if keeps {
		slow.kept <- struct{}{}
		<-slow.release
	}
}

// A block makes something wait until it is released.
type block struct {
	await   func() // waits until that has begun
	release func()
}

// blockIn makes a function of the sink wait before it is called. set replaces the function.
func blockIn(t *testing.T, s *Sink, set func(wait func())) block {
	t.Helper()
	reached, end := make(chan struct{}, 1), make(chan struct{})
	check(t, s.lockFiles(t.Context()))
	defer s.unlockFiles()
	set(func() {
		select {
		case reached <- struct{}{}:
		default:
		}
		<-end
	})
	return block{func() { <-reached }, sync.OnceFunc(func() { close(end) })}
}

// fifo replaces a file by a named pipe, so that reading it blocks. Releasing the block restores the file.
func (r *testEnv) fifo(name string) block {
	r.t.Helper()
	path, kept, made := r.path(name), r.path("kept"), r.path("pipe")
	check(r.t, os.Link(path, kept))
	check(r.t, syscall.Mkfifo(made, 0o644))
	check(r.t, os.Rename(made, path))
	opened := make(chan *os.File, 1)
	go func() {
		pipe, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for a reader
		if err == nil {
			opened <- pipe
		}
	}()
	var pipe *os.File
	return block{func() { pipe = <-opened }, func() {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			check(r.t, os.Rename(kept, path))
		}
		_ = pipe.Close()
	}}
}

// waiting makes a command wait when it is run again. runs returns how often it was run.
func (r *testEnv) waiting(runs func() int) block {
	r.t.Helper()
	open, before := r.shut(), runs()
	return block{func() { eventually(r.t, "the command is run", func() bool { return runs() > before }) }, open}
}

// linesOf returns the number of lines of a file, or 0 if there is none.
func (r *testEnv) linesOf(name string) int {
	content, err := os.ReadFile(r.path(name))
	if err != nil {
		return 0
	}
	return bytes.Count(content, []byte("\n"))
}

// A change at run time waits for nothing that it does not need.
func TestRuntimeChange_WaitsForNothingElse(t *testing.T) {
	t.Parallel()
	inPlace := func(r *testEnv) {
		r.cfg.VerifyCmd = fmt.Sprintf("echo >> %s; while [ -e %s ]; do sleep 0.02; done", r.path("runs"), r.path("gate"))
	}
	for _, test := range []struct {
		name      string
		configure func(r *testEnv)
		watchful  bool
		arm       func(r *testEnv, s *Sink, slow *slowSocket) block
	}{
		{"the check", func(r *testEnv) { r.counting() }, false, func(r *testEnv, _ *Sink, _ *slowSocket) block {
			return r.waiting(func() int { return r.linesOf("checks") })
		}},
		{"a verify command for what is in place", inPlace, false, func(r *testEnv, _ *Sink, _ *slowSocket) block {
			return r.waiting(func() int { return r.linesOf("runs") })
		}},
		{"replacing files", nil, false, func(r *testEnv, s *Sink, _ *slowSocket) block {
			return blockIn(r.t, s, func(wait func()) {
				s.commitStage = func(st *stage.Stage) error { wait(); return st.Commit() }
			})
		}},
		{"the state file", nil, false, func(r *testEnv, s *Sink, _ *slowSocket) block {
			return blockIn(r.t, s, func(wait func()) {
				s.writeStateFile = func(written stateFile, path string) error { wait(); return written.write(path) }
			})
		}},
		{"looking for other processes", nil, true, func(r *testEnv, _ *Sink, _ *slowSocket) block {
			return r.fifo("haproxy.cfg")
		}},
		{"reading files back", nil, true, func(r *testEnv, _ *Sink, _ *slowSocket) block { return r.fifo("some.map") }},
		{"reading what runs", nil, true, func(_ *testEnv, _ *Sink, slow *slowSocket) block { return slow.arm() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			if test.configure != nil {
				test.configure(r)
			}
			a, b := r.named("a"), r.named("b")
			s := r.sink()
			if test.watchful {
				s.observeEvery = 0
			}
			slow := r.slowSocket(s, "show servers state")
			document := func(lines ...string) sdk.Document {
				companion := sdk.File{Name: "some.map", Content: []byte("a b\n")}
				return documentOf(string(r.lines(lines...).Files[0].Content), companion)
			}
			r.apply(s, document("server a "+a.address), sdk.ActionRestart)
			r.apply(s, document("server a "+a.address+" weight 7"), sdk.ActionRuntime)
			r.awaitDisk(document("server a " + a.address + " weight 7"))
			block := test.arm(r, s, slow)
			if test.watchful {
				block.await()
			}
			r.applyInTime(s, document("server a "+a.address, "server b "+b.address), block.release)
			if !test.watchful { // it follows the change
				block.await()
			}
			last := document("server b " + b.address)
			r.applyInTime(s, last, block.release)
			r.wantAnswers("b")
			block.release()
			r.awaitDisk(last)
			eventually(t, "all is well", func() bool { return problems(t, s) == "" })
			r.wantAnswers("b")
			if v := s.state.Load(); v.reloads > 0 {
				t.Errorf("%d reloads", v.reloads)
			}
		})
	}
}

// applyInTime checks that doc is applied at run time while something else waits, and calls release if it is not.
func (r *testEnv) applyInTime(s *Sink, doc sdk.Document, release func()) {
	r.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if result, err := s.Apply(r.t.Context(), doc); err != nil || result.Action != sdk.ActionRuntime {
			r.t.Errorf("Apply did %q (%s), %v", result.Action, result.Reason, err)
		}
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		release()
		<-done
		r.t.Fatal("the change has waited")
	}
}

// An observation that began before a change, or ran during one, is not used after it.
func TestObserve_ChangeDuringALook(t *testing.T) {
	t.Parallel()
	for _, question := range []bool{false, true} {
		t.Run(fmt.Sprintf("before the question=%v", question), func(t *testing.T) {
			r := newTestEnv(t)
			a, b := r.named("a"), r.named("b")
			s := r.watchful()
			slow := r.slowSocket(s, "show servers state")
			slow.question = question
			r.apply(s, r.lines("server a "+a.address, "server b "+b.address+" weight 0"), sdk.ActionRestart)
			r.apply(s, r.lines("server a "+a.address, "server b "+b.address+" weight 1"), sdk.ActionRuntime)
			old := slow.arm()
			old.await()
			r.apply(s, r.lines("server a "+a.address+" weight 0", "server b "+b.address), sdk.ActionRuntime)
			s.change.Lock()
			before := s.client.Observer()
			s.change.Unlock()
			old.release()
			for range 2 {
				seen := s.observedTimes()
				eventually(t, "another observation", func() bool { return s.observedTimes() > seen })
			}
			s.change.Lock()
			if !s.client.UnchangedSince(before, "app") {
				t.Error("servers were read again under the lock of a change")
			}
			s.change.Unlock()
			r.wantAnswers("b")
			if v := s.state.Load(); v.reloads > 0 || !v.verified {
				t.Errorf("it was taken for a change by another program: %+v", v)
			}
			wantHealthy(t, s)
		})
	}
}

// An observation of a backend is not discarded because another backend changes, so that it completes during steady changes.
func TestObserve_ChangesOfAnotherBackend(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.watchful()
	slow := r.slowSocket(s, "show servers state")
	document := func(weight int) sdk.Document {
		return r.lines("server a "+a.address, "server b "+b.address, "backend other",
			fmt.Sprintf("    server x %s weight %d", r.backend, weight))
	}
	r.apply(s, document(1), sdk.ActionRestart)
	r.apply(s, document(2), sdk.ActionRuntime)
	s.change.Lock()
	r.ask(s, "set server app/b state maint")
	s.change.Unlock()
	eventually(t, "the servers are corrected", func() bool { return r.servers(s, "app") == "a b" })

	s.change.Lock()
	looks := slow.arm()
	s.change.Unlock()
	looks.await()
	r.apply(s, document(3), sdk.ActionRuntime)
	seen := s.observedTimes()
	looks.release()
	eventually(t, "the observation completes", func() bool { return s.observedTimes() > seen })
	wantHealthy(t, s)
}

// A server that is wanted again is not removed because it was seen draining before.
func TestRemoveServers_ServerThatCameBack(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.DrainTimeout = 0
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	slow := r.slowSocket(s, "show servers state")
	both := r.lines("server a "+a.address, "server b "+b.address)
	r.apply(s, both, sdk.ActionRestart)
	r.apply(s, edited(both, "server b "+b.address, "server b "+b.address+" weight 2"), sdk.ActionRuntime)
	eventually(t, "HAProxy was observed", func() bool { return s.observedTimes() > 0 }) // and is again after ten seconds
	leaving := slow.arm()
	r.apply(s, r.lines("server b "+b.address), sdk.ActionRuntime)
	leaving.await()
	r.apply(s, both, sdk.ActionRuntime)
	leaving.release()
	r.awaitDisk(both)
	if got := r.servers(s, "app"); got != "a b" {
		t.Errorf("the servers are %q", got)
	}
	r.wantAnswers("a b")
	gone := r.lines("server b " + b.address)
	r.apply(s, gone, sdk.ActionRuntime)
	eventually(t, "a is gone", func() bool { return r.servers(s, "app") == "b" })
	wantHealthy(t, s)
}
