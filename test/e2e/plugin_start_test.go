package e2e_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

// A backend that is down at the start, or at a check, is no fault of the configuration.
func TestStart_PluginWhoseBackendIsDown(t *testing.T) {
	s := newSite(t)
	s.write("haproxy-api.toml", s.read("haproxy-api.toml")+s.troubledPlugin())
	s.write("down", "")
	s.serve("web", "a", 8000)
	if out := s.output("check"); !strings.Contains(out, "cannot start at the moment") || strings.Contains(out, "no faults") {
		t.Errorf("check says\n%s", out)
	}
	s.start()
	s.eventually("the daemon is there", s.apiAnswers)
	p := s.pipelineThat("unhealthy", func(p server.Pipeline) bool { return len(p.Problems) > 0 })
	if !strings.Contains(strings.Join(p.Problems, "\n"), "connection refused") {
		t.Errorf("problems %q", p.Problems)
	}
	if err := os.Remove(s.path("down")); err != nil {
		t.Fatal(err)
	}
	s.answered(8000, "a")
	s.eventually("healthy", s.healthy)
	s.stop()
}

// What is the sink's to know is not said to be checked where the sink cannot check it.
func TestCheck_NamesWhatNoSinkHasChecked(t *testing.T) {
	s := newSite(t)
	s.severalPipelines("exec stubborn-plugin")
	s.write("state.json", `{"Servers":{}}`)
	for format, want := range map[string]string{
		"text": "no faults; not checked by a sink: other\n", "json": `"unchecked": [` + "\n    \"other\"\n  ]",
	} {
		if out := s.output("check", "--state", s.path("state.json"), "--output", format); !strings.Contains(out, want) {
			t.Errorf("check says\n%s", out)
		}
	}
}

// A reload that needs a plugin which cannot start at the moment changes nothing, and can be tried again.
func TestReload_PluginThatCannotStart(t *testing.T) {
	s := newSite(t, `drain_timeout = "2s"`)
	s.write("haproxy-api.toml", s.read("haproxy-api.toml")+s.troubledPlugin())
	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	plugin := s.pluginPID()
	s.write("down", "")
	s.write("haproxy-api.toml", strings.Replace(s.read("haproxy-api.toml"), `"2s"`, `"3s"`, 1))
	s.eventually("the reload is refused", func() bool { return strings.Contains(s.log.String(), "connection refused") })
	if now := s.pluginPID(); now != plugin || !s.healthy() {
		t.Errorf("process %d became %d, healthy %v", plugin, now, s.healthy())
	}
	if err := os.Remove(s.path("down")); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.eventually("the reload is done", func() bool { return strings.Contains(s.log.String(), "sink haproxy restarted") })
	s.answered(8000, "a")
	s.stop()
}
