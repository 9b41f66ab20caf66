package haproxy

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// pretend answers on a socket like a HAProxy of that version with that process id, and returns the commands that it gets.
func (r *testEnv) pretend(s *Sink, version string, pid int) (told func() []string) {
	r.t.Helper()
	listener, err := net.Listen("unix", r.path("pretend.sock"))
	check(r.t, err)
	commands := make(chan string, 100)
	done := make(chan struct{})
	r.t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				answer := ""
				switch line := lines.Text(); line {
				case "prompt":
				case "show info":
					answer = fmt.Sprintf("Name: HAProxy\nVersion: %s\nPid: %d\nStopping: 0\n", version, pid)
				default:
					commands <- line
				}
				_, _ = fmt.Fprintf(conn, "%s\n> ", answer)
			}
			_ = conn.Close()
		}
	}()
	s.change.Lock()
	defer s.change.Unlock()
	s.client.Close()
	s.endpoint = func(process.Instance) (runtimeapi.Endpoint, error) {
		return runtimeapi.Endpoint{Path: r.path("pretend.sock")}, nil
	}
	return func() []string {
		close(commands)
		var all []string
		for command := range commands {
			all = append(all, command)
		}
		return all
	}
}

func TestRuntimeChange_AnotherProcessAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		version string
		pid     func(worker int) int
		reason  string
		told    string
	}{
		{"2.2.9", func(worker int) int { return worker }, "HAProxy 2.2.9 cannot be changed at run time", ""},
		{"2.4.3", func(worker int) int { return worker }, "HAProxy 2.4.3 cannot be changed at run time", ""},
		{"2.5.14", func(worker int) int { return worker }, "HAProxy 2.5.14 cannot be changed at run time", ""},
		{"2.6.12", func(worker int) int { return worker + 1 }, "does not answer", ""},
		{"2.6.12", func(worker int) int { return worker }, "does not list its servers", "show servers state app"},
	} {
		r := newTestEnv(t)
		s := r.sink()
		one := r.document("one")
		r.apply(s, one, sdk.ActionRestart)
		told := r.pretend(s, test.version, test.pid(r.running(s).Worker))
		result := r.apply(s, edited(one, "server s1", "server s2"), sdk.ActionReload)
		if !strings.Contains(result.Reason, test.reason) {
			t.Errorf("%s: reason %q", test.version, result.Reason)
		}
		r.wantServed("one")
		s.change.Lock()
		s.client.Close()
		s.change.Unlock()
		r.stop(s)
		if all := told(); test.told == "" && len(all) > 0 || test.told != "" && (len(all) == 0 || all[0] != test.told) {
			t.Errorf("%s was told %q", test.version, all)
		}
	}
}

// A HAProxy that cannot be changed at run time is healthy, and the facts say why it cannot.
func TestHealth_VersionWithoutRuntimeChanges(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.watchful()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	if fact := runtimeFact(t, s); fact != "" {
		t.Errorf("runtime is %q for the HAProxy that runs", fact)
	}
	told := r.pretend(s, "2.5.14", r.running(s).Worker)
	eventually(t, "the facts name the version", func() bool { return strings.Contains(runtimeFact(t, s), "HAProxy 2.5.14") })
	wantHealthy(t, s)
	r.stop(s)
	if all := told(); len(all) > 0 {
		t.Errorf("it was told %q", all)
	}
}

func runtimeFact(t *testing.T, s *Sink) string {
	t.Helper()
	h, err := s.Health(t.Context())
	check(t, err)
	return h.Facts["runtime"]
}
