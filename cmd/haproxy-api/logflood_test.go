package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNobodyFloodsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := logTo(&out, "text", slog.LevelDebug)
		for n := range 10_000 {
			log.With("from", n).WithGroup("g").Warn("flood", "n", n)
		}
		log.Error("something else")
		got := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(got) != floodAfter+2 || !strings.HasSuffix(got[floodAfter+1], `msg="something else"`) ||
			!strings.Contains(got[floodAfter], "are dropped") || !strings.HasSuffix(got[floodAfter], "which=flood") {
			t.Errorf("%d lines, at last %q", len(got), got[max(0, len(got)-3):])
		}
		out.Reset()
		for range 1000 {
			log.Info("configuration in effect", "action", "runtime")
		}
		log.Info("configuration in effect", "action", "reload")
		if !strings.HasSuffix(out.String(), "action=reload\n") {
			t.Errorf("a reload goes under in changes at run time: %q", out.String()[max(0, out.Len()-200):])
		}
		time.Sleep(time.Minute)
		out.Reset()
		log.Warn("flood")
		if !strings.HasSuffix(out.String(), "msg=flood\n") {
			t.Errorf("a minute later %q", &out)
		}
		out.Reset()
		for n := range 10_000 {
			log.Info(fmt.Sprint("made up ", n))
			log.Debug("asked for")
		}
		made, asked := strings.Count(out.String(), "made up"), strings.Count(out.String(), `"asked for"`)
		if made > floodKinds+floodAfter+1 || asked != 10_000 {
			t.Errorf("%d lines with messages that are made up, and %d that were asked for", made, asked)
		}
	})
}

func TestFlood_OneComponentDoesNotMuteAnother(t *testing.T) {
	var out bytes.Buffer
	log := logTo(&out, "text", slog.LevelInfo)
	for range 2 * floodAfter {
		log.With("pipeline", "busy").Warn("found in the catalogue", "note", "x")
	}
	out.Reset()
	log.With("pipeline", "quiet").Warn("found in the catalogue", "note", "x")
	if got := strings.Count(out.String(), "\n"); got != 1 {
		t.Errorf("%d lines of the other pipeline", got)
	}
}

func TestFault_IsLoggedWhenItBeginsChangesAndRecurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		all := logTo(&out, "text", slog.LevelInfo)
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
				log.Error("failed", "error", errors.New(err), "again_in", time.Since(time.Time{}))
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
		time.Sleep(faultAgain)
		fail("disk gone")
		lines(1, "an hour later")
		log.Info("configuration in effect")
		fail("disk gone")
		lines(2, "it is over and recurs")
		for range 2 {
			all.Error("failed", "error", "no component")
		}
		lines(2, "without a component")
	})
}
