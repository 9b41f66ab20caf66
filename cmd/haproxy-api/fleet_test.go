package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// A fleet is a large catalogue, posted without a Sidecar. In its first service one instance after the other is replaced, and
// those that come answer with their port.
type fleet struct {
	*site
	client   *http.Client
	snapshot sdk.Snapshot
	standing int64   // the port at which the first service's instances answer at first
	ports    []int64 // and those of the ones that come, which take turns
	changes  int
}

const fleetFrom = 20000 // the first service's port

// newFleet starts a daemon with a catalogue of that size.
func newFleet(b *testing.B, services, instances int) *fleet {
	f := &fleet{site: newSite(b), client: &http.Client{Transport: &http.Transport{}}}
	f.write("haproxy-api.toml", strings.Replace(f.read("haproxy-api.toml"), f.sidecar.URL("/state.json"), "", 1))
	b.Cleanup(f.client.CloseIdleConnections)
	f.standing = f.answering()
	for range 2 * instances {
		f.ports = append(f.ports, f.answering())
	}
	var all []sdk.Instance
	for service := range services {
		for n := range instances {
			all = append(all, fleetInstance(service, n, f.standing))
		}
	}
	f.snapshot = sdk.Snapshot{Cluster: "fleet", Changed: time.Now().UTC(), Services: sdk.GroupByName(all)}
	f.start()
	f.eventually("the daemon answers", func() bool { code, _ := f.health(); return code != 0 })
	f.post(f.change())
	f.eventually("healthy", f.healthy)
	f.answeredByNewest()
	f.settled()
	return f
}

func fleetInstance(service, n int, port int64) sdk.Instance {
	now := time.Now().UTC()
	return sdk.Instance{
		ID: fmt.Sprintf("%012x", 1<<20*(service+1)+n), Name: fmt.Sprintf("service-%04d", service), Image: "registry/image:1",
		Hostname: fmt.Sprintf("node-%02d", n%20), ProxyMode: "http", Status: sdk.Alive, Created: now, Updated: now,
		Ports: []sdk.Port{{Type: "tcp", Port: port, ServicePort: int64(fleetFrom + service), IP: "127.0.0.1"}},
	}
}

// answering starts a server that answers with its port.
func (f *fleet) answering() int64 {
	var port int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, port) }))
	port = int64(server.Listener.Addr().(*net.TCPAddr).Port)
	f.t.Cleanup(server.Close)
	return port
}

// change replaces the oldest instance of the first service, and returns what a Sidecar posts then.
func (f *fleet) change() []byte {
	f.t.Helper()
	f.changes++
	service := &f.snapshot.Services[0]
	next := fleetInstance(0, len(service.Instances)+f.changes, f.newest())
	next.Hostname = service.Instances[0].Hostname
	service.Instances = append(service.Instances[1:len(service.Instances):len(service.Instances)], next)
	f.snapshot.Changed = next.Updated
	var state bytes.Buffer
	if err := sidecar.EncodeState(&state, f.snapshot); err != nil {
		f.t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{
		"State":       json.RawMessage(state.Bytes()),
		"ChangeEvent": map[string]any{"Service": next, "PreviousStatus": sdk.Unknown, "Time": next.Updated},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return body
}

// newest is the port of the instance that came last.
func (f *fleet) newest() int64 { return f.ports[f.changes%len(f.ports)] }

func (f *fleet) post(body []byte) {
	f.t.Helper()
	resp, err := f.client.Post("http://"+f.api+"/update", "application/json", bytes.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		f.t.Fatalf("%s: %s", resp.Status, answer)
	}
}

// answeredByNewest asks without a pause until the instance that came last answers.
func (f *fleet) answeredByNewest() {
	f.t.Helper()
	want, url := strconv.FormatInt(f.newest(), 10), fmt.Sprintf("http://%s:%d/", f.ip, fleetFrom)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if answer, err := getBy(f.client, url); err == nil && answer == want {
			return
		}
	}
	f.t.Fatalf("never: an answer from port %s", want)
}

// settled waits until the file on disk is that of the last change.
func (f *fleet) settled() {
	f.t.Helper()
	last := fmt.Sprintf("127.0.0.1:%d", f.newest())
	f.eventually("the file follows", func() bool { return strings.Contains(f.read(f.config), last) })
	f.eventually("healthy", f.healthy)
}
