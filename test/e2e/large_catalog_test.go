package e2e_test

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
)

// A fleet is a large catalogue, posted as a Sidecar posts it: with each push the Updated times of a sixth of the instances have
// moved, as each instance reports about once a minute and a push comes every ten seconds. Its first service has one instance,
// which each change replaces, so that the first answer from the new one tells that the change is in effect.
type fleet struct {
	*site
	client    *http.Client
	instances []sdk.Instance
	encoded   [][]byte // the instances, as they were encoded last
	ports     [2]int64 // where the instances of the first service answer in turn
	changes   int
}

const (
	fleetFrom  = 20000 // the first service's port
	fleetHosts = 20
	heartbeats = 6 // pushes in which each instance has reported once
)

// newFleet starts a daemon with a catalogue of that size.
func newFleet(b *testing.B, services, instances int) *fleet {
	f := &fleet{site: newSite(b), client: &http.Client{Transport: &http.Transport{}}}
	f.write("haproxy-api.toml", strings.Replace(f.read("haproxy-api.toml"), f.sidecar.URL("/state.json"), "", 1))
	b.Cleanup(f.client.CloseIdleConnections)
	f.ports = [2]int64{f.answering(), f.answering()}
	for service := range services {
		for n := range instances {
			if service > 0 || n == 0 {
				f.instances = append(f.instances, fleetInstance(service, n, f.ports[0]))
			}
		}
	}
	f.encoded = make([][]byte, len(f.instances))
	for n := range f.instances {
		f.encode(n)
	}
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
		Hostname: fleetHost(n), ProxyMode: "http", Status: sdk.Alive, Created: now, Updated: now,
		Ports: []sdk.Port{{Type: "tcp", Port: port, ServicePort: int64(fleetFrom + service), IP: "127.0.0.1"}},
	}
}

func fleetHost(n int) string { return fmt.Sprintf("node-%02d", n%fleetHosts) }

// answering starts a server that answers with its port.
func (f *fleet) answering() int64 {
	var port int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, port) }))
	port = int64(server.Listener.Addr().(*net.TCPAddr).Port)
	f.t.Cleanup(server.Close)
	return port
}

// change replaces the instance of the first service, moves heartbeats, and returns what a Sidecar posts then.
func (f *fleet) change() []byte {
	f.t.Helper()
	f.changes++
	f.instances[0] = fleetInstance(0, f.changes*fleetHosts, f.newest())
	f.encode(0)
	f.beat()
	return fmt.Appendf(nil, `{"State":%s,"ChangeEvent":{"Service":%s,"PreviousStatus":%d,"Time":%q}}`,
		f.state(), f.encoded[0], sdk.Unknown, f.instances[0].Updated.Format(time.RFC3339Nano))
}

// beat moves the Updated time of a sixth of the instances.
func (f *fleet) beat() {
	for n := 1 + f.changes%heartbeats; n < len(f.instances); n += heartbeats {
		f.instances[n].Updated = time.Now().UTC()
		f.encode(n)
	}
}

func (f *fleet) encode(n int) {
	content, err := json.Marshal(f.instances[n])
	if err != nil {
		f.t.Fatal(err)
	}
	f.encoded[n] = content
}

// state is the whole state in Sidecar's encoding, made of instances that are encoded already.
func (f *fleet) state() []byte {
	byHost := map[string][]int{}
	for n, i := range f.instances {
		byHost[i.Hostname] = append(byHost[i.Hostname], n)
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	out := bytes.NewBufferString(`{"Servers":{`)
	for host := range min(fleetHosts, len(byHost)) {
		name, separator := fleetHost(host), ","
		if host == 0 {
			separator = ""
		}
		fmt.Fprintf(out, `%s%q:{"Name":%q,"Services":{`, separator, name, name)
		for n, instance := range byHost[name] {
			if n > 0 {
				out.WriteByte(',')
			}
			fmt.Fprintf(out, `%q:%s`, f.instances[instance].ID, f.encoded[instance])
		}
		fmt.Fprintf(out, `},"LastUpdated":%q,"LastChanged":%q}`, now, now)
	}
	fmt.Fprintf(out, `},"LastChanged":%q,"ClusterName":"fleet","Hostname":"node-00"}`, now)
	return out.Bytes()
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

func (f *fleet) answeredByNewest() {
	f.t.Helper()
	f.answeredBy(f.newest())
}

// answeredBy asks until the instance at that port answers. The pauses between are short against the time that has passed, and
// leave the processor to those who are measured.
func (f *fleet) answeredBy(port int64) {
	f.t.Helper()
	want, url := strconv.FormatInt(port, 10), fmt.Sprintf("http://%s:%d/", f.ip, fleetFrom)
	for began := time.Now(); time.Since(began) < patience; {
		if answer, err := getBy(f.client, url); err == nil && answer == want {
			return
		}
		time.Sleep(max(200*time.Microsecond, time.Since(began)/20))
	}
	f.t.Fatalf("never: an answer from port %s", want)
}

// settled waits until the file on disk is that of the last change.
func (f *fleet) settled() {
	f.t.Helper()
	last := fmt.Sprintf("-%s 127.0.0.1:%d", f.instances[0].ID, f.newest())
	f.eventually("the file follows", func() bool { return strings.Contains(f.read(f.config), last) })
	f.eventually("healthy", f.healthy)
}
