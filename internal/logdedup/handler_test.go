package logdedup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newLogger(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(NewHandler(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}), "pipeline", "sink", "source"))
}

func TestHandler_LimitsRecordsWithTheSameMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := newLogger(&out, slog.LevelDebug)
		for n := range 10_000 {
			log.With("from", n).WithGroup("g").Warn("flood", "n", n)
		}
		log.Error("something else")
		got := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(got) != maxPerMinute+2 || !strings.HasSuffix(got[maxPerMinute+1], `msg="something else"`) ||
			!strings.HasSuffix(got[maxPerMinute], "message=flood") {
			t.Errorf("%d lines, at last %q", len(got), got[max(0, len(got)-3):])
		}
		out.Reset()
		for range 1000 {
			log.Info("document applied", "action", "runtime")
		}
		log.Info("document applied", "action", "reload")
		if !strings.HasSuffix(out.String(), "action=reload\n") {
			t.Errorf("a reload is dropped after many runtime changes: %q", out.String()[max(0, out.Len()-200):])
		}
		time.Sleep(time.Minute)
		out.Reset()
		log.Warn("flood")
		if !strings.HasSuffix(out.String(), "msg=flood\n") {
			t.Errorf("a minute later %q", &out)
		}
		out.Reset()
		for n := range 10_000 {
			log.Info(fmt.Sprint("generated ", n))
			log.Debug("debugging")
		}
		generated, debugging := strings.Count(out.String(), "generated"), strings.Count(out.String(), "debugging")
		if generated > MaxKeys+maxPerMinute+1 || debugging != 10_000 {
			t.Errorf("%d lines with generated messages, and %d of level debug", generated, debugging)
		}
	})
}

func TestHandler_CountsComponentsSeparately(t *testing.T) {
	var out bytes.Buffer
	log := newLogger(&out, slog.LevelInfo)
	for range 2 * maxPerMinute {
		log.With("pipeline", "busy").Warn("found in the catalogue", "note", "x")
	}
	out.Reset()
	log.With("pipeline", "quiet").Warn("found in the catalogue", "note", "x")
	if got := strings.Count(out.String(), "\n"); got != 1 {
		t.Errorf("%d lines of the other pipeline", got)
	}
}

func TestHandler_LogsAnErrorWhenItBeginsChangesAndRecurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		all := newLogger(&out, slog.LevelInfo)
		log, other := all.With("pipeline", "a"), all.With("pipeline", "b")
		lines := func(want int, when string) {
			t.Helper()
			if got := strings.Count(out.String(), "\n"); got != want {
				t.Errorf("%s: %d lines, want %d:\n%s", when, got, want, &out)
			}
			out.Reset()
		}
		fail := func(err string) {
			for range 10 {
				log.Error("failed", "error", errors.New(err), "retry_in", time.Since(time.Time{}))
				time.Sleep(time.Second)
			}
		}
		fail("disk full")
		lines(1, "it begins")
		other.Error("failed", "error", "disk full")
		lines(1, "another pipeline's")
		fail("disk gone")
		lines(1, "it changes")
		log.Error("failed in another way", "error", "disk gone")
		lines(1, "another message")
		log.Error("failed", "error", "disk gone", "file", "a")
		log.Error("failed", "error", "disk gone", "file", "b")
		lines(2, "of other files")
		time.Sleep(repeatAfter)
		fail("disk gone")
		lines(1, "an hour later")
		log.Info("document applied")
		fail("disk gone")
		lines(2, "it is over and recurs")
		for range 2 {
			all.Error("failed", "error", "no component")
		}
		lines(2, "without a component")
	})
}
