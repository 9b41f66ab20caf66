package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A checkReport is the output of check in JSON.
type checkReport struct {
	Read      []checkInput
	User      string
	Warnings  []string
	Notes     []string
	Faults    []string
	Unchecked []string
}

type checkInput struct{ Kind, Name, Detail string }

// check runs check in that directory and returns its report.
func (env *testEnv) check(directory string, args ...string) (report checkReport) {
	env.t.Helper()
	cmd := env.command(append([]string{"check", "--output", "json"}, args...)...)
	cmd.Dir = directory
	out, err := cmd.Output()
	if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
		env.t.Fatalf("%v: %v: %s", jsonErr, err, out)
	}
	if (err != nil) != (len(report.Faults) > 0) {
		env.t.Errorf("check ended with %v and reports the faults %q", err, report.Faults)
	}
	return report
}

// reads reports whether the check has read something of that kind and name.
func (r checkReport) reads(kind, name string) bool {
	return slices.ContainsFunc(r.Read, func(i checkInput) bool { return i.Kind == kind && i.Name == name })
}

func anyContains(lines []string, texts ...string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) })
	})
}

func TestCheck_NamesWhatItReads(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.addPipelines("exit 1")
	env.write("part.tmpl", "")
	env.write("token", "secret")
	env.editConfig("[pipelines.names]\n", fmt.Sprintf("[pipelines.names]\npartials = [%q]\n", env.path("part*.tmpl")))
	newCertificate(t, env.path("cert.pem"))
	env.env = append(os.Environ(), "HAPROXY_API_HAPROXY_API_LOGGING_LEVEL=debug",
		"HAPROXY_API_UPDATE_TOKEN_FILE="+env.path("token"), "HAPROXY_API_TLS_CERT="+env.path("cert.pem"),
		"HAPROXY_API_TLS_KEY="+env.path("cert.pem"))
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	report := env.check(env.directory)
	for _, want := range [][2]string{
		{"configuration", env.path("haproxy-api.toml")}, {"environment", "HAPROXY_API_HAPROXY_API_LOGGING_LEVEL"},
		{"environment", "HAPROXY_API_UPDATE_TOKEN_FILE"}, {"secret", env.path("token")}, {"template", "built in"},
		{"template", env.path("names.tmpl")}, {"partial", env.path("part.tmpl")}, {"plugin", env.path("haproxy-api-sink-other")},
		{"haproxy", haproxy}, {"certificate", env.path("cert.pem")},
	} {
		if !report.reads(want[0], want[1]) {
			t.Errorf("the report lacks %s %s: %+v", want[0], want[1], report.Read)
		}
	}
	if !strings.Contains(report.User, fmt.Sprintf("(uid %d)", os.Geteuid())) {
		t.Errorf("user %q", report.User)
	}
	// The text has the same.
	out := env.output("check")
	for _, read := range report.Read {
		if !strings.Contains(out, read.Name) || !strings.Contains(out, read.Kind) {
			t.Errorf("the text lacks %s %s:\n%s", read.Kind, read.Name, out)
		}
	}
}

func TestCheck_WithoutConfigurationFile(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "haproxy-api", "check", "--output", "json", "--set", "haproxy_api.bind_ip="+freshIP(),
		"--set", "haproxy.config_file=out/haproxy.cfg", "--set", "haproxy.pid_file=out/haproxy.pid")
	cmd.Dir = directory
	out, err := cmd.Output()
	var report checkReport
	if jsonErr := json.Unmarshal(out, &report); err != nil || jsonErr != nil {
		t.Fatalf("%v, %v: %s", err, jsonErr, out)
	}
	if first := report.Read[0]; first.Kind != "configuration" || !strings.Contains(first.Detail, "does not exist") {
		t.Errorf("read %+v", report.Read)
	}
	for _, key := range []string{"haproxy.config_file", "haproxy.pid_file"} {
		if !anyContains(report.Notes, key, "creates the directory out") {
			t.Errorf("no note about the directory of %s: %q", key, report.Notes)
		}
	}
}

// The address of the daemon is no fault while the daemon runs, also with TLS and for a user who cannot see which process has the
// port. It is one if another program has it.
func TestCheck_AddressInUse(t *testing.T) {
	t.Parallel()
	needRoot(t)
	env := newTestEnv(t)
	newCertificate(t, env.path("cert.pem"))
	if err := os.Chmod(env.directory, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(env.path("cert.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	cert := env.path("cert.pem")
	tls := []string{"--set", "haproxy_api.tls_cert=" + cert, "--set", "haproxy_api.tls_key=" + cert}
	for _, args := range [][]string{nil, tls} {
		env.start(args...)
		env.waitLogged("haproxy-api started")
		report := env.check(env.directory, args...)
		if len(report.Faults) > 0 || !anyContains(report.Notes, "a haproxy-api listens on "+env.apiAddress) {
			t.Errorf("%q: faults %q, notes %q", args, report.Faults, report.Notes)
		}
		code, lines := runAs(t, nobody, env.directory, append([]string{"-f", "haproxy-api.toml", "check"}, args...)...)
		if anyContains(lines, "cannot listen") {
			t.Errorf("%q as an ordinary user: exit code %d, said %q", args, code, lines)
		}
		env.stop()
	}
	const port = "7790" // no daemon of another test is in the way
	listener, err := net.Listen("tcp", net.JoinHostPort(env.ip, port))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	report := env.check(env.directory, "--set", "haproxy_api.bind_port="+port)
	if !anyContains(report.Faults, port, fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("faults %q", report.Faults)
	}
}

// Addresses of a rendered document that another program has are notes, and those of the HAProxy that runs are not.
func TestCheck_AddressesOfTheDocument(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	listener, err := net.Listen("tcp", net.JoinHostPort(env.ip, "7790")) // before HAProxy can
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	env.startInstance("chat", "c", 7790)
	report := env.check(env.directory, "--state", env.sidecar.URL("/state.json"))
	if len(report.Faults) > 0 {
		t.Errorf("faults %q", report.Faults)
	}
	if !anyContains(report.Notes, "7790", fmt.Sprintf("process %d", os.Getpid())) || anyContains(report.Notes, ":8000") {
		t.Errorf("notes %q", report.Notes)
	}
}

func TestCheck_Warnings(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	newCertificate(t, env.path("cert.pem")) // for an hour
	env.write("token", "secret")
	if err := os.Chmod(env.path("token"), 0o644); err != nil {
		t.Fatal(err)
	}
	cert := env.path("cert.pem")
	report := env.check(env.directory, "--set", "haproxy_api.tls_cert="+cert, "--set", "haproxy_api.tls_key="+cert,
		"--set", "haproxy_api.update_token_file="+env.path("token"))
	if !anyContains(report.Warnings, "expires on", cert) {
		t.Errorf("no warning of the certificate: %q", report.Warnings)
	}
	if !anyContains(report.Warnings, env.path("token"), "chmod") {
		t.Errorf("no warning of the file of the token: %q", report.Warnings)
	}
	open := []string{"--set", "haproxy_api.bind_ip=0.0.0.0", "--set", "haproxy_api.bind_port=0"}
	report = env.check(env.directory, open...)
	if !anyContains(report.Warnings, "anyone who can reach this port") {
		t.Errorf("no warning of pushes: %q", report.Warnings)
	}
	if out := env.output(append(open, "check")...); !strings.Contains(out, "warning: anyone") {
		t.Errorf("the text has no warning:\n%s", out)
	}
}

// The daemon and check find a template beside the configuration file, wherever they are started, and the daemon watches it there.
func TestRelativePath_BesideTheConfigurationFile(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", templateRevision(1))
	elsewhere := t.TempDir()
	report := env.check(elsewhere)
	if len(report.Faults) > 0 || !report.reads("template", env.path("haproxy.tmpl")) {
		t.Errorf("%+v", report)
	}
	if !anyContains(report.Warnings, "haproxy.template", elsewhere, env.path("haproxy.tmpl")) {
		t.Errorf("warnings %q", report.Warnings)
	}

	env.startInstance("web", "a", 8000)
	env.startIn(elsewhere)
	env.waitAnswer(8000, "a")
	env.waitLogged("configuration warning")
	env.write("haproxy.tmpl", templateRevision(4))
	env.eventually("the saved template is applied", func() bool { return strings.Contains(env.read(env.config), "X-Edit 4") })

	// From now on the working directory has one too. A reload takes it.
	if err := os.WriteFile(filepath.Join(elsewhere, "haproxy.tmpl"), []byte(templateRevision(8)), 0o644); err != nil {
		t.Fatal(err)
	}
	env.editConfig(`template = "haproxy.tmpl"`, "template = \"haproxy.tmpl\"\nreload_interval = \"0s\"")
	env.eventually("the template of the working directory is applied", func() bool {
		return strings.Contains(env.read(env.config), "X-Edit 8")
	})

	// If neither directory has it, check names both.
	for _, directory := range []string{elsewhere, env.directory} {
		if err := os.Remove(filepath.Join(directory, "haproxy.tmpl")); err != nil {
			t.Fatal(err)
		}
	}
	report = env.check(elsewhere)
	if report.reads("template", "haproxy.tmpl") || !anyContains(report.Faults, "haproxy.tmpl", elsewhere) ||
		!anyContains(report.Warnings, elsewhere, env.directory) {
		t.Errorf("%+v", report)
	}
}

// Root may check the configuration of a daemon that runs as another user. A state directory that others can write to is a fault.
func TestCheck_StateDirOfAnotherUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	env := newTestEnv(t)
	dir := env.path("state")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if report := env.check(env.directory, "--set", "haproxy_api.state_dir="+dir); !anyContains(report.Faults, dir, "chmod") {
		t.Errorf("faults %q", report.Faults)
	}
	if err := errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	report := env.check(env.directory, "--set", "haproxy_api.state_dir="+dir)
	if len(report.Faults) > 0 || !anyContains(report.Notes, "haproxy_api.state_dir", dir, "another user") {
		t.Errorf("faults %q, notes %q", report.Faults, report.Notes)
	}
}
