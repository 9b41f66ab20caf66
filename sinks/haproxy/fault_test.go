package haproxy

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestFault_IsLoggedWhenItBeginsChangesAndEnds(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	var f fault
	one, other := errors.New("one"), errors.New("other")
	for _, err := range []error{nil, one, one, errors.New("one"), other, nil, nil, one} {
		f.report(log, err, "begins", "ends")
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		_, message, _ := strings.Cut(line, "msg=")
		got = append(got, strings.TrimSpace(message))
	}
	if want := "begins error=one, begins error=other, ends, begins error=one"; strings.Join(got, ", ") != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}
