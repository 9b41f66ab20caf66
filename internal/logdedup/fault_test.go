package logdedup

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

func TestFault_LogsBeginChangeAndEnd(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	var fault Fault
	logged := func(is bool, lines ...string) {
		t.Helper()
		var got []string
		for line := range strings.Lines(out.String()) {
			_, line, _ = strings.Cut(strings.TrimSuffix(line, "\n"), " ") // without the time
			got = append(got, line)
		}
		if out.Reset(); is != (len(lines) > 0) || strings.Join(got, "|") != strings.Join(lines, "|") {
			t.Errorf("reported %v and logged %q, want %q", is, got, lines)
		}
	}
	one, other := errors.New("one"), errors.New("other")
	logged(fault.Resolve(log, "over"))
	logged(fault.Warn(log, "failed", one, "file", "f"), "level=WARN msg=failed file=f error=one")
	logged(fault.Warn(log, "failed", one, "file", "f"))
	logged(fault.Error(log, "failed", other), "level=ERROR msg=failed error=other")
	if cause := fault.Cause(); cause != "other" {
		t.Errorf("cause %q", cause)
	}
	logged(fault.Resolve(log, "over", "file", "f"), "level=INFO msg=over file=f")
	logged(fault.Resolve(log, "over"))
	if cause := fault.Cause(); cause != "" {
		t.Errorf("cause %q", cause)
	}
	logged(fault.Warn(log, "failed", other), "level=WARN msg=failed error=other")
}

func TestFault_LogsEachHourThroughAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := newLogger(&out, slog.LevelInfo).With("sink", "edge")
		var fault Fault
		for range 3 * 60 * 60 { // three hours
			fault.Warn(log, "failed", errors.New("disk full"))
			time.Sleep(time.Second)
		}
		if n := strings.Count(out.String(), "\n"); n != 3 {
			t.Errorf("%d lines", n)
		}
	})
}

func TestFaults_AreSeparate(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	var faults Faults
	for range 3 {
		faults.At("bad").Warn(log, "rejected", errors.New("not JSON"), "client", "bad")
		faults.At("good").Resolve(log, "accepted again", "client", "good")
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines", n)
	}
	for n := range 2 * MaxKeys {
		faults.At(fmt.Sprint(n))
	}
	if len(faults.byKey) > MaxKeys+1 {
		t.Errorf("%d faults", len(faults.byKey))
	}
}
