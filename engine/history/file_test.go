package history

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// memoryFile is a [File] in memory. After an error of Append it has a part of the lines.
type memoryFile struct {
	mu       sync.Mutex
	content  []byte
	err      error
	replaced int
}

func (f *memoryFile) Append(lines []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		lines = lines[:len(lines)/2]
	}
	f.content = append(f.content, lines...)
	return f.err
}

func (f *memoryFile) Replace(content []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.content = content
		f.replaced++
	}
	return f.err
}

func (f *memoryFile) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// open returns a log with the content of f, and what it logs.
func (f *memoryFile) open() (*Log, *bytes.Buffer) {
	var out bytes.Buffer
	return Open(f.content, f, slog.New(slog.NewTextHandler(&out, nil))), &out
}

// A state is everything that a log is expected to have after it was opened again.
type state struct {
	Changes                          []Change
	Diffs                            []string
	LastChange, LastReload, InEffect *Change
	Next                             uint64
}

func stateOf(l *Log) state {
	s := state{LastChange: l.LastChange(), LastReload: l.LastReload(), InEffect: l.InEffect(), Next: l.generation + 1}
	s.Changes, _ = l.List(0, maxChanges)
	for _, c := range s.Changes {
		s.Diffs = append(s.Diffs, l.Diff(c.Generation))
	}
	return s
}

func TestOpen_HasWhatWasPut(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	file := &memoryFile{}
	for range 3 {
		log, out := file.open()
		r := random{rand.New(rand.NewPCG(seed, 0)), log, true}
		for range 150 {
			r.put()
		}
		log.Close()
		log.Close()
		want := stateOf(log)
		again, _ := file.open()
		got := stateOf(again)
		again.Close()
		if diff := cmp.Diff(want, got); diff != "" || out.Len() > 0 {
			t.Fatalf("seed %d, logged %q, -want +got:\n%s", seed, out, diff)
		}
	}
}

// What fell out of the log is still known after the file was replaced, and no number is used again.
func TestOpen_MarksSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := &memoryFile{}
		log, _ := file.open()
		log.Put(Change{Generation: log.Next(), Digest: "a", Outcome: OutcomeApplied, Action: sdk.ActionReload}, "")
		log.Put(Change{Generation: log.Next(), Digest: "b", Outcome: OutcomeApplied, Action: sdk.ActionRuntime}, "")
		for range 2 * maxChanges {
			log.Put(Change{Generation: log.Next(), Digest: "c", Outcome: OutcomeRejected}, strings.Repeat("+\n", maxDiff/2))
			time.Sleep(time.Minute)
		}
		log.Close()
		if file.replaced == 0 || len(file.content) > 2*maxFileBytes {
			t.Errorf("the file has %d bytes and was replaced %d times", len(file.content), file.replaced)
		}
		again, _ := file.open()
		defer again.Close()
		if diff := cmp.Diff(stateOf(log), stateOf(again)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if c := again.LastReload(); c == nil || c.Generation != 1 || again.LastChange().Generation != 2 ||
			again.Next() != 2*maxChanges+3 {
			t.Errorf("last reload %+v", c)
		}
	})
}

// A line that was being written during a crash, and others that are damaged, are dropped.
func TestOpen_DamagedLines(t *testing.T) {
	t.Parallel()
	file := &memoryFile{}
	log, _ := file.open()
	for n := range 4 {
		log.Put(Change{Generation: log.Next(), Outcome: OutcomeApplied, Reason: fmt.Sprint(n)}, "+\n")
	}
	log.Close()
	lines := bytes.SplitAfter(file.content, []byte("\n"))
	damaged := slicesOf("\x00\n", "{}\n", `{"change":{"generation":0,"outcome":"applied"}}`+"\n",
		`{"change":{"generation":18446744073709551615,"outcome":"applied"}}`+"\n",
		`{"change":{"generation":3,"outcome":"invented"}}`+"\n")
	file.content = bytes.Join(append(append([][]byte{lines[0]}, damaged...), lines[1], lines[2], lines[3][:20]), nil)
	again, out := file.open()
	again.Put(Change{Generation: again.Next(), Outcome: OutcomeApplied}, "")
	again.Close()
	if strings.Count(out.String(), "level=WARN") != 1 || !strings.Contains(out.String(), "lines=6") {
		t.Errorf("logged %s", out)
	}
	third, out := file.open()
	defer third.Close()
	if got := stateOf(third); len(got.Changes) != 4 || got.Next != 5 || out.Len() > 0 {
		t.Errorf("logged %s, got %+v", out, got)
	}
}

func slicesOf(lines ...string) [][]byte {
	var all [][]byte
	for _, line := range lines {
		all = append(all, []byte(line))
	}
	return all
}

// A full disk is reported once and delays no caller. What was put in the meantime is written when there is space again.
func TestLog_WriteFailureIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := &memoryFile{}
		log, out := file.open()
		put := func() {
			log.Put(Change{Generation: log.Next(), Outcome: OutcomeApplied}, "+\n")
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		put()
		file.fail(errors.New("no space left on device"))
		for range 5 {
			put()
		}
		if n := strings.Count(out.String(), "level=ERROR"); n != 1 {
			t.Errorf("logged %d errors:\n%s", n, out)
		}
		file.fail(nil)
		time.Sleep(writeRetry)
		synctest.Wait()
		if n := strings.Count(out.String(), "level=INFO"); n != 1 {
			t.Errorf("the recovery was logged %d times:\n%s", n, out)
		}
		put()
		again, damaged := file.open()
		if diff := cmp.Diff(stateOf(log), stateOf(again)); diff != "" || damaged.Len() > 0 {
			t.Errorf("logged %s, -want +got:\n%s", damaged, diff)
		}
		log.Close()
		again.Close()
	})
}

// A diff that masking or escape sequences have made too long is shortened, and the entry is read again.
func TestLog_BoundsDiffs(t *testing.T) {
	file := &memoryFile{}
	log, _ := file.open()
	log.Put(Change{Generation: 1, Outcome: OutcomeApplied}, strings.Repeat("+\\x00\n", maxDiff))
	log.Close()
	again, out := file.open()
	defer again.Close()
	for _, l := range []*Log{log, again} {
		c, ok := l.Get(1)
		if diff := l.Diff(1); !ok || !c.DiffTruncated || len(diff) > maxDiff || !strings.HasSuffix(diff, "0\n") {
			t.Errorf("%v %+v with %d bytes of diff", ok, c, len(diff))
		}
	}
	if out.Len() > 0 {
		t.Errorf("logged %s", out)
	}
}

// FuzzOpen opens files with any content.
func FuzzOpen(f *testing.F) {
	file := &memoryFile{}
	log, _ := file.open()
	r := random{rand.New(rand.NewPCG(1, 2)), log, true}
	for range 3 {
		r.put()
	}
	log.Close()
	f.Add(file.content[:min(len(file.content), 2000)])
	f.Add([]byte(`{"change":{"generation":3,"outcome":"applied","action":"reload","digest":"a"},"diff":"+a\n"}` + "\n"))
	f.Add([]byte(`{"generation":7,"last_change":{"generation":5},"in_effect":null}` + "\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		file := &memoryFile{content: content}
		log, _ := file.open()
		if err := log.check(true); err != "" {
			t.Error(err)
		}
		next := log.Next()
		if newest, _ := log.List(0, 1); len(newest) > 0 && newest[0].Generation >= next {
			t.Errorf("generation %d after %d", next, newest[0].Generation)
		}
		log.Put(Change{Generation: next, Outcome: OutcomeApplied, Received: moment, Updated: moment}, "")
		log.Close()
		again, out := file.open()
		defer again.Close()
		if diff := cmp.Diff(stateOf(log), stateOf(again)); diff != "" || out.Len() > 0 {
			t.Errorf("logged %s, -want +got:\n%s", out, diff)
		}
	})
}
