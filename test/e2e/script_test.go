package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// TestScript runs the command line. Each script has its own loopback address in $IP, and a short directory for sockets in $RUN.
func TestScript(t *testing.T) {
	t.Parallel()
	needHAProxy(t)
	program, err := exec.LookPath("haproxy-api")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("IP", freshIP())
			env.Setenv("BIN", filepath.Dir(program))
			// The path of a script's own directory may be too long for a unix socket.
			run, err := os.MkdirTemp("", "ha")
			if err != nil {
				return err
			}
			env.Setenv("RUN", run)
			env.Defer(func() {
				killHAProxyIn(run)
				_ = os.RemoveAll(run)
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "sidecar": startSidecar, "occupy": listenOn,
		},
	})
}

// await URL|FILE TEXT waits until the body of the answer, or the file, contains TEXT.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await URL|FILE TEXT")
	}
	var last string
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		content, err := readURLOrFile(ts, args[0])
		if err != nil {
			last = err.Error()
			continue
		}
		if last = string(content); strings.Contains(last, args[1]) {
			return
		}
	}
	ts.Fatalf("%s does not contain %q but %s", args[0], args[1], last)
}

func readURLOrFile(ts *testscript.TestScript, at string) ([]byte, error) {
	if !strings.HasPrefix(at, "http://") {
		return os.ReadFile(ts.MkAbs(at))
	}
	resp, err := http.Get(at)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// startSidecar is the command sidecar. It starts a Sidecar at $SIDECAR with one instance of the service web, on ServicePort 8000,
// that answers "hello from web".
func startSidecar(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: sidecar")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello from web")
	}))
	s := sidecartest.New(sidecartest.Options{})
	if err := s.Start(context.Background()); err != nil {
		ts.Fatalf("%v", err)
	}
	ts.Defer(func() { s.Close(); server.Close() })
	s.Add(sdk.Instance{
		ID: "1", Name: "web", Hostname: "node-1", ProxyMode: "http", Image: "web:1",
		Ports: []sdk.Port{{
			Type: "tcp", Port: int64(server.Listener.Addr().(*net.TCPAddr).Port), ServicePort: 8000, IP: "127.0.0.1",
		}},
	})
	ts.Setenv("SIDECAR", s.Address())
}

// listenOn is the command occupy ADDRESS. It listens there until the script ends.
func listenOn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy ADDRESS")
	}
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		ts.Fatalf("%v", err)
	}
	ts.Defer(func() { listener.Close() })
}
