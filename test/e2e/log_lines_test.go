package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A logRecord is a line of the daemon's log in JSON.
type logRecord map[string]any

func (r logRecord) is(level, message string) bool { return r["level"] == level && r["msg"] == message }

// about returns what the record is about: its component, and the thing in it.
func (r logRecord) about() string {
	var all []string
	for _, key := range []string{"pipeline", "source", "sink", "plugin", "file", "client", "service", "instance"} {
		if value, ok := r[key]; ok {
			all = append(all, fmt.Sprintf("%s=%v", key, value))
		}
	}
	return strings.Join(all, " ")
}

// records returns the lines of the log. The text before the first line that is JSON is not the daemon's log.
func (env *testEnv) records() (all []logRecord) {
	for line := range strings.Lines(env.log.String()) {
		var r logRecord
		if json.Unmarshal([]byte(line), &r) == nil {
			all = append(all, r)
		}
	}
	return all
}

// waitRecord waits until the log has a record with that level and message.
func (env *testEnv) waitRecord(level, message string) {
	env.t.Helper()
	env.eventually("the log has: "+message, func() bool {
		return slices.ContainsFunc(env.records(), func(r logRecord) bool { return r.is(level, message) })
	})
}

// A logFault is a fault that a test provokes and then ends.
type logFault struct {
	level, message, over string
	provoke, end         func()
}

// TestLog_EachFaultHasOneLineAndOneRecovery provokes faults one after another while changes go on. Any other line of level warn
// or error fails the test.
func TestLog_EachFaultHasOneLineAndOneRecovery(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "0s"`)
	target, err := url.Parse(env.sidecar.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	env.write("haproxy.tmpl", weightTemplate)
	good := env.startInstance("web", "a", 8000)
	for n := range 3 {
		env.startInstance("web", fmt.Sprint("more", n), 8000)
	}
	state := env.path("state")
	env.start("--log-format", "json", "--set", "haproxy_api.state_dir="+state,
		"--set", "sidecar.state_url="+front.URL+"/state.json",
		"--set", "sidecar.resync_interval=200ms", "--set", "sidecar.min_instances=2", "--set", "sidecar.hold=10m",
		"--set", "haproxy_api.update_token=", "--set", `haproxy_api.allow_from=127.0.0.0/8`)
	env.waitApplied()
	instances := 0
	change := func() { // a change at run time that is applied
		t.Helper()
		instances++
		env.startInstance("web", fmt.Sprint("new", instances), 8000)
		env.waitInSync()
	}
	env.waitInSync()
	bad := good
	bad.ID, bad.Hostname = "bad", "host-bad"
	quarantined := good
	quarantined.ID, quarantined.Hostname = "q", "host-quarantined"

	for _, fault := range []logFault{
		{
			"ERROR", "template not used", "template accepted again",
			func() { env.write("haproxy.tmpl", "{{ nosuch }}"); change() },
			func() { env.write("haproxy.tmpl", weightTemplate+"\n# edited\n"); env.template = nil },
		},
		{
			"WARN", "excluded, so that the rest can go live", "no longer excluded",
			func() { bad.Image = "web:300"; env.sidecar.Add(bad) },
			func() { bad.Image = good.Image; env.sidecar.Add(bad) },
		},
		{
			"WARN", "quarantined: no template gets it until its values change", "no longer quarantined",
			func() {
				quarantined.Ports = []sdk.Port{{Type: "tcp", Port: 1, ServicePort: 8000, IP: "white space"}}
				env.sidecar.Add(quarantined)
				change()
			},
			func() { quarantined.Ports = good.Ports; env.sidecar.Add(quarantined) },
		},
		{
			"WARN", "fetching the state failed; retrying. Check that Sidecar runs and that state_url is right",
			"the state was fetched again",
			func() { away.Store(true) },
			func() { away.Store(false) },
		},
		{
			"WARN", "push rejected; fetching the state instead. If this recurs, check what sends to this address",
			"push accepted again",
			func() {
				for range 3 {
					resp, err := http.Post("http://"+env.apiAddress+"/update", "application/json", strings.NewReader("{"))
					if err != nil || resp.StatusCode != http.StatusBadRequest {
						t.Errorf("the push got %v, %v", resp, err)
					}
				}
			},
			change,
		},
		{
			"ERROR", "saving the last good state failed, retrying; it would be missing after a restart",
			"the last good state is saved again",
			func() {
				if err := os.Rename(state, state+".away"); err != nil {
					t.Fatal(err)
				}
				env.write("state", "a file")
				change()
			},
			func() {
				if err := os.Remove(state); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(state+".away", state); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			"WARN", "HAProxy ended; starting it again", "HAProxy serves again",
			func() { signal(t, env.masterPID(), syscall.SIGKILL) },
			func() {},
		},
		{
			"ERROR", "plugin ended, restarting", "plugin started",
			func() { signal(t, env.pluginPID(), syscall.SIGKILL) },
			func() {},
		},
		{
			"ERROR", "configuration reload failed; keeping the previous configuration", "configuration reloaded",
			func() { env.editConfig("[sidecar]", "[sidecar]\nbogus = 1") },
			func() { env.editConfig("bogus = 1\n", "") },
		},
		{
			"WARN", "snapshot held; POST /api/v1/pipelines/NAME/release releases it", "snapshot no longer held",
			func() {
				env.sidecar.Restart()
				env.startInstance("web", "again", 8000)
				env.waitPipeline("held", func(p server.Pipeline) bool { return p.Held != nil })
			},
			func() { env.post("/api/v1/pipelines/haproxy/release") },
		},
	} {
		t.Run(fault.message, func(t *testing.T) {
			before := len(env.records())
			fault.provoke()
			env.waitRecord(fault.level, fault.message)
			fault.end()
			env.eventually("the log has: "+fault.over, func() bool {
				begun, over := env.countLines(env.records()[before:], fault)
				for about := range begun {
					if over[about] == 0 {
						return false
					}
				}
				return true
			})
			env.waitInSync()
			env.wantOneLineEach(t, env.records()[before:], fault)
		})
	}
	if line := env.log.String(); strings.Contains(line, `\n`) {
		t.Errorf("a line has \\n: %s", line)
	}
}

// wantOneLineEach checks the records since the fault began.
func (env *testEnv) wantOneLineEach(t *testing.T, records []logRecord, fault logFault) {
	t.Helper()
	begun, over := env.countLines(records, fault)
	for _, r := range records {
		switch {
		case r.is(fault.level, fault.message):
		case strings.HasPrefix(fault.over, "the last good state") && r["msg"] == historyFault: // it is in the same directory
		case r["level"] != "INFO" && r["level"] != "DEBUG":
			t.Errorf("another line: %v", r)
		}
	}
	for about, n := range begun {
		if n != 1 {
			t.Errorf("%d lines about %q", n, about)
		}
		if over[about] != 1 {
			t.Errorf("%d lines when it is over for %q, among %v", over[about], about, over)
		}
	}
}

// countLines counts the lines with which the fault begins and ends, by what they are about.
func (env *testEnv) countLines(records []logRecord, fault logFault) (begun, over map[string]int) {
	begun, over = map[string]int{}, map[string]int{}
	for _, r := range records {
		about := strings.TrimSuffix(r.about(), " file="+env.path(env.config)) // which HAProxy's start does not have
		switch {
		case r.is(fault.level, fault.message):
			begun[about]++
		case r.is("INFO", fault.over):
			over[about]++
		}
	}
	return begun, over
}

// historyFault is the message of the history that cannot be saved.
const historyFault = "saving the history failed, retrying; the last changes would be missing after a restart"

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}
