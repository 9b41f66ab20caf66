package haproxy

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
)

// countChecks makes HAProxy count its checks of a configuration, and returns a function that returns the count.
func (r *testEnv) countChecks() func() int {
	r.t.Helper()
	log := r.path("checks")
	script := r.path("counting-haproxy")
	text := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *' -c '*) echo >>%s ;; esac\nexec %s \"$@\"\n", log, r.cfg.Binary)
	writeProgram(r.t, script, []byte(text))
	r.cfg.Binary = script
	return func() int {
		content, _ := os.ReadFile(log)
		return len(content)
	}
}

// withFaults returns a configuration with that many services and bad servers in each, and the numbers of the bad lines.
func withFaults(services, bad int, option func(n int) string) (config string, lines []int) {
	text := []string{
		"defaults", " mode http", " timeout connect 1s", " timeout client 1s", " timeout server 1s", "frontend f",
		" bind 127.0.0.1:1", " acl a path /a", " use_backend s0 if a",
	}
	n := 0
	for s := range services {
		text = append(text, fmt.Sprintf("backend s%d", s), " acl a path /a", " http-request deny if a",
			" default-server inter 10s", " server good 127.0.0.1:1 check")
		for i := range bad {
			text = append(text, fmt.Sprintf(" server s%d 127.0.0.1:1 %s", i, option(n)))
			lines = append(lines, len(text))
			text = append(text, fmt.Sprintf(" server g%d 127.0.0.1:1", i))
			n++
		}
	}
	return strings.Join(text, "\n") + "\n", lines
}

func TestCheck_ManyFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		services, bad int
		option        func(n int) string
		checks        int
	}{
		{"few", 2, 3, func(int) string { return "weight 999" }, 2},
		{"49 of one kind", 1, 49, func(int) string { return "weight 999" }, 2},
		{"50 of one kind", 1, 50, func(int) string { return "weight 999" }, 3},
		{"51 of one kind", 1, 51, func(int) string { return "weight 999" }, 3},
		{"500 different ones", 500, 1, func(n int) string { return fmt.Sprintf("bogus%d", n) }, 3},
		{"100 in each of 5", 5, 100, func(int) string { return "weight 999" }, 3},
		{"10,000", 1, 10_000, func(n int) string { return fmt.Sprintf("weight %d", 1000+n) }, 3},
		{"1,000 of one name", 1, 1_000, func(int) string { return "\n server same 127.0.0.1:1" }, 2},
		{"3,000 without a port", 1, 3_000, portless, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			checks := r.countChecks()
			config, lines := withFaults(test.services, test.bad, test.option)
			if found := linesWith(config, " server same "); found != nil {
				lines = found[1:]
			} else if found := linesWith(config, " server portless"); found != nil {
				lines = found
			}
			s := r.sink()
			err := s.Check(t.Context(), documentOf(config))
			rejection, ok := errors.AsType[*sdk.Rejection](err)
			if !ok {
				t.Fatalf("no rejection: %v", err)
			}
			var got []int
			for _, p := range rejection.Positions {
				got = append(got, p.Line)
				if p.Path != r.cfg.ConfigFile || strings.Contains(p.Problem, "haproxy-api-check") {
					t.Fatalf("place %+v", p)
				}
			}
			if !slices.Equal(got, lines) {
				t.Fatalf("%d places, want %d", len(got), len(lines))
			}
			text := strings.Split(config, "\n")
			for _, line := range got {
				text[line-1] = ""
			}
			check(t, s.Check(t.Context(), documentOf(strings.Join(text, "\n"))))
			if got := checks(); got > test.checks {
				t.Errorf("%d checks, want %d", got, test.checks)
			}
		})
	}
}

func portless(n int) string { return fmt.Sprintf("\n server portless%d 127.0.0.1 check", n) }

func linesWith(config, start string) []int {
	var numbers []int
	for i, text := range strings.Split(config, "\n") {
		if strings.HasPrefix(text, start) {
			numbers = append(numbers, i+1)
		}
	}
	return numbers
}

// A line that depends on its file or on a condition may be valid in the whole file and invalid in a piece.
func TestSplit_LinesThatDependOnTheFile(t *testing.T) {
	t.Parallel()
	for _, line := range []string{".if defined(X)\n", "  .notice hello\n", "global\n default-path config\n"} {
		if got := split([]byte("defaults\n" + line)); got != nil {
			t.Errorf("%q: %d pieces", line, len(got))
		}
	}
	config, _ := withFaults(3, 100, func(int) string { return "" })
	var whole []int
	for _, p := range split([]byte(config)) {
		if p.faults >= messages.FaultLimit {
			t.Errorf("a piece can have %d faults", p.faults)
		}
		for _, line := range p.lines {
			if line > 0 {
				whole = append(whole, line)
			}
		}
	}
	if len(whole) != strings.Count(config, "\n") || !slices.IsSorted(whole) {
		t.Errorf("%d lines", len(whole))
	}
}

// With zero-warning, HAProxy rejects a configuration for its warnings.
func TestCheck_WarningsThatAreFaults(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	doc := edited(r.document("x", " redirect prefix /x if TRUE", " http-request set-header a b"), "maxconn 100", "zero-warning")
	rejection := r.rejection(doc)
	if len(rejection.Positions) != 1 || rejection.Positions[0].Line != 15 {
		t.Errorf("got %+v", rejection.Positions)
	}
}
