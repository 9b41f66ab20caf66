package haproxy

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

func TestDefaults_NeedOnlyTheFiles(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	wantError(t, cfg.Validate(), "config_file is missing", "pid_file is missing")
	cfg.ConfigFile, cfg.PidFile = "haproxy.cfg", "haproxy.pid"
	check(t, cfg.Validate())
}

func TestValidate_ReportsAllFaults(t *testing.T) {
	t.Parallel()
	err := Config{
		Mode: "both", ConfigFile: "x", PidFile: "./x", ReloadInterval: -time.Second, DrainTimeout: -1,
		MaxOldWorkers: -1, OnExit: "maybe",
	}.Validate()
	wantError(t, err, "binary", `mode is "both"`, "config_file and pid_file", "reload_interval", "drain_timeout",
		"max_old_workers", `on_exit is "maybe"`)
	if n := len(strings.Split(err.Error(), "\n")); n != 7 {
		t.Errorf("%d faults, want 7: %v", n, err)
	}
	if _, err := New(sdk.Env{}, Config{}); err == nil {
		t.Error("New takes a configuration that is not valid")
	}
}

func TestConfig_Decode(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	check(t, sdk.Decode(sdk.Block{
		"config_file": "/etc/haproxy.cfg", "pid_file": "/run/haproxy.pid", "drain_timeout": "10s", "runtime": false,
		"max_old_workers": 3, "on_exit": "stop", "reload_interval": "1m", "mode": "command", "reload_cmd": "a", "verify_cmd": "b",
		"binary": "/bin/h",
	}, &cfg))
	want := Config{
		Binary: "/bin/h", Mode: "command", ConfigFile: "/etc/haproxy.cfg", PidFile: "/run/haproxy.pid", ReloadCmd: "a",
		VerifyCmd: "b", ReloadInterval: time.Minute, DrainTimeout: 10 * time.Second, MaxOldWorkers: 3, OnExit: "stop",
	}
	if cfg != want {
		t.Errorf("decoded %+v, want %+v", cfg, want)
	}
}

func TestNew_SocketPathTooLong(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	cfg.ConfigFile = "/etc/haproxy.cfg"
	cfg.PidFile = "/" + strings.Repeat("x", process.MaxSocketPath) + "/haproxy.pid"
	_, err := New(sdk.Env{}, cfg)
	wantError(t, err, "pid_file "+cfg.PidFile+" is too long", "haproxy.master.sock")
	cfg.ReloadCmd = "no master, no socket"
	_, err = New(sdk.Env{}, cfg)
	check(t, err)
}

// HAProxy has to accept a socket path of the length that the sink allows.
func TestApply_LongestSocketPath(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	rest := process.MaxSocketPath - len(filepath.Join(r.dir, ".master.sock"))
	r.cfg.PidFile = filepath.Join(r.dir, strings.Repeat("p", rest)+".pid")
	s := r.sink()
	if n := len(s.paths.MasterSocket); n != process.MaxSocketPath {
		t.Fatalf("the socket's path has %d bytes", n)
	}
	r.apply(s, r.document("one"), sdk.ActionRestart)
	r.wantServed("one")
}

func TestVerifyCommand_StagedPath(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		config, command, want string
		mentions              bool
	}{
		{"/etc/h.cfg", "haproxy -c -f /etc/h.cfg", "haproxy -c -f NEW", true},
		{"/etc/h.cfg", "haproxy -c -f '/etc/h.cfg' && x /etc/h.cfg", "haproxy -c -f 'NEW' && x NEW", true},
		{"/etc/h.cfg", "haproxy -c -f /etc/h.cfg.bak", "haproxy -c -f /etc/h.cfg.bak", false},
		{"/etc/h.cfg", "haproxy -c -f /chroot/etc/h.cfg", "haproxy -c -f /chroot/etc/h.cfg", false},
		{"h.cfg", "haproxy -c -f h.cfg", "haproxy -c -f NEW", true},
		{"/etc/h.cfg", "true", "true", false},
	} {
		s, err := New(sdk.Env{}, Config{
			Binary: "haproxy", Mode: ModeManaged, ConfigFile: test.config, PidFile: "/run/h.pid", VerifyCmd: test.command,
			OnExit: OnExitLeave,
		})
		check(t, err)
		got, mentions := s.verifyCommand("NEW")
		if got != test.want || mentions != test.mentions {
			t.Errorf("%q for %s: %q, %v", test.command, test.config, got, mentions)
		}
	}
}
