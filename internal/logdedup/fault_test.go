package logdedup

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
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
