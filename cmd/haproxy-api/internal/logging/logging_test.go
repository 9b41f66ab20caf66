package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errAlert = errors.New("HAProxy rejects the configuration:\n  [ALERT] line 3\n\n\t[ALERT] line 4: password hush")

// record logs an error of several lines and lists, and returns the record.
func record(format string) string {
	var out bytes.Buffer
	log := New(&out, format, slog.LevelInfo).With("pipeline", "edge")
	log.Error("apply\nfailed", "error", errAlert, "generation", 7, "commands", []string{"add server a/b", "set server\nx"},
		"list", []any{"x", 2.0}, "reason", "one\ntwo\n", "took", 217*time.Millisecond)
	return out.String()
}

func TestNew_JSONHasAListForAnErrorOfSeveralLines(t *testing.T) {
	var got map[string]any
	line := record("json")
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "ERROR", "msg": "apply; failed", "pipeline": "edge", "generation": 7.0, "reason": "one; two", "took": "217ms",
		"error": "HAProxy rejects the configuration:", "error_lines": []any{"[ALERT] line 3", "[ALERT] line 4: password ***"},
		"commands": []any{"add server a/b", "set server\nx"}, "list": []any{"x", 2.0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Count(line, "\n") != 1 {
		t.Errorf("record %q", line)
	}
}

func TestNew_TextHasTheSameKeys(t *testing.T) {
	line := record("text")
	_, got, _ := strings.Cut(line, " ")
	want := `level=ERROR msg="apply; failed" pipeline=edge error="HAProxy rejects the configuration:" ` +
		`error_lines="[ALERT] line 3; [ALERT] line 4: password ***" generation=7 commands="add server a/b; set server; x" ` +
		`list="x; 2" reason="one; two" took=217ms` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
