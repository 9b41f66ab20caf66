package haproxy

import (
	"errors"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

// A program that changes the same again and again has one line when it begins, one when it does not stop, and one when it has
// stopped.
func TestDrift_AgainAndAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                string
		change              func(r *testEnv, s *Sink)
		first, again, after string
	}{
		{
			"servers", func(r *testEnv, s *Sink) { r.ask(s, "set server app/b weight 0") },
			"corrected servers that another", "another program changes servers", "no other program changes servers",
		},
		{
			"files", func(r *testEnv, _ *Sink) { check(r.t, os.WriteFile(r.cfg.ConfigFile, []byte("rubbish\n"), 0o644)) },
			"restored files that were changed on disk", "another program changes files", "no other program changes the files",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newTestEnv(t)
			a, b := r.named("a"), r.named("b")
			s := r.watchful()
			var lines logLines
			s.log = slog.New(slog.NewTextHandler(&lines, nil))
			r.apply(s, r.lines("server a "+a.address, "server b "+b.address), sdk.ActionRestart)
			for i := range 5 {
				test.change(r, s)
				eventually(t, "it is set back", func() bool { return fact(t, s, "drift_repairs") == strconv.Itoa(i+1) })
			}
			for _, message := range []string{test.first, test.again} {
				if got := lines.count(message); got != 1 {
					t.Errorf("%d lines with %q:\n%s", got, message, &lines)
				}
			}
			if lines.count(test.after) > 0 {
				t.Errorf("it has stopped too soon:\n%s", &lines)
			}
			for _, r := range []*repairs{&s.serverRepairs, &s.fileRepairs} {
				r.mu.Lock()
				r.last = r.last.Add(-repairQuietAfter)
				r.mu.Unlock()
			}
			eventually(t, "the program has stopped", func() bool { return lines.count(test.after) == 1 })
		})
	}
}

// A failure to restore files is over when something else has restored them.
func TestDrift_FilesAreRestoredByAnother(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.watchful()
	var lines logLines
	s.log = slog.New(slog.NewTextHandler(&lines, nil))
	doc := r.document("one")
	r.apply(s, doc, sdk.ActionRestart)
	r.awaitDisk(doc)
	v := &supervisor{Sink: s}
	v.restoring.Warn(s.log, "cannot restore files that were changed on disk", errors.New("no space"))
	v.restoreChangedFiles()
	if lines.count("the files on disk are those that were applied again") != 1 || v.restoring.Cause() != "" {
		t.Errorf("it is not over:\n%s", &lines)
	}
}

// A load may take longer than the pause after which the next one follows.
func TestEvents_LoadTakesLongerThanThePause(t *testing.T) {
	got := &reported{}
	s := &Sink{}
	s.state.Store(&state{})
	s.OnEvent(got.add)
	v := &supervisor{Sink: s, nextLoad: time.Now().Add(-time.Minute)}
	v.reportLoad(false, "because", sdk.Result{}, process.LoadResult{}, errors.New("it timed out"))
	if reason := got.all()[0].Reason; reason != "it timed out (attempt 0, because, failed after 0s; the next one follows in 0s)" {
		t.Errorf("the reason is %q", reason)
	}
}
