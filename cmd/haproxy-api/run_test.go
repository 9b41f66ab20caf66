package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRun_ReportsInvalidConfigurationToTheServiceManager(t *testing.T) {
	t.Chdir(t.TempDir())
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	root := newRoot()
	root.SetArgs([]string{"run", "--set", "haproxy.bind_pi=127.0.0.1"})
	if err := root.Execute(); err == nil {
		t.Fatal("the daemon ran")
	}
	if err := manager.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 4096)
	n, err := manager.Read(message)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(message[:n]); !strings.HasPrefix(got, "STATUS=failed: ") || !strings.Contains(got, "haproxy.bind_pi") {
		t.Errorf("the service manager got %q", got)
	}
}
