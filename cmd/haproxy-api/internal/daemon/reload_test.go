package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// publicListener is a listener whose address other machines could reach.
type publicListener struct{ net.Listener }

func (publicListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7778} }

// logBuffer is a buffer that can be read while a logger writes to it.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestReload_WarnsWhenTokenIsRemoved(t *testing.T) {
	directory := t.TempDir()
	load := func(api string) *config.Config {
		t.Helper()
		file := filepath.Join(directory, "haproxy-api.toml")
		content := "[haproxy_api]\n" + api + `
[sidecar]
state_url = ""
[pipelines.names]
source = "sidecar"
sink = "names"
[sinks.names]
type = "file"
path = "` + filepath.Join(directory, "names") + `"
`
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Options{File: file, Named: true})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	log := &logBuffer{}
	ctx, cancel := context.WithCancel(t.Context())
	d, err := New(ctx, Options{
		Config: load(`update_token = "secret"`), Log: slog.New(slog.NewTextHandler(log, nil)), Level: &slog.LevelVar{},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	err = d.Run(ctx, publicListener{listener}, func(ctx context.Context) {
		defer cancel()
		const warning = "anyone who can reach this port"
		if strings.Contains(log.String(), warning) {
			t.Errorf("warned although a token is set:\n%s", log)
		}
		if _, err := d.reload(ctx, load("")); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), warning) {
			t.Errorf("no warning:\n%s", log)
		}
	})
	if err != nil {
		t.Error(err)
	}
}
