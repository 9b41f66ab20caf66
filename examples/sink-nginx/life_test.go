package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/sdktest"
)

func TestHealth(t *testing.T) {
	b := newTestEnv(t)
	b.cfg.HealthURL = "http://" + b.address + "/"
	b.expectProblem("nginx is not running")
	s := b.sink()
	b.applied(s, document(b.conf("one", "")), sdk.ActionRestart)
	health, err := s.Health(t.Context())
	if err != nil || !health.OK() || health.Facts["workers"] != "2" || health.Facts["master"] != fmt.Sprint(s.nginx.master()) {
		t.Errorf("got %+v, %v", health, err)
	}
	b.cfg.HealthURL = "http://" + b.address + "/sick"
	b.expectProblem("503")
	b.cfg.HealthURL = "http://" + freeAddress(t)
	b.expectProblem("does not respond")

	b.endNginx()
	b.expectProblem("nginx is not running")
	if err := os.WriteFile(b.cfg.PidFile, []byte(fmt.Sprint(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	b.expectProblem("nginx is not running") // but the process in the pid file is
	b.applied(s, document(b.conf("one", "")), sdk.ActionRestart)
	b.answers("one")
}

func (b *testEnv) expectProblem(want string) {
	b.Helper()
	health, err := b.sink().Health(b.Context())
	if err != nil || len(health.Problems) != 1 || !strings.Contains(health.Problems[0], want) {
		b.Errorf("got %+v, %v; want the problem that %s", health, err, want)
	}
}

func TestStop(t *testing.T) {
	b := newTestEnv(t)
	s := b.sink()
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("nothing to stop: %v", err)
	}
	b.applied(s, document(b.conf("one", "")), sdk.ActionRestart)
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	b.answers("one")
	b.cfg.OnExit = "stop"
	if err := b.sink().Stop(t.Context()); err != nil || s.nginx.master() != 0 {
		t.Errorf("got %v, and process %d", err, s.nginx.master())
	}
}

func TestStop_RequestsInProgress(t *testing.T) {
	b := newTestEnv(t)
	b.cfg.OnExit = "stop"
	s := b.sink()
	silent := listen(t, freeAddress(t)) // it accepts the connection and sends nothing
	pass := strings.Replace(b.conf("", ""), `return 200 ""`, "proxy_pass http://"+silent.Addr().String(), 1)
	b.applied(s, document(pass), sdk.ActionRestart)
	client := dial(t, b.address)
	if _, err := client.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	request, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer request.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	master := s.nginx.master()
	if err := s.Stop(ctx); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	eventually(t, "nginx ends", func() bool { return processTitle(master) == "" })
}

func TestConfigFaults(t *testing.T) {
	cfg := defaults()
	err := sdk.Decode(sdk.Block{
		"binary": "", "health_url": "ftp://x", "check_timeout": "0s", "reload_timeout": "-1s", "on_exit": "explode",
	}, &cfg)
	want := []string{
		"config_file is missing: it says where nginx's configuration is written",
		`binary is empty: name the nginx program, such as "nginx"`,
		`health_url is "ftp://x": it must begin with http:// or https://`,
		"check_timeout is 0s: it must be positive",
		"reload_timeout is -1s: it must be positive",
		`on_exit is "explode": it must be "leave" or "stop"`,
	}
	if err == nil {
		t.Fatal("accepted")
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// plugin starts this test binary as the plugin.
func (b *testEnv) plugin() *host.Sink {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	sink, err := host.StartSink(b.Context(), host.Options{
		Name: "web", Path: self, Args: []string{"plugin"}, Block: b.block(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sink.Close() })
	return sink
}

func (b *testEnv) block() sdk.Block {
	return sdk.Block{"config_file": b.cfg.ConfigFile, "binary": b.cfg.Binary, "reload_timeout": b.cfg.ReloadTimeout.String()}
}

func TestPlugin_NginxGoesOn(t *testing.T) {
	b := newTestEnv(t)
	first := b.plugin()
	b.applied(first, document(b.conf("one", "")), sdk.ActionRestart)
	_, err := first.Apply(t.Context(), document("nonsense;"))
	if !errors.Is(err, sdk.ErrRejected) || !strings.Contains(err.Error(), b.cfg.ConfigFile+":1") {
		t.Errorf("the plugin returned %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	b.answers("one")
	second := b.plugin()
	b.applied(second, document(b.conf("one", "")), sdk.ActionUnchanged)
	b.applied(second, document(b.conf("two", "")), sdk.ActionReload)
	b.answers("two")
	if health, err := second.Health(t.Context()); err != nil || !health.OK() {
		t.Errorf("got %+v, %v", health, err)
	}
}

func TestConformance(t *testing.T) {
	b := newTestEnv(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sdktest.TestSink(t, sdktest.Sink{
		Program: sdktest.Program{
			Path: self, Args: []string{"plugin"}, Block: b.block(),
			Env: []string{"GORACE=atexit_sleep_ms=0"}, // the race detector delays the end of a program by a second
		},
		Good: [2]string{b.conf("one", ""), b.conf("two", "")},
		Bad:  "nonsense;",
	})
}
