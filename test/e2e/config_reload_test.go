package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// save replaces a text in the configuration file, as most editors do: with a new file that is renamed into place.
func (s *site) save(from, to string) {
	s.t.Helper()
	config := s.read("haproxy-api.toml")
	if !strings.Contains(config, from) {
		s.t.Fatalf("the configuration has no %q", from)
	}
	s.write("haproxy-api.toml.new", strings.Replace(config, from, to, 1))
	if err := os.Rename(s.path("haproxy-api.toml.new"), s.path("haproxy-api.toml")); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) hangup() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
}

// standing is what a change of the configuration must not touch where nothing asks for it.
type standing struct {
	daemon, plugin, master, worker int
	generation                     uint64
	offer                          string
}

func (s *site) standing() standing {
	p := s.pipeline()
	return standing{s.cmd.Process.Pid, s.pluginPID(), s.masterPID(), s.workerPID(), p.Generation, fmt.Sprintf("%+v", p.Last)}
}

// untouched wants all to stand as it did.
func (s *site) untouched(before standing) {
	s.t.Helper()
	if now := s.standing(); now != before {
		s.t.Errorf("\n%+v became\n%+v", before, now)
	}
	s.answered(8000, "a")
}

// metric returns the line of /metrics that starts with the name.
func (s *site) metric(name string) string {
	body, err := get("http://" + s.api + "/metrics")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, name) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

const reloadedMetric = "haproxy_api_config_last_reload_successful"

func started(t *testing.T, settings ...string) *site {
	t.Helper()
	s := newSite(t, settings...)
	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	s.eventually("healthy", s.healthy)
	s.agrees()
	return s
}

func TestASavedConfigurationIsInForce(t *testing.T) {
	t.Parallel()
	s := started(t)
	load := s.load(8000)
	before := s.standing()

	s.fileSink("")
	s.logged("configuration reloaded: sink names added, pipeline names added")
	s.eventually("the new pipeline's file", func() bool { return s.read("names") == "web\n" })
	s.untouched(before)

	s.write("other.tmpl", "other {{ range $name, $_ := .Services }}{{ $name }}\n{{ end }}")
	s.save("names.tmpl", "other.tmpl")
	s.logged("configuration reloaded: pipeline names changed")
	s.eventually("the other template's file", func() bool { return s.read("names") == "other web\n" })
	s.untouched(before)

	_, names, _ := strings.Cut(s.read("haproxy-api.toml"), "[sinks.names]")
	s.save("[sinks.names]"+names, "")
	s.logged("configuration reloaded: sink names removed, pipeline names removed")
	s.eventually("only one pipeline is told of", func() bool {
		body, _ := get("http://" + s.api + "/api/v1/pipelines")
		return !strings.Contains(body, "names")
	})
	s.untouched(before)
	load.unharmed(t)
	if got := s.metric(reloadedMetric); got != reloadedMetric+" 1" {
		t.Errorf("the metric is %q", got)
	}
}

func TestASinkThatChangesIsRestartedAndHAProxyIsNot(t *testing.T) {
	t.Parallel()
	s := started(t, `reload_interval = "4s"`)
	load := s.load(8000)
	before := s.standing()
	for i, interval := range []string{"3s", "2s", "1s"} {
		s.log.reset()
		s.save(fmt.Sprintf(`reload_interval = "%ds"`, 4-i), fmt.Sprintf("reload_interval = %q", interval))
		s.logged("configuration reloaded: sink haproxy restarted")
		s.eventually("healthy", s.healthy)
	}
	now := s.standing()
	if now.plugin == before.plugin || now.master != before.master || now.worker != before.worker ||
		now.generation != before.generation {
		t.Errorf("\n%+v became\n%+v", before, now)
	}
	s.serve("web", "b", 8000)
	s.answered(8000, "b")
	s.serve("chat", "c", 8001)
	s.answered(8001, "c")
	load.unharmed(t)
	s.eventually("the generations go on", func() bool { return s.pipeline().Generation == before.generation+2 })
}

func TestATemplateOfAnotherPathTakesOver(t *testing.T) {
	t.Parallel()
	s := newSite(t, `template = "one.tmpl"`)
	s.write("one.tmpl", edited(0))
	s.write("two.tmpl", edited(4))
	s.serve("web", "a", 8000)
	s.start()
	s.converged()
	before := s.standing()
	load := s.load(8000)
	s.save("one.tmpl", "two.tmpl")
	s.eventually("the other template shows", func() bool { return s.shown(8000) == "4" })
	load.unharmed(t)
	s.eventually("the generations go on", func() bool { return s.pipeline().Generation == before.generation+1 })
	if now := s.standing(); now.plugin != before.plugin || now.master != before.master {
		t.Errorf("\n%+v became\n%+v", before, now)
	}
}

func TestASourceOfAnotherKindTakesOver(t *testing.T) {
	t.Parallel()
	s := started(t)
	load := s.load(8000)
	before := s.standing()
	s.save("[sidecar]\n", fmt.Sprintf("[sidecar]\nfollow = %q\n", s.sidecar.Address()))
	s.logged("configuration reloaded: source sidecar restarted")
	s.untouched(before)
	resp, err := http.Post("http://"+s.api+"/update", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusConflict {
		t.Errorf("a push is answered with %s", resp.Status)
	}
	s.serve("web", "b", 8000)
	s.answered(8000, "b")
	s.save(fmt.Sprintf("follow = %q\n", s.sidecar.Address()), "")
	s.eventually("back", func() bool { return strings.Count(s.log.String(), "source sidecar restarted") == 2 })
	s.serve("web", "d", 8000)
	s.answered(8000, "d")
	load.unharmed(t)
}

func TestThePortMayChange(t *testing.T) {
	t.Parallel()
	s := started(t)
	before := s.standing()
	old := s.api
	s.save("bind_port = 7778", "bind_port = 7779")
	s.logged("configuration reloaded: listens on " + net.JoinHostPort(s.ip, "7779"))
	s.api = net.JoinHostPort(s.ip, "7779")
	s.untouched(before)
	s.eventually("the old port is closed", func() bool {
		conn, err := net.Dial("tcp", old)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	s.stop()
}

func TestATokenInAFileOfItsOwnMayChange(t *testing.T) {
	t.Parallel()
	s := started(t)
	before := s.standing()
	s.write("token", "one\n")
	if err := os.Chmod(s.path("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.save("[haproxy_api]", fmt.Sprintf("[haproxy_api]\nupdate_token_file = %q", s.path("token")))
	s.logged("configuration reloaded: access policy changed")
	push := func(token string) int {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.api+"/api/v1/pipelines/none/apply", nil)
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
	s.log.reset()
	s.write("token", "two\n")
	s.logged("configuration reloaded: access policy changed")
	if one, two := push("one"), push("two"); one != http.StatusUnauthorized || two != http.StatusNotFound {
		t.Errorf("answered %d and %d", one, two)
	}
	s.untouched(before)
}

func TestSIGHUPAlwaysSaysWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	s := started(t)
	before := s.standing()
	s.save("[haproxy_api]", "# a word\n[haproxy_api]") // says nothing that is new
	s.hangup()
	s.logged("configuration reloaded: nothing changed")
	s.save("[haproxy_api]", "[haproxy_api]\nlogging_level = \"debug\"\nlogging_format = \"json\"")
	s.logged("configuration reloaded: log level DEBUG")
	s.logged("key=haproxy_api.logging_format")
	s.untouched(before)
	if strings.Count(s.log.String(), "configuration reloaded") != 2 {
		t.Error("a save that changes nothing is told of")
	}
}

// A daemon that began without a file finds the one that comes.
func TestAConfigurationFileThatAppearsIsTakenUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	config := s.read("haproxy-api.toml")
	if err := os.Remove(s.path("haproxy-api.toml")); err != nil {
		t.Fatal(err)
	}
	s.log = &logFile{}
	s.cmd = exec.Command("haproxy-api", "--set", "haproxy_api.bind_ip="+s.ip, "--set", "haproxy_api.bind_port=7778",
		"--set", "haproxy.config_file="+s.path("haproxy.cfg"), "--set", "haproxy.pid_file="+s.path("haproxy.pid"))
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.folder, s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.logged("haproxy-api started")
	s.write("haproxy-api.toml", config)
	s.logged("configuration reloaded: ")
	s.serve("web", "a", 8000)
	s.answered(8000, "a")
}

// Somebody writes slowly, and what is there meanwhile is a good configuration of much less.
func TestHalfAConfigurationIsNotTakenUp(t *testing.T) {
	t.Parallel()
	s := started(t)
	before := s.standing()
	whole := s.read("haproxy-api.toml") + "\n# the end\n"
	for s.writeSlowly("haproxy-api.toml", whole) > calm/2 {
		// So long a pause, which a busy machine makes, may be taken for the end.
		s.hangup()
		s.logged("configuration reloaded: ")
		s.eventually("healthy", s.healthy)
		before = s.standing()
		s.log.reset()
	}
	s.hangup()
	s.logged("configuration reloaded: nothing changed")
	if strings.Contains(s.log.String(), "reload failed") || strings.Count(s.log.String(), "configuration reloaded") != 1 {
		t.Error("half of it was looked at")
	}
	s.untouched(before)
}

// writeSlowly writes line by line, and returns the longest pause that it made.
func (s *site) writeSlowly(name, content string) time.Duration {
	s.t.Helper()
	began := time.Now()
	file, err := os.Create(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	var longest time.Duration
	for line := range strings.Lines(content) {
		time.Sleep(calm / 5)
		if _, err := file.WriteString(line); err != nil {
			s.t.Fatal(err)
		}
		longest = max(longest, time.Since(began))
		began = time.Now()
	}
	return longest
}

// calm is how long a configuration file has to be unchanged before the daemon reads it.
const calm = 200 * time.Millisecond

// plugged is a sink of which that program is the plugin.
func plugged(path string) string {
	return fmt.Sprintf("[sinks.x]\ntype = \"x\"\n[plugins.x]\npath = %q\n[haproxy]", path)
}

func TestABrokenConfigurationChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, `template = "one.tmpl"`)
	s.write("one.tmpl", edited(0))
	s.write("nonsense.tmpl", edited(0)+"\nlisten x\n  nonsense\n")
	s.write("unrendered.tmpl", edited(0)+"\n{{ fail \"never\" }}\n")
	s.write("uncompiled.tmpl", "{{ nonsense }}")
	s.write("world", "#!/bin/sh\n")
	taken, err := net.Listen("tcp", s.ip+":7790")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	s.eventually("healthy", s.healthy)
	s.converged()
	load := s.load(8000)
	before := s.standing()
	good := s.read("haproxy-api.toml")
	for _, fault := range []struct{ name, from, to, said string }{
		{"syntax", "[haproxy]", "[haproxy", "haproxy-api.toml"},
		{"unknown key", "[haproxy]", "[haproxy]\nnonsense = 1", "nonsense"},
		{"wrong value", `template = "one.tmpl"`, "template = \"one.tmpl\"\non_exit = \"perhaps\"", "on_exit"},
		{"two of them", "[haproxy]", "[haproxy]\nnonsense = 1\nrubbish = 2", "rubbish"},
		{"no such template", "one.tmpl", "none.tmpl", "none.tmpl"},
		{"a template that does not compile", "one.tmpl", "uncompiled.tmpl", "uncompiled.tmpl:1:4"},
		{"a template that does not render", "one.tmpl", "unrendered.tmpl", "never"},
		{"a template that HAProxy rejects", "one.tmpl", "nonsense.tmpl", "nonsense"},
		{"a port in use", "bind_port = 7778", "bind_port = 7790", "cannot listen on " + s.ip + ":7790"},
		{"no such plugin", "[haproxy]", plugged("/none/x"), "there is no plugin at /none/x"},
		{"no plugin at all", "[haproxy]", plugged("/bin/true"), "did not start"},
		{"a bad block", "[haproxy]", "[sinks.x]\ntype = \"file\"\n[haproxy]", "path is missing"},
		{"no such source", "[haproxy]", "[pipelines.x]\nsource = \"none\"\nsink = \"haproxy\"\n[haproxy]", "none"},
		{"no such certificate", "[haproxy_api]", "[haproxy_api]\ntls_cert = \"none.pem\"\ntls_key = \"none.key\"", "none.pem"},
		{"no such token", "[haproxy_api]", "[haproxy_api]\nupdate_token_file = \"none\"", "update_token_file"},
		{"empty", good, " \n", "is empty"},
	} {
		s.log.reset()
		s.save(fault.from, fault.to)
		s.eventually(fault.name+" is told", func() bool {
			line := lastLine(s.log, "configuration reload failed; keeping the previous configuration")
			return strings.Contains(line, fault.said)
		})
		if got := s.metric(reloadedMetric); got != reloadedMetric+" 0" {
			t.Errorf("%s: the metric is %q", fault.name, got)
		}
		s.untouched(before)
		s.log.reset()
		s.save(s.read("haproxy-api.toml"), good)
		s.logged("configuration reloaded: nothing changed")
		if got := s.metric(reloadedMetric); got != reloadedMetric+" 1" {
			t.Errorf("%s, mended: the metric is %q", fault.name, got)
		}
	}
	if err := os.Remove(s.path("haproxy-api.toml")); err != nil {
		t.Fatal(err)
	}
	s.logged("haproxy-api.toml is missing")
	s.untouched(before)
	s.serve("web", "b", 8000)
	s.answered(8000, "b")
	load.unharmed(t)
}

// The claim is made when the old sink has ended, so that is too late to find it out beforehand.
func TestASinkThatMayNotClaimGivesWayToTheOneBefore(t *testing.T) {
	t.Parallel()
	s := started(t)
	other := newSite(t)
	other.serve("web", "x", 8000)
	other.start()
	other.answered(8000, "x")
	load := s.load(8000)
	before := s.standing()
	s.save(s.path("haproxy.cfg"), other.path("haproxy.cfg"))
	s.logged("is managed by another haproxy-api (process " + fmt.Sprint(other.cmd.Process.Pid) + ")")
	s.logged("configuration reload failed; keeping the previous configuration")
	s.eventually("healthy", s.healthy)
	now := s.standing()
	if now.master != before.master || now.worker != before.worker || now.generation != before.generation {
		t.Errorf("\n%+v became\n%+v", before, now)
	}
	s.serve("web", "b", 8000)
	s.answered(8000, "b")
	load.unharmed(t)
}

// The source was ended too, and another one was made of the configuration before: it is the one that gets the pushes.
func TestPushesGoOnWhereTheOneBeforeComesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.save("[sidecar]", "[sidecar]\nresync_interval = \"0s\"")
	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	other := newSite(t)
	other.serve("web", "x", 8000)
	other.start()
	other.answered(8000, "x")
	config := strings.Replace(s.read("haproxy-api.toml"), `"0s"`, `"1h"`, 1)
	s.write("haproxy-api.toml", strings.Replace(config, s.path("haproxy.cfg"), other.path("haproxy.cfg"), 1))
	s.logged("configuration reload failed; keeping the previous configuration")
	s.eventually("healthy", s.healthy)
	s.serve("web", "b", 8000)
	s.answered(8000, "b")
}

func TestManySavesLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	s := started(t, `reload_interval = "1s"`)
	s.fileSink("")
	s.logged("pipeline names added")
	s.logged("pipeline=names generation=1")
	before, goroutines := s.steadyBelongings(), s.metric("go_goroutines")
	for i := range 50 {
		if i%2 == 0 {
			s.save(`reload_interval = "1s"`, `reload_interval = "2s"`)
		} else {
			s.save(`reload_interval = "2s"`, `reload_interval = "1s"`)
		}
	}
	s.hangup()
	s.logged("nothing changed")
	s.eventually("healthy", s.healthy)
	s.eventually("as many belongings", func() bool { return s.belongings() == before })
	t.Logf("%s; %s, and before %s", before, s.metric("go_goroutines"), goroutines)
	s.eventually("as many goroutines", func() bool {
		var was, is int
		_, _ = fmt.Sscanf(goroutines, "go_goroutines %d", &was)
		_, _ = fmt.Sscanf(s.metric("go_goroutines"), "go_goroutines %d", &is)
		return is <= was+5
	})
	s.answered(8000, "a")
}
