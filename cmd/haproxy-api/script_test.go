package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// await URL TEXT waits until the answer of the URL contains the text.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await URL TEXT")
	}
	var last string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(args[0])
		if err != nil {
			last = err.Error()
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if last = string(body); strings.Contains(last, args[1]) {
			return
		}
	}
	ts.Fatalf("%s never answered with %q; last: %s", args[0], args[1], last)
}

// sidecar starts a Sidecar at $SIDECAR that knows one instance of the service web, on ServicePort 8000, which answers
// "hello from web".
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

// occupy ADDRESS listens there until the script ends.
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy ADDRESS")
	}
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		ts.Fatalf("%v", err)
	}
	ts.Defer(func() { listener.Close() })
}
