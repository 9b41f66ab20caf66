package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const recorded = "../../sources/sidecar/testdata/recorded/"

func TestHAProxy_FollowsCatalogue(t *testing.T) {
	t.Parallel()
	for _, follow := range []bool{false, true} {
		t.Run(fmt.Sprintf("follow=%v", follow), func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			first := env.startInstance("web", "a", 8000)
			if follow {
				env.start("-F", env.sidecar.Address())
			} else {
				env.start()
			}
			env.waitAnswer(8000, "a")
			env.eventually("healthy", env.healthy)
			env.startInstance("web", "b", 8000)
			env.sidecar.Drain(first.Hostname, first.ID)
			env.waitAnswer(8000, "b")
			env.sidecar.SetStatus(first.Hostname, first.ID, sdk.Alive)
			env.sidecar.Remove("host-b", "b")
			env.eventually("b is gone", func() bool { return !strings.Contains(env.read("haproxy.cfg"), "host-b") })
			env.waitAnswer(8000, "a")
			env.startInstance("chat", "c", 8001)
			env.waitAnswer(8001, "c")
			env.stop()
			env.waitAnswer(8000, "a") // HAProxy keeps running without the daemon
		})
	}
}

func TestPush_RecordedSequence(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.start()
	env.eventually("the daemon answers", func() bool { code, _ := env.health(); return code != 0 })
	pushes, err := filepath.Glob(recorded + "updates/post-*.json")
	if err != nil || len(pushes) != 31 {
		t.Fatalf("%d recorded pushes, %v", len(pushes), err)
	}
	for _, push := range pushes {
		body, err := os.ReadFile(push)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post("http://"+env.apiAddress+"/update", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", push, resp.Status)
		}
	}
	want := env.render(recorded + "state-4-node3-tombstoned.json")
	env.eventually("the configuration of the last state", func() bool { return env.read("haproxy.cfg") == want })
	env.eventually("healthy", env.healthy)
	if diff := cmp.Diff(want, env.read("haproxy.cfg")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// render returns what the subcommand render prints for the state in a file.
func (env *testEnv) render(file string) string {
	env.t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		env.t.Fatal(err)
	}
	return env.subcommandOutput("render", "--state", path)
}

func TestPush_InvalidBodies(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start("--set", "haproxy_api.max_body=100000")
	env.waitAnswer(8000, "a")
	whole, err := os.ReadFile(recorded + "updates/post-001.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		name string
		body []byte
		code int
	}{
		{"malformed", []byte("{]"), 400},
		{"empty", nil, 400},
		{"truncated", whole[:len(whole)/2], 400},
		{"another thing", []byte(`{"hello":1}`), 400},
		{"oversized", bytes.Repeat([]byte(" "), 200_000), 413},
	} {
		resp, err := http.Post("http://"+env.apiAddress+"/update", "application/json", bytes.NewReader(bad.body))
		if err != nil {
			t.Fatal(err)
		}
		var answer bytes.Buffer
		_, _ = answer.ReadFrom(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != bad.code || !strings.HasPrefix(answer.String(), `{"errors":["`) {
			t.Errorf("%s: %s %s", bad.name, resp.Status, answer.String())
		}
		t.Logf("%s: %d %s", bad.name, resp.StatusCode, strings.TrimSpace(answer.String()))
	}
	env.waitAnswer(8000, "a")
	env.eventually("healthy", env.healthy)
	env.startInstance("chat", "c", 8001)
	env.waitAnswer(8001, "c")
}
