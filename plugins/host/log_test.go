package host

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestAFloodInThePluginsLogIsDammed(t *testing.T) {
	buffer := &logBuffer{}
	w := &logWriter{log: slog.New(slog.NewTextHandler(buffer, nil))}
	now := time.Unix(1000, 0)
	passed := 0
	for range 5000 {
		if !w.flooded(now) {
			passed++
		}
	}
	if passed != maxLogLines || buffer.String() != "" {
		t.Errorf("%d lines passed; the log says %q", passed, buffer)
	}
	if w.flooded(now.Add(time.Second)) || !strings.Contains(buffer.String(), "lines=4800") {
		t.Errorf("the next second: %q", buffer)
	}
}

func TestNothingInAPluginsLogIsTrusted(t *testing.T) {
	buffer := &logBuffer{}
	w := &logWriter{log: slog.New(slog.NewTextHandler(buffer, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, line := range []string{
		`{"@message":1,"@level":[],"@timestamp":{}}`, "{\n", `null`, `"text"`, `{"msg":"m","level":"ERROR","k":{"a":1}}`,
		`{"@message":"hc","@level":"trace","x":1}`, "plain \x1b[31m", strings.Repeat("x", 2*maxLogLine),
	} {
		_, _ = w.Write([]byte(line))
		_, _ = w.Write([]byte("\n"))
	}
	for _, want := range []string{"level=ERROR msg=m k=", "level=DEBUG msg=hc x=1", `msg="plain \x1b[31m"`, "msg=null"} {
		if !strings.Contains(buffer.String(), want) {
			t.Errorf("no %q in the log:\n%.2000s", want, buffer)
		}
	}
}
