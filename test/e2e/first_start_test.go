package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
)

const nobody = 65534

// needRoot skips a test that needs root, and fails it where every test has to run.
func needRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("only root can run programs as another user")
	default:
		t.Skip("only root can run programs as another user")
	}
}

// runAs runs haproxy-api as that user until it exits, and returns its exit code and the lines of its standard error.
func runAs(t *testing.T, uid uint32, directory string, args ...string) (int, []string) {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), "haproxy-api", args...)
	cmd.Dir, cmd.Stderr = directory, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimPrefix(strings.TrimSpace(stderr.String()), "haproxy-api: "), "\n")
	return cmd.ProcessState.ExitCode(), lines
}

// wantFaults checks that both the daemon and check report these faults, each of them in one line that contains all of its texts.
func wantFaults(t *testing.T, uid uint32, directory string, args []string, faults ...[]string) {
	t.Helper()
	code, lines := runAs(t, uid, directory, args...)
	if code != 2 || len(lines) != len(faults) {
		t.Errorf("the daemon ended with %d and said\n%s", code, strings.Join(lines, "\n"))
	}
	checkCode, checked := runAs(t, uid, directory, append(slices.Clone(args), "check")...)
	if checkCode != 1 {
		t.Errorf("check ended with %d and said\n%s", checkCode, strings.Join(checked, "\n"))
	}
	for _, texts := range faults {
		hasAll := func(line string) bool {
			return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) })
		}
		if !slices.ContainsFunc(lines, hasAll) || !slices.ContainsFunc(checked, hasAll) {
			t.Errorf("no line of\n%s\nor none of\n%s\ncontains all of %q", strings.Join(lines, "\n"),
				strings.Join(checked, "\n"), texts)
		}
	}
}

// An ordinary user may not create the directories of the default configuration. All faults are reported in one go, and nothing is
// created.
func TestFirstStart_PermissionDenied(t *testing.T) {
	t.Parallel()
	needRoot(t)
	env := newTestEnv(t)
	if err := os.Chmod(env.directory, 0o755); err != nil {
		t.Fatal(err)
	}
	template := env.path("private.tmpl")
	if err := os.WriteFile(template, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	who := fmt.Sprintf("(uid %d)", nobody)
	wantFaults(t, nobody, env.directory, []string{
		"-f", "haproxy-api.toml", "--set", "haproxy.config_file=" + env.path("etc/deep/haproxy.cfg"),
		"--set", "haproxy.pid_file=" + env.path("run/haproxy.pid"), "--set", "haproxy_api.state_dir=" + env.path("state"),
		"--set", "haproxy.template=" + template, "--set", "haproxy_api.tls_cert=no.pem", "--set", "haproxy_api.tls_key=no.pem",
	},
		[]string{"haproxy.config_file", env.path("etc/deep/haproxy.cfg"), who, env.directory + ":", "permission denied"},
		[]string{"haproxy.pid_file", env.path("run/haproxy.pid"), who},
		[]string{"haproxy_api.state_dir", env.path("state"), who},
		[]string{template, "permission denied", who},
		[]string{"haproxy_api.tls_cert", "no.pem"},
		[]string{"haproxy_api.tls_key", "no.pem"},
	)
	for _, name := range []string{"etc", "run", "state"} {
		if _, err := os.Stat(env.path(name)); err == nil {
			t.Errorf("%s was created", name)
		}
	}
}

// A user that may write only to one directory starts the daemon there. The directories that it needs get restrictive modes.
func TestFirstStart_UnprivilegedUserCreatesDirectories(t *testing.T) {
	t.Parallel()
	needRoot(t)
	env := newTestEnv(t)
	own := env.path("own")
	if err := errors.Join(os.Chmod(env.directory, 0o755), os.Mkdir(own, 0o700), os.Chown(own, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	env.startInstance("web", "a", 8000)
	env.log = &logFile{}
	env.cmd = exec.Command("haproxy-api", "-f", env.path("haproxy-api.toml"),
		"--set", "haproxy.config_file="+own+"/etc/deep/haproxy.cfg", "--set", "haproxy.pid_file="+own+"/run/haproxy.pid",
		"--set", "haproxy_api.state_dir="+own+"/state")
	env.cmd.Stdout, env.cmd.Stderr = env.log, env.log
	env.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if err := env.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	env.waitAnswer(8000, "a")
	for name, mode := range map[string]os.FileMode{"/etc": 0o755, "/etc/deep": 0o755, "/run": 0o755, "/state": 0o700} {
		if info, err := os.Stat(own + name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %o", name, info, err, mode)
		}
	}
	env.stop()
	killHAProxyIn(own + "/run")
}

func TestFirstStart_ReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	if !mounttest.Run(t) {
		return
	}
	env := newTestEnv(t)
	if err := os.Mkdir(env.path("ro"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mounttest.ReadOnly(t, env.path("ro")))
	wantFaults(t, 0, env.directory, []string{
		"-f", "haproxy-api.toml", "--set", "haproxy.config_file=" + env.path("ro/new/haproxy.cfg"),
		"--set", "haproxy_api.state_dir=" + env.path("ro"),
	},
		[]string{"haproxy.config_file", env.path("ro") + " is on a read-only file system"},
		[]string{"haproxy_api.state_dir", env.path("ro") + " is on a read-only file system"},
	)
}

func TestFirstStart_UnusablePaths(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.write("file", "")
	long := env.path(strings.Repeat("x", 300) + "/haproxy.pid")
	if err := os.Symlink(env.path("nowhere"), env.path("link")); err != nil {
		t.Fatal(err)
	}
	env.write("file.toml", fmt.Sprintf("[haproxy]\n[sinks.f]\ntype = 'file'\npath = %q\n[sources.s]\ntype = 'file'\npath = 'x'\n"+
		"[pipelines.f]\nsource = 's'\nsink = 'f'\n", env.path("file/x/main")))
	wantFaults(t, uint32(os.Geteuid()), env.directory, []string{
		"-f", "file.toml", "--set", "haproxy_api.bind_ip=" + env.ip,
		"--set", "haproxy.config_file=" + env.path("link/haproxy.cfg"), "--set", "haproxy.pid_file=" + long,
	},
		[]string{"haproxy.config_file", env.path("link"), "symbolic link"},
		[]string{"haproxy.pid_file", "too long"},
		[]string{"sinks.f.path", env.path("file") + " is not a directory"},
	)
}

// Each reason why the daemon cannot listen has its own advice. The other faults of the configuration are reported with it.
func TestFirstStart_CannotListen(t *testing.T) {
	t.Parallel()
	needRoot(t)
	env := newTestEnv(t)
	const port = 7790 // no daemon of another test is in the way
	address := fmt.Sprintf("%s:%d", env.ip, port)
	env.editConfig("bind_port = 7778", fmt.Sprintf("bind_port = %d", port))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := os.Chmod(env.directory, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"in use", nil, 1, []string{address, "address already in use", "haproxy_api.bind_port"}},
		{"low port", []string{"--set", "haproxy_api.bind_port=80"}, 1,
			[]string{fmt.Sprintf("(uid %d)", nobody), "CAP_NET_BIND_SERVICE", "setcap", "AmbientCapabilities"}},
		{"address of another machine", []string{"--set", "haproxy_api.bind_ip=192.0.2.1"}, 1, []string{"haproxy_api.bind_ip"}},
		{"unknown name", []string{"--set", "haproxy_api.bind_ip=unknown.invalid"}, 2,
			[]string{"haproxy_api.bind_ip", "unknown.invalid"}},
		{"in use, and no template", []string{"--set", "haproxy.template=missing.tmpl"}, 2,
			[]string{"address already in use", "missing.tmpl", env.directory}},
	} {
		if start, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); test.name == "low port" && err == nil &&
			strings.TrimSpace(string(start)) == "0" {
			continue // as in Docker: every user may listen there
		}
		code, lines := runAs(t, nobody, env.directory, append([]string{"-f", "haproxy-api.toml"}, test.args...)...)
		said := strings.Join(lines, "\n")
		if code != test.code || slices.ContainsFunc(test.want, func(text string) bool { return !strings.Contains(said, text) }) {
			t.Errorf("%s: exit code %d, want %d, said\n%s\nwant %q", test.name, code, test.code, said, test.want)
		}
	}
	_, lines := runAs(t, 0, env.directory, "-f", "haproxy-api.toml")
	want := fmt.Sprintf("process %d (%s)", os.Getpid(), filepath.Base(os.Args[0]))
	if said := strings.Join(lines, "\n"); !strings.Contains(said, want) {
		t.Errorf("said\n%s\nwant %s", said, want)
	}
}

// A daemon that is restarted while the disk is read-only still changes the servers of the running HAProxy.
func TestRestart_ReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	if !mounttest.Run(t) {
		return
	}
	env := newTestEnv(t)
	disk := env.useSmallDisk()
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.waitInSync()
	env.kill()
	remountTmpfs(t, disk, "ro")
	env.start()
	env.waitLogged("the file system is read-only")
	env.startInstance("web", "b", 8000)
	env.waitAnswer(8000, "b")
	remountTmpfs(t, disk, "rw")
	env.waitInSync()
}
