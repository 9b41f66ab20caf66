package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// editConfig replaces text in the configuration file as most editors do: it writes a new file and renames it.
func (env *testEnv) editConfig(from, to string) {
	env.t.Helper()
	config := env.read("haproxy-api.toml")
	if !strings.Contains(config, from) {
		env.t.Fatalf("the configuration has no %q", from)
	}
	env.write("haproxy-api.toml.new", strings.Replace(config, from, to, 1))
	if err := os.Rename(env.path("haproxy-api.toml.new"), env.path("haproxy-api.toml")); err != nil {
		env.t.Fatal(err)
	}
}

// processState is what a configuration reload must not change without a reason.
type processState struct {
	daemon, plugin, master, worker int
	generation                     uint64
	offer                          string
}

func (env *testEnv) processState() processState {
	p := env.pipeline()
	last := fmt.Sprintf("%+v", p.Last)
	return processState{env.cmd.Process.Pid, env.pluginPID(), env.masterPID(), env.workerPID(), p.Generation, last}
}

// wantUnchanged fails the test if the processes or the applied generation changed.
func (env *testEnv) wantUnchanged(before processState) {
	env.t.Helper()
	if now := env.processState(); now != before {
		env.t.Errorf("\n%+v became\n%+v", before, now)
	}
	env.waitAnswer(8000, "a")
}

// The beginnings of the log messages that say how a configuration reload ended.
const (
	reloaded     = "configuration reloaded"
	reloadFailed = "configuration reload failed"
)

// waitReloaded waits until the log says that a configuration reload made these changes.
func (env *testEnv) waitReloaded(changes string) {
	env.t.Helper()
	env.eventually("the log says that the changes are "+changes, func() bool {
		return strings.Contains(lastLine(env.log, reloaded), changes)
	})
}

const reloadedMetric = "haproxy_api_config_last_reload_successful"

func newStartedEnv(t *testing.T, settings ...string) *testEnv {
	t.Helper()
	env := newTestEnv(t, settings...)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.eventually("healthy", env.healthy)
	env.waitInSync()
	return env
}

func TestConfigReload_AppliesSavedFile(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t)
	load := env.startLoad(8000)
	before := env.processState()

	env.addFileSink("")
	env.waitReloaded("sink names added; pipeline names added")
	env.eventually("the new pipeline's file", func() bool { return env.read("names") == "web\n" })
	env.wantUnchanged(before)

	env.write("other.tmpl", "other {{ range $name, $_ := .Services }}{{ $name }}\n{{ end }}")
	env.editConfig("names.tmpl", "other.tmpl")
	env.waitReloaded("pipeline names changed")
	env.eventually("the other template's file", func() bool { return env.read("names") == "other web\n" })
	env.wantUnchanged(before)

	_, names, _ := strings.Cut(env.read("haproxy-api.toml"), "[sinks.names]")
	env.editConfig("[sinks.names]"+names, "")
	env.waitReloaded("sink names removed; pipeline names removed")
	env.eventually("the API lists one pipeline", func() bool {
		body, _ := get("http://" + env.apiAddress + "/api/v1/pipelines")
		return !strings.Contains(body, "names")
	})
	env.wantUnchanged(before)
	load.wantNoFailures(t)
	if got := env.metric(reloadedMetric); got != reloadedMetric+" 1" {
		t.Errorf("the metric is %q", got)
	}
}

func TestConfigReload_SinkRestartKeepsHAProxy(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t, `reload_interval = "4s"`)
	load := env.startLoad(8000)
	before := env.processState()
	for i, interval := range []string{"3s", "2s", "1s"} {
		env.log.reset()
		env.editConfig(fmt.Sprintf(`reload_interval = "%ds"`, 4-i), fmt.Sprintf("reload_interval = %q", interval))
		env.waitReloaded("sink haproxy restarted")
		env.eventually("healthy", env.healthy)
	}
	now := env.processState()
	if now.plugin == before.plugin || now.master != before.master || now.worker != before.worker ||
		now.generation != before.generation {
		t.Errorf("\n%+v became\n%+v", before, now)
	}
	env.startInstance("web", "b", 8000)
	env.waitAnswer(8000, "b")
	env.startInstance("chat", "c", 8001)
	env.waitAnswer(8001, "c")
	load.wantNoFailures(t)
	env.eventually("the generation counter continues", func() bool { return env.pipeline().Generation == before.generation+2 })
}

func TestConfigReload_TemplatePathChanges(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "one.tmpl"`)
	env.write("one.tmpl", templateRevision(0))
	env.write("two.tmpl", templateRevision(4))
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitApplied()
	before := env.processState()
	load := env.startLoad(8000)
	env.editConfig("one.tmpl", "two.tmpl")
	env.eventually("the other template is applied", func() bool { return env.servedRevision(8000) == "4" })
	load.wantNoFailures(t)
	env.eventually("the generation counter continues", func() bool { return env.pipeline().Generation == before.generation+1 })
	if now := env.processState(); now.plugin != before.plugin || now.master != before.master {
		t.Errorf("\n%+v became\n%+v", before, now)
	}
}

func TestConfigReload_SourceTypeChanges(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t)
	load := env.startLoad(8000)
	before := env.processState()
	env.editConfig("[sidecar]\n", fmt.Sprintf("[sidecar]\nfollow = %q\n", env.sidecar.Address()))
	env.waitReloaded("source sidecar restarted")
	env.wantUnchanged(before)
	resp, err := http.Post("http://"+env.apiAddress+"/update", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusConflict {
		t.Errorf("a push is answered with %s", resp.Status)
	}
	env.startInstance("web", "b", 8000)
	env.waitAnswer(8000, "b")
	env.editConfig(fmt.Sprintf("follow = %q\n", env.sidecar.Address()), "")
	env.eventually("the first source is back", func() bool {
		return strings.Count(env.log.String(), "source sidecar restarted") == 2
	})
	env.startInstance("web", "d", 8000)
	env.waitAnswer(8000, "d")
	load.wantNoFailures(t)
}

func TestConfigReload_PortChanges(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t)
	before := env.processState()
	old := env.apiAddress
	env.editConfig("bind_port = 7778", "bind_port = 7779")
	env.waitReloaded("listens on " + net.JoinHostPort(env.ip, "7779"))
	env.apiAddress = net.JoinHostPort(env.ip, "7779")
	env.wantUnchanged(before)
	env.eventually("the old port is closed", func() bool {
		conn, err := net.Dial("tcp", old)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	env.stop()
}

func TestConfigReload_TokenFileChanges(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t)
	before := env.processState()
	env.write("token", "one\n")
	if err := os.Chmod(env.path("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	env.editConfig("[haproxy_api]", fmt.Sprintf("[haproxy_api]\nupdate_token_file = %q", env.path("token")))
	env.waitReloaded("access policy changed")
	push := func(token string) int {
		req, err := http.NewRequest(http.MethodPost, "http://"+env.apiAddress+"/api/v1/pipelines/none/apply", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if one, two := push("one"), push("two"); one != http.StatusNotFound || two != http.StatusUnauthorized {
		t.Errorf("answered %d and %d", one, two)
	}
	env.log.reset()
	env.write("token", "two\n")
	env.waitReloaded("access policy changed")
	if one, two := push("one"), push("two"); one != http.StatusUnauthorized || two != http.StatusNotFound {
		t.Errorf("answered %d and %d", one, two)
	}
	env.wantUnchanged(before)
}

func TestConfigReload_SIGHUPLogsResult(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t)
	before := env.processState()
	env.editConfig("[haproxy_api]", "# a word\n[haproxy_api]") // changes no setting
	env.sighup()
	env.waitReloaded("changes=none")
	env.editConfig("[haproxy_api]", "[haproxy_api]\nlogging_level = \"debug\"\nlogging_format = \"json\"")
	env.waitReloaded("log level DEBUG")
	env.waitLogged("key=haproxy_api.logging_format")
	env.wantUnchanged(before)
	if strings.Count(env.log.String(), reloaded) != 2 {
		t.Error("a save that changes nothing is logged")
	}
}

// A daemon that was started without a configuration file loads the file when it appears.
func TestConfigReload_FileAppears(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	config := env.read("haproxy-api.toml")
	if err := os.Remove(env.path("haproxy-api.toml")); err != nil {
		t.Fatal(err)
	}
	env.log = &logFile{}
	env.cmd = exec.Command("haproxy-api", "--set", "haproxy_api.bind_ip="+env.ip, "--set", "haproxy_api.bind_port=7778",
		"--set", "haproxy.config_file="+env.path("haproxy.cfg"), "--set", "haproxy.pid_file="+env.path("haproxy.pid"))
	env.cmd.Dir, env.cmd.Stdout, env.cmd.Stderr = env.directory, env.log, env.log
	if err := env.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	env.waitLogged("haproxy-api started")
	env.write("haproxy-api.toml", config)
	env.waitReloaded(reloaded)
	env.startInstance("web", "a", 8000)
	env.waitAnswer(8000, "a")
}

// While the file is written slowly, its beginning is a valid configuration with fewer settings. The daemon must not load that.
func TestConfigReload_WaitsForSlowWriter(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t)
	before := env.processState()
	whole := env.read("haproxy-api.toml") + "\n# the end\n"
	for env.writeSlowly("haproxy-api.toml", whole) > configDebounce/2 {
		// On a busy machine, a pause may be so long that the daemon takes it for the end.
		env.sighup()
		env.waitReloaded(reloaded)
		env.eventually("healthy", env.healthy)
		before = env.processState()
		env.log.reset()
	}
	env.sighup()
	env.waitReloaded("changes=none")
	if strings.Contains(env.log.String(), reloadFailed) || strings.Count(env.log.String(), reloaded) != 1 {
		t.Error("a part of the file was loaded")
	}
	env.wantUnchanged(before)
}

// writeSlowly writes the content line by line and returns the longest pause.
func (env *testEnv) writeSlowly(name, content string) time.Duration {
	env.t.Helper()
	began := time.Now()
	file, err := os.Create(env.path(name))
	if err != nil {
		env.t.Fatal(err)
	}
	defer file.Close()
	var longest time.Duration
	for line := range strings.Lines(content) {
		time.Sleep(configDebounce / 5)
		if _, err := file.WriteString(line); err != nil {
			env.t.Fatal(err)
		}
		longest = max(longest, time.Since(began))
		began = time.Now()
	}
	return longest
}

// configDebounce is how long a configuration file has to be unchanged before the daemon loads it.
const configDebounce = 200 * time.Millisecond

// pluginSinkConfig returns the tables of a sink whose plugin is that program.
func pluginSinkConfig(path string) string {
	return fmt.Sprintf("[sinks.x]\ntype = \"x\"\n[plugins.x]\npath = %q\n[haproxy]", path)
}

func TestConfigReload_InvalidChangesNothing(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "one.tmpl"`)
	env.write("one.tmpl", templateRevision(0))
	env.write("nonsense.tmpl", templateRevision(0)+"\nlisten x\n  nonsense\n")
	env.write("unrendered.tmpl", templateRevision(0)+"\n{{ fail \"never\" }}\n")
	env.write("uncompiled.tmpl", "{{ nonsense }}")
	env.write("world", "#!/bin/sh\n")
	taken, err := net.Listen("tcp", env.ip+":7790")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.eventually("healthy", env.healthy)
	env.waitApplied()
	load := env.startLoad(8000)
	before := env.processState()
	good := env.read("haproxy-api.toml")
	for _, fault := range []struct{ name, from, to, said string }{
		{"syntax", "[haproxy]", "[haproxy", "haproxy-api.toml"},
		{"unknown key", "[haproxy]", "[haproxy]\nnonsense = 1", "nonsense"},
		{"wrong value", `template = "one.tmpl"`, "template = \"one.tmpl\"\non_exit = \"perhaps\"", "on_exit"},
		{"two of them", "[haproxy]", "[haproxy]\nnonsense = 1\nrubbish = 2", "rubbish"},
		{"no such template", "one.tmpl", "none.tmpl", "none.tmpl"},
		{"a template that does not compile", "one.tmpl", "uncompiled.tmpl", "uncompiled.tmpl:1:4"},
		{"a template that does not render", "one.tmpl", "unrendered.tmpl", "never"},
		{"a template that HAProxy rejects", "one.tmpl", "nonsense.tmpl", "nonsense"},
		{"a port in use", "bind_port = 7778", "bind_port = 7790", "cannot listen on " + env.ip + ":7790"},
		{"no such plugin", "[haproxy]", pluginSinkConfig("/none/x"), "there is no plugin at /none/x"},
		{"no plugin at all", "[haproxy]", pluginSinkConfig("/bin/true"), "did not start"},
		{"a bad block", "[haproxy]", "[sinks.x]\ntype = \"file\"\n[haproxy]", "path is missing"},
		{"no such source", "[haproxy]", "[pipelines.x]\nsource = \"none\"\nsink = \"haproxy\"\n[haproxy]", "none"},
		{"no such certificate", "[haproxy_api]", "[haproxy_api]\ntls_cert = \"none.pem\"\ntls_key = \"none.key\"", "none.pem"},
		{"no such token", "[haproxy_api]", "[haproxy_api]\nupdate_token_file = \"none\"", "update_token_file"},
		{"empty", good, " \n", "is empty"},
	} {
		env.log.reset()
		env.editConfig(fault.from, fault.to)
		env.eventually(fault.name+" is logged", func() bool {
			line := lastLine(env.log, reloadFailed)
			return strings.Contains(line, fault.said)
		})
		if got := env.metric(reloadedMetric); got != reloadedMetric+" 0" {
			t.Errorf("%s: the metric is %q", fault.name, got)
		}
		env.wantUnchanged(before)
		env.log.reset()
		env.editConfig(env.read("haproxy-api.toml"), good)
		env.waitReloaded("changes=none")
		if got := env.metric(reloadedMetric); got != reloadedMetric+" 1" {
			t.Errorf("%s, corrected: the metric is %q", fault.name, got)
		}
	}
	if err := os.Remove(env.path("haproxy-api.toml")); err != nil {
		t.Fatal(err)
	}
	env.waitLogged("haproxy-api.toml is missing")
	env.wantUnchanged(before)
	env.startInstance("web", "b", 8000)
	env.waitAnswer(8000, "b")
	load.wantNoFailures(t)
}

// The lock of the file is acquired after the old sink has ended, so that a conflict is found late and the previous sink has to be
// restored.
func TestConfigReload_LockedFileRestoresPreviousSink(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t)
	other := newTestEnv(t)
	other.startInstance("web", "x", 8000)
	other.start()
	other.waitAnswer(8000, "x")
	load := env.startLoad(8000)
	before := env.processState()
	env.editConfig(env.path("haproxy.cfg"), other.path("haproxy.cfg"))
	env.waitLogged("is managed by another haproxy-api (process " + fmt.Sprint(other.cmd.Process.Pid) + ")")
	env.waitLogged(reloadFailed)
	env.eventually("healthy", env.healthy)
	now := env.processState()
	if now.master != before.master || now.worker != before.worker || now.generation != before.generation {
		t.Errorf("\n%+v became\n%+v", before, now)
	}
	env.startInstance("web", "b", 8000)
	env.waitAnswer(8000, "b")
	load.wantNoFailures(t)
}

// The source is restarted from the previous configuration too, and receives the pushes.
func TestConfigReload_RestoredSourceReceivesPushes(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.editConfig("[sidecar]", "[sidecar]\nresync_interval = \"0s\"")
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	other := newTestEnv(t)
	other.startInstance("web", "x", 8000)
	other.start()
	other.waitAnswer(8000, "x")
	config := strings.Replace(env.read("haproxy-api.toml"), `"0s"`, `"1h"`, 1)
	env.write("haproxy-api.toml", strings.Replace(config, env.path("haproxy.cfg"), other.path("haproxy.cfg"), 1))
	env.waitLogged(reloadFailed)
	env.eventually("healthy", env.healthy)
	env.startInstance("web", "b", 8000)
	env.waitAnswer(8000, "b")
}

func TestConfigReload_LeaksNothing(t *testing.T) {
	t.Parallel()
	env := newStartedEnv(t, `reload_interval = "1s"`)
	env.addFileSink("")
	env.waitLogged("pipeline names added")
	env.waitLogged("pipeline=names generation=1")
	daemon, goroutines := env.cmd.Process.Pid, env.metric("go_goroutines")
	before := plainFiles(daemon)
	const reloads, slack = 10, 5 // some files are closed when the garbage collector runs
	for i := range reloads {
		env.log.reset()
		if i%2 == 0 {
			env.editConfig(`reload_interval = "1s"`, `reload_interval = "2s"`)
		} else {
			env.editConfig(`reload_interval = "2s"`, `reload_interval = "1s"`)
		}
		env.sighup()
		env.waitReloaded("sink haproxy restarted")
	}
	env.eventually("healthy", env.healthy)
	env.eventually("one plugin and one worker run", func() bool {
		return len(childPIDs(daemon)) == 1 && len(childPIDs(env.masterPID())) == 1
	})
	env.eventually("the daemon has not a file more open for each reload", func() bool {
		return plainFiles(daemon) <= before+slack
	})
	t.Logf("%d files open, and before %d; %s, and before %s", plainFiles(daemon), before, env.metric("go_goroutines"), goroutines)
	env.eventually("the number of goroutines is as before", func() bool {
		var was, is int
		_, _ = fmt.Sscanf(goroutines, "go_goroutines %d", &was)
		_, _ = fmt.Sscanf(env.metric("go_goroutines"), "go_goroutines %d", &is)
		return is <= was+5
	})
	env.waitAnswer(8000, "a")
}
