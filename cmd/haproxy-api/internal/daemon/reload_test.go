package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// elsewhere is a listener that says that other machines reach it.
type elsewhere struct{ net.Listener }

func (elsewhere) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7778} }

func TestWhoTakesTheTokenAwayIsWarned(t *testing.T) {
	folder := t.TempDir()
	load := func(api string) *config.Config {
		t.Helper()
		file := filepath.Join(folder, "haproxy-api.toml")
		content := "[haproxy_api]\n" + api + `
[sidecar]
state_url = ""
[pipelines.names]
source = "sidecar"
sink = "names"
[sinks.names]
type = "file"
path = "` + filepath.Join(folder, "names") + `"
`
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		opts := &options{}
		opts.register(pflag.NewFlagSet("test", pflag.ContinueOnError))
		opts.configFile = file
		cfg, err := opts.load()
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	log := &logFile{}
	ctx, cancel := context.WithCancel(t.Context())
	d, err := newDaemon(ctx, load(`update_token = "secret"`), slog.New(slog.NewTextHandler(log, nil)), &slog.LevelVar{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	err = d.run(ctx, elsewhere{listener}, func(ctx context.Context) {
		defer cancel()
		const warning = "anyone who can reach this port"
		if strings.Contains(log.String(), warning) {
			t.Errorf("it warns of nothing:\n%s", log.String())
		}
		if _, err := d.change(ctx, load("")); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), warning) {
			t.Errorf("it does not warn:\n%s", log.String())
		}
	})
	if err != nil {
		t.Error(err)
	}
}
