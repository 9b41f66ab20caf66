package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

// A statusOutput is what status prints as JSON.
type statusOutput struct {
	server.Status
	Error string `json:"error"`
	Note  string `json:"note"`
}

// kinds returns the kinds of all reasons in the order of the answer, without repetitions.
func (s statusOutput) kinds() (kinds []string) {
	for _, r := range s.Reasons {
		kinds = append(kinds, r.Kind)
	}
	for _, p := range s.Pipelines {
		for _, r := range p.Reasons {
			kinds = append(kinds, r.Kind)
		}
	}
	return slices.Compact(kinds)
}

// status returns the exit code of the command and what it prints as JSON.
func (env *testEnv) status(args ...string) (code int, status statusOutput) {
	env.t.Helper()
	var stdout bytes.Buffer
	cmd := env.command(append([]string{"status", "--output", "json"}, args...)...)
	cmd.Stdout = &stdout
	code = exitCode(env.t, cmd.Run())
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &status); err != nil {
			env.t.Fatalf("%v in\n%s", err, &stdout)
		}
	}
	return code, status
}

// statusText returns what the command prints as text, on standard output and error, and then its exit code.
func (env *testEnv) statusText(args ...string) string {
	env.t.Helper()
	out, err := env.command(append([]string{"status"}, args...)...).CombinedOutput()
	return fmt.Sprintf("%sexit code %d", out, exitCode(env.t, err))
}

func exitCode(t testing.TB, err error) int {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

// wantStatus waits until status prints the state with a reason of this kind, or none, and exits with the code. The text must then
// contain the words.
func (env *testEnv) wantStatus(state, kind string, code int, words []string, args ...string) statusOutput {
	env.t.Helper()
	words = append(words, fmt.Sprint("exit code ", code))
	var status statusOutput
	text := ""
	defer func() {
		if env.t.Failed() {
			env.t.Logf("the last status, which should say %q, is %+v\n%s", words, status, text)
		}
	}()
	env.eventually("status is "+state+" "+kind, func() bool {
		var got int
		got, status = env.status(args...)
		if status.State != state || fmt.Sprint(status.kinds()) != "["+kind+"]" || got != code {
			return false
		}
		text = env.statusText(args...)
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	})
	for _, r := range append(status.Reasons, reasonsOf(status.Pipelines)...) {
		if r.Message == "" || r.Action == "" {
			env.t.Errorf("the reason %+v does not say what is wrong and what to do", r)
		}
	}
	return status
}

func reasonsOf(pipelines []server.Pipeline) (all []server.Reason) {
	for _, p := range pipelines {
		all = append(all, p.Reasons...)
	}
	return all
}

func TestStatus_Healthy(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t)
	status := env.wantStatus(server.StateHealthy, "", 0, []string{env.apiAddress, "sidecar (sidecar-push) → ", "1 alive"})
	if status.Version == "" || status.Config.File != env.path("haproxy-api.toml") || len(status.Pipelines) != 1 {
		t.Errorf("got %+v", status)
	}
}

func TestStatus_DaemonAway(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	status := env.wantStatus("away", "", 1, []string{"no daemon answers at " + env.apiAddress})
	if !strings.Contains(status.Error, env.apiAddress) {
		t.Errorf("the error is %q", status.Error)
	}
}

// The daemon that runs reports its saved configuration file, and the command its own.
func TestStatus_ConfigurationBroken(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t)
	env.editConfig("[haproxy]\n", "[haproxy]\nbogus_key = 1\n")
	env.wantStatus(server.StateDegraded, server.ReasonConfiguration, 0, []string{"haproxy.bogus_key"},
		"--address", "http://"+env.apiAddress)
	text := env.statusText()
	if !strings.HasSuffix(text, "exit code 2") || !strings.Contains(text, "haproxy.bogus_key") ||
		!strings.Contains(text, "--address") {
		t.Errorf("without --address:\n%s", text)
	}
	env.editConfig("bogus_key = 1\n", "")
	env.wantStatus(server.StateHealthy, "", 0, nil)
}

// The daemon keeps its certificate if the file is replaced by one that does not belong to the key.
func TestStatus_CertificateReplaced(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	newCertificate(t, env.path("cert.pem"))
	if err := os.WriteFile(env.path("key.pem"), []byte(env.read("cert.pem")), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--set", "haproxy_api.tls_cert=" + env.path("cert.pem"), "--set", "haproxy_api.tls_key=" + env.path("key.pem"),
	}
	env.startInstance("web", "a", 8000)
	env.start(args...)
	env.waitAnswer(8000, "a")
	status := env.wantStatus(server.StateHealthy, "", 0, []string{"https://" + env.apiAddress}, args...)
	if status.Note != "" {
		t.Errorf("note %q", status.Note)
	}
	newCertificate(t, env.path("cert.pem"))
	if status := env.wantStatus(server.StateHealthy, "", 0, []string{"is not trusted"}, args...); status.Note == "" {
		t.Error("there is no note")
	}
}

func TestStatus_ClientCertificate(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	for _, file := range []string{"daemon.pem", "client.pem"} {
		newCertificate(t, env.path(file))
	}
	args := []string{
		"--set", "haproxy_api.tls_cert=" + env.path("daemon.pem"), "--set", "haproxy_api.tls_key=" + env.path("daemon.pem"),
		"--set", "haproxy_api.client_ca=" + env.path("client.pem"), "--set", "haproxy_api.protect_reads=true",
	}
	env.startInstance("web", "a", 8000)
	env.start(args...)
	env.waitAnswer(8000, "a")
	env.wantStatus("unknown", "", 1, []string{"--client-cert"}, args...)
	env.wantStatus(server.StateHealthy, "", 0, nil, append(args, "--client-cert", env.path("client.pem"))...)
	env.env = append(os.Environ(), "HAPROXY_API_CLIENT_CERT="+env.path("client.pem"))
	env.wantStatus(server.StateHealthy, "", 0, nil, args...)
	newCertificate(t, env.path("daemon.pem")) // what the daemon presents is no longer in the file, or it is new in both
	env.wantStatus(server.StateHealthy, "", 0, nil, args...)
	for _, command := range []string{"history", "explain"} {
		if out, err := env.command(append(args, command)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}

// HAProxy ends as soon as it is started.
func TestStatus_HAProxyCrashLoop(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.writeProgram("haproxy", "#!/bin/sh\n[ ! -e "+env.path("broken")+" ] || exit 1\nexec haproxy \"$@\"\n")
	env.startInstance("web", "a", 8000)
	env.start("--set", "haproxy.binary="+env.path("haproxy"))
	env.waitAnswer(8000, "a")
	env.wantStatus(server.StateHealthy, "", 0, nil)
	env.write("broken", "")
	for _, pid := range []int{env.masterPID(), env.workerPID()} {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	status := env.wantStatus(server.StateUnhealthy, server.ReasonRestarting, 1,
		[]string{"HAProxy restarting", "haproxy_restarts "})
	if status.Pipelines[0].Facts["haproxy_up"] != "0" {
		t.Errorf("facts %v", status.Pipelines[0].Facts)
	}
	if err := os.Remove(env.path("broken")); err != nil {
		t.Fatal(err)
	}
	env.waitAnswer(8000, "a")
	env.wantStatus(server.StateHealthy, "", 0, nil)
}

func TestStatus_SidecarAway(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start("--follow", env.sidecar.Address())
	env.waitAnswer(8000, "a")
	env.sidecar.Close()
	status := env.wantStatus(server.StateDegraded, server.ReasonSource, 0, []string{env.sidecar.Address(), "source problem"})
	if s := status.Sources[0]; s.Up || len(s.Problems) == 0 {
		t.Errorf("the source is %+v", s)
	}
}

func TestStatus_Held(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.start("--set", "sidecar.hold=10m", "--set", "sidecar.resync_interval=1s")
	for i := range 12 {
		env.startInstance("web", fmt.Sprint(i), 8000)
	}
	env.eventually("all are known", func() bool { _, status := env.status(); return aliveIn(status) == 12 })
	env.sidecar.Restart()
	env.wantStatus(server.StateDegraded, server.ReasonHeld, 0,
		[]string{"snapshot held", "curl -X POST http://" + env.apiAddress + "/api/v1/pipelines/haproxy/release"})
	env.eventually("source and pipeline say what is held", func() bool { // the sources are asked beside the pipelines
		_, status := env.status()
		return status.Sources[0].Held != nil && status.Pipelines[0].Held != nil
	})
	if code := env.post("/api/v1/pipelines/haproxy/release"); code != 200 {
		t.Errorf("release: %d", code)
	}
	env.wantStatus(server.StateHealthy, "", 0, nil)
}

func aliveIn(status statusOutput) int {
	if len(status.Sources) == 0 {
		return 0
	}
	return status.Sources[0].Instances.Alive
}

func TestStatus_TemplateRefused(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", weightTemplate)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.write("haproxy.tmpl", weightTemplate+"\n{{ nonsense }}\n")
	status := env.wantStatus(server.StateUnhealthy, server.ReasonTemplate, 1, []string{"haproxy.tmpl:", `"nonsense"`})
	if at := status.Pipelines[0].TemplateErrorAt; at == nil || at.Line == 0 {
		t.Errorf("the error is at %+v", at)
	}
	env.write("haproxy.tmpl", weightTemplate)
	env.wantStatus(server.StateHealthy, "", 0, nil)
}

func TestStatus_ExcludedInstance(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", weightTemplate)
	bad := env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	bad.ID, bad.Hostname, bad.Image = "b", "host-b", "web:300"
	env.sidecar.Add(bad)
	env.wantStatus(server.StateDegraded, server.ReasonExcluded, 0, []string{"1 excluded", "web/b on host-b: "})
}

// A watch continues while the daemon is away, and ends with code 0 on SIGINT.
func TestStatus_Watch(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t)
	cmd := env.command("status", "--watch", "--output", "json")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown := json.NewDecoder(stdout)
	waitShown := func(state string) {
		t.Helper()
		for {
			var status statusOutput
			if err := shown.Decode(&status); err != nil {
				t.Fatalf("waiting for %s: %v", state, err)
			}
			if status.State == state {
				return
			}
		}
	}
	waitShown(server.StateHealthy)
	env.kill()
	waitShown("away")
	env.start()
	waitShown(server.StateHealthy)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for shown.Decode(&statusOutput{}) == nil { // Wait closes the pipe, which must have been read before
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGINT: %v", err)
	}
}

// The health check of a container must not fail because of a template that cannot be used: HAProxy serves.
func TestStatus_Live(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", fmt.Sprintf("frontend idle\n\tmode http\n\tbind %s:8000\n\ttimeout client 1s\n", env.ip))
	env.start()
	env.eventually("the daemon is healthy", func() bool { code, _ := env.status(); return code == 0 })
	env.write("haproxy.tmpl", "{{")
	env.eventually("the daemon is unhealthy", func() bool { code, _ := env.status(); return code == 1 })
	if got := env.statusText("--live"); got != "exit code 0" {
		t.Error(got)
	}
	env.stop()
	if err := env.command("status", "--live").Run(); exitCode(t, err) != 1 {
		t.Errorf("no daemon: %v", err)
	}
	if err := env.command("status", "--live", "--watch").Run(); exitCode(t, err) != 2 {
		t.Errorf("with --watch: %v", err)
	}
}

// A state directory that cannot be written is reported until it can be.
func TestStatus_StateNotSaved(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.editConfig("[haproxy_api]\n", fmt.Sprintf("[haproxy_api]\nstate_dir = %q\n", env.path("state")))
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.wantStatus(server.StateHealthy, "", 0, nil)
	env.eventually("the directory is removed", func() bool { // the daemon may be writing a file in it
		return os.RemoveAll(env.path("state")) == nil
	})
	env.startInstance("web", "b", 8000)
	env.wantStatus(server.StateDegraded, server.ReasonStateStore, 0, []string{"haproxy_api.state_dir"})
	if err := os.Mkdir(env.path("state"), 0o700); err != nil {
		t.Fatal(err)
	}
	env.wantStatus(server.StateHealthy, "", 0, nil)
}
