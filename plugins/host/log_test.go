package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestLogWriter_RateLimit(t *testing.T) {
	for name, size := range map[string]int{"many lines": 1, "long lines": maxLogLine} {
		buffer := &logBuffer{}
		w := &logWriter{log: slog.New(slog.NewTextHandler(buffer, nil))}
		now := time.Unix(1000, 0)
		passed, bytes := 0, 0
		for range 5000 {
			if w.allow(now, size) {
				passed++
				bytes += size
			}
			now = now.Add(logWindow / 5001)
		}
		if passed > maxLogLines || bytes > maxLogBytes || passed != maxLogLines && bytes != maxLogBytes {
			t.Errorf("%s: %d lines of %d bytes passed", name, passed, bytes)
		}
		if told := strings.Count(buffer.String(), "level=WARN"); told != 1 {
			t.Errorf("%s: the log says %q", name, buffer)
		}
		if !w.allow(now.Add(logWindow), size) || !strings.Contains(buffer.String(), fmt.Sprintf("dropped=%d", 5000-passed)) {
			t.Errorf("%s: the next lines are not logged again: %q", name, buffer)
		}
	}
}

func TestLogWriter_UnusualLines(t *testing.T) {
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

// forgeries are lines with which a plugin would imitate lines of the daemon or of other plugins.
var forgeries = []string{
	"x\rlevel=ERROR msg=forged", "\x1b[2Jx", "x\u2028level=ERROR", "\xff\xfe", strings.Repeat("x\x00", 500_000),
	`{"msg":"x\nlevel=ERROR msg=forged","level":"info"}`, `{"msg":"x","a\nb":"c\u2028d"}`,
	`{"msg":"x","level":"warn","@level":"error","source":"other","sink":"other","pipeline":"other","time":"now"}`,
	`{"level":5,"msg":{"a":1}}`,
}

func TestLogWriter_ForgedLines(t *testing.T) {
	for _, text := range forgeries {
		var out bytes.Buffer
		w := &logWriter{log: slog.New(slog.NewJSONHandler(&out, nil)).With("sink", "own")}
		_, _ = w.Write([]byte(text + "\n"))
		pieces := (len(text) + maxLogLine) / maxLogLine
		if lines := strings.Count(out.String(), "\n"); lines != min(pieces, maxLogBytes/maxLogLine+1) {
			t.Errorf("%.100q became %d lines: %.300q", text, lines, out.String())
		}
		for line := range strings.Lines(out.String()) {
			keys := map[string]bool{}
			decoder := json.NewDecoder(strings.NewReader(line))
			_, _ = decoder.Token()
			for decoder.More() {
				key, err := decoder.Token()
				if err != nil || keys[key.(string)] {
					t.Fatalf("%.100q became %.300q: %v is there twice, or %v", text, line, key, err)
				}
				keys[key.(string)] = true
				var value any
				_ = decoder.Decode(&value)
				if key == "sink" && value != "own" || value == "ERROR" {
					t.Errorf("%.100q became %.300q", text, line)
				}
			}
		}
	}
}

func FuzzLogWriter(f *testing.F) {
	for _, text := range forgeries {
		f.Add([]byte(text[:min(len(text), 1000)]), 7)
	}
	f.Add([]byte("plain\n\n{\"msg\":\"m\",\"k\":[1,{\"a\":null}]}\n{\"level\":\"ERROR+4\",\"msg\":\"m\"}\n"), 1)
	f.Fuzz(func(t *testing.T, content []byte, size int) {
		var out bytes.Buffer
		handler := slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})
		w := &logWriter{log: slog.New(handler).With("sink", "own")}
		for rest := content; len(rest) > 0; {
			n := min(len(rest), max(1, size))
			if written, err := w.Write(rest[:n]); written != n || err != nil {
				t.Fatalf("%d of %d were written: %v", written, n, err)
			}
			rest = rest[n:]
		}
		if lines := strings.Count(out.String(), "\n"); lines > bytes.Count(content, []byte("\n"))+len(content)/maxLogLine {
			t.Errorf("%q became %d lines", content, lines)
		}
		for line := range strings.Lines(out.String()) {
			var record map[string]any
			if err := json.Unmarshal([]byte(line), &record); err != nil || record["sink"] != "own" {
				t.Errorf("%q became %q: %v", content, line, err)
			}
		}
	})
}
