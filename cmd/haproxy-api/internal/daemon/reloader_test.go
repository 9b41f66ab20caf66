package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// The status has the error of a configuration reload until a configuration is loaded.
func TestReloader_ReportsTheConfiguration(t *testing.T) {
	directory := t.TempDir()
	file := filepath.Join(directory, "haproxy-api.toml")
	write := func(extra string) {
		t.Helper()
		content := fmt.Sprintf("[haproxy_api]\n%s\n[sidecar]\nstate_url = \"\"\n[pipelines.names]\nsource = \"sidecar\"\n"+
			"sink = \"names\"\n[sinks.names]\ntype = \"file\"\npath = %q\n", extra, filepath.Join(directory, "names"))
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func() (*config.Config, error) { return config.Load(config.Options{File: file, Named: true}) }
	write("")
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d, err := New(ctx, Options{Config: cfg, Version: "v1", Log: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{}})
	if err != nil {
		t.Fatal(err)
	}
	hangups := make(chan os.Signal)
	reloader := NewReloader(d, file, load, hangups)
	status := func() server.Status {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/api/v1/status", nil)
		r.Host = "localhost"
		d.server.ServeHTTP(w, r)
		var status server.Status
		if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
			t.Fatal(w.Body)
		}
		return status
	}
	wait := func(what string, is func(server.Configuration) bool) server.Status {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if s := status(); is(s.Config) {
				return s
			} else if time.Now().After(deadline) {
				t.Fatalf("%s: timed out: %+v", what, s.Config)
			}
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	err = d.Run(ctx, listener, reloader.Run, func(context.Context) {
		defer cancel()
		first := status()
		if first.Version != "v1" || first.Config.File != file || first.Config.Loaded.IsZero() || first.Config.Error != "" {
			t.Errorf("after the start: %+v", first)
		}
		if p := first.Pipelines[0]; p.Sink != "names" || p.SinkType != "file" || p.SourceType != "sidecar-push" ||
			len(p.Templates) != 1 || p.Templates[0] == "" {
			t.Errorf("the pipeline: %+v", p)
		}
		write("bind_prt = 1\nbind_ip = 3")
		hangups <- syscall.SIGHUP
		s := wait("the refused configuration", func(c server.Configuration) bool { return c.Error != "" })
		if !s.Config.Loaded.Equal(first.Config.Loaded) || !strings.Contains(s.Config.Error, "bind_port") ||
			strings.Contains(s.Config.Error, "\n") || !strings.Contains(s.Config.ErrorDetail, "\n") ||
			len(s.Reasons) != 1 || s.Reasons[0].Kind != server.ReasonConfiguration {
			t.Errorf("the refused configuration: %+v, %+v", s.Config, s.Reasons)
		}
		write("")
		hangups <- syscall.SIGHUP
		s = wait("the corrected configuration", func(c server.Configuration) bool { return c.Error == "" })
		if !s.Config.Loaded.After(first.Config.Loaded) || len(s.Reasons) != 0 {
			t.Errorf("the corrected configuration: %+v, %+v", s.Config, s.Reasons)
		}
	})
	if err != nil {
		t.Error(err)
	}
}
