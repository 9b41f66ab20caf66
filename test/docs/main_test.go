package docs_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// simulator is the name of the program that is a Sidecar with services. This test binary is that program too.
const simulator = "simulated-sidecar"

// programs is a directory with the programs that the documents use: haproxy-api, and the simulator. It is the first one in PATH.
var programs string

// TestMain builds haproxy-api. TEST_HAPROXY_API names a binary to use instead, and TEST_HAPROXY the HAProxy.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == simulator {
		if err := simulate(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(func() int {
		var err error
		if programs, err = os.MkdirTemp("", "docs"); err == nil {
			defer os.RemoveAll(programs)
			err = providePrograms()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func providePrograms() error {
	path := []string{programs}
	if haproxy := os.Getenv("TEST_HAPROXY"); haproxy != "" {
		path = append(path, filepath.Dir(haproxy))
	}
	if err := os.Setenv("PATH", strings.Join(append(path, os.Getenv("PATH"), "/usr/sbin", "/sbin"), ":")); err != nil {
		return err
	}
	own, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Symlink(own, filepath.Join(programs, simulator)); err != nil {
		return err
	}
	binary := filepath.Join(programs, "haproxy-api")
	if tested := os.Getenv("TEST_HAPROXY_API"); tested != "" {
		return os.Symlink(tested, binary)
	}
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary,
		"github.com/haproxy-api/haproxy-api/cmd/haproxy-api").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building haproxy-api: %w\n%s", err, out)
	}
	return nil
}

// simulate serves the API of a Sidecar at localhost:7777 until a signal arrives. It pushes to haproxy-api at localhost:7778. Its
// services are web at port 8080 and api at port 8081, with two instances each, which answer with their names.
func simulate() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	sidecar := sidecartest.New(sidecartest.Options{
		Address:   "127.0.0.1:7777",
		Listeners: []string{"http://127.0.0.1:7778/update"},
	})
	var instances []sdk.Instance
	for n, name := range []string{"web", "api"} {
		for instance := range 2 {
			port := int64(31000 + 10*n + instance)
			instances = append(instances, sdk.Instance{
				ID: fmt.Sprintf("%s-%d", name, instance+1), Name: name, Hostname: fmt.Sprintf("node-%d", instance+1),
				Image: name + ":1.0", ProxyMode: "http",
				Ports: []sdk.Port{{Type: "tcp", Port: port, ServicePort: int64(8080 + n), IP: "127.0.0.1"}},
			})
		}
	}
	for _, i := range instances {
		sidecar.Add(i)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", i.Ports[0].Port))
		if err != nil {
			return err
		}
		server := http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(
			func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s on %s\n", i.ID, i.Hostname) })}
		defer server.Close()
		go func() { _ = server.Serve(listener) }()
	}
	if err := sidecar.Start(ctx); err != nil {
		return err
	}
	defer sidecar.Close()
	<-ctx.Done()
	return nil
}
