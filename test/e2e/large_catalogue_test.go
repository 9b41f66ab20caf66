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
type largeCatalogue struct {
	*testEnv
	client    *http.Client
	instances []sdk.Instance
	encoded   [][]byte // the instances, as they were encoded last
	ports     [2]int64 // where the instances of the first service answer in turn
	changes   int
}

const (
	catalogueFirstPort = 20000 // the first service's port
	catalogueHosts     = 20
	pushesPerHeartbeat = 6 // pushes in which each instance has reported once
)

// newFleet starts a daemon with a catalogue of that size.
func newLargeCatalogue(b *testing.B, services, instances int) *largeCatalogue {
	c := &largeCatalogue{testEnv: newTestEnv(b), client: &http.Client{Transport: &http.Transport{}}}
	c.write("haproxy-api.toml", strings.Replace(c.read("haproxy-api.toml"), c.sidecar.URL("/state.json"), "", 1))
	b.Cleanup(c.client.CloseIdleConnections)
	c.ports = [2]int64{c.startBackend(), c.startBackend()}
	for service := range services {
		for n := range instances {
			if service > 0 || n == 0 {
				c.instances = append(c.instances, catalogueInstance(service, n, c.ports[0]))
			}
		}
	}
	c.encoded = make([][]byte, len(c.instances))
	for n := range c.instances {
		c.encode(n)
	}
	c.start()
	c.eventually("the daemon answers", func() bool { code, _ := c.health(); return code != 0 })
	c.push(c.change())
	c.eventually("healthy", c.healthy)
	c.waitAnsweredByNewest()
	c.waitPersisted()
	return c
}

func catalogueInstance(service, n int, port int64) sdk.Instance {
	now := time.Now().UTC()
	return sdk.Instance{
		ID: fmt.Sprintf("%012x", 1<<20*(service+1)+n), Name: fmt.Sprintf("service-%04d", service), Image: "registry/image:1",
		Hostname: catalogueHost(n), ProxyMode: "http", Status: sdk.Alive, Created: now, Updated: now,
		Ports: []sdk.Port{{Type: "tcp", Port: port, ServicePort: int64(catalogueFirstPort + service), IP: "127.0.0.1"}},
	}
}

func catalogueHost(n int) string { return fmt.Sprintf("node-%02d", n%catalogueHosts) }

// answering starts a server that answers with its port.
func (c *largeCatalogue) startBackend() int64 {
	var port int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, port) }))
	port = int64(server.Listener.Addr().(*net.TCPAddr).Port)
	c.t.Cleanup(server.Close)
	return port
}

// change replaces the instance of the first service, moves heartbeats, and returns what a Sidecar posts then.
func (c *largeCatalogue) change() []byte {
	c.t.Helper()
	c.changes++
	c.instances[0] = catalogueInstance(0, c.changes*catalogueHosts, c.newest())
	c.encode(0)
	c.moveTimestamps()
	return fmt.Appendf(nil, `{"State":%s,"ChangeEvent":{"Service":%s,"PreviousStatus":%d,"Time":%q}}`,
		c.state(), c.encoded[0], sdk.Unknown, c.instances[0].Updated.Format(time.RFC3339Nano))
}

// beat moves the Updated time of a sixth of the instances.
func (c *largeCatalogue) moveTimestamps() {
	for n := 1 + c.changes%pushesPerHeartbeat; n < len(c.instances); n += pushesPerHeartbeat {
		c.instances[n].Updated = time.Now().UTC()
		c.encode(n)
	}
}

func (c *largeCatalogue) encode(n int) {
	content, err := json.Marshal(c.instances[n])
	if err != nil {
		c.t.Fatal(err)
	}
	c.encoded[n] = content
}

// state is the whole state in Sidecar's encoding, made of instances that are encoded already.
func (c *largeCatalogue) state() []byte {
	byHost := map[string][]int{}
	for n, i := range c.instances {
		byHost[i.Hostname] = append(byHost[i.Hostname], n)
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	out := bytes.NewBufferString(`{"Servers":{`)
	for host := range min(catalogueHosts, len(byHost)) {
		name, separator := catalogueHost(host), ","
		if host == 0 {
			separator = ""
		}
		fmt.Fprintf(out, `%s%q:{"Name":%q,"Services":{`, separator, name, name)
		for n, instance := range byHost[name] {
			if n > 0 {
				out.WriteByte(',')
			}
			fmt.Fprintf(out, `%q:%s`, c.instances[instance].ID, c.encoded[instance])
		}
		fmt.Fprintf(out, `},"LastUpdated":%q,"LastChanged":%q}`, now, now)
	}
	fmt.Fprintf(out, `},"LastChanged":%q,"ClusterName":"fleet","Hostname":"node-00"}`, now)
	return out.Bytes()
}

// newest is the port of the instance that came last.
func (c *largeCatalogue) newest() int64 { return c.ports[c.changes%len(c.ports)] }

func (c *largeCatalogue) push(body []byte) {
	c.t.Helper()
	resp, err := c.client.Post("http://"+c.apiAddress+"/update", "application/json", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s", resp.Status, answer)
	}
}

func (c *largeCatalogue) waitAnsweredByNewest() {
	c.t.Helper()
	c.waitAnsweredBy(c.newest())
}

// answeredBy asks until the instance at that port answers. The pauses between are short against the time that has passed, and
// leave the processor to those who are measured.
func (c *largeCatalogue) waitAnsweredBy(port int64) {
	c.t.Helper()
	want, url := strconv.FormatInt(port, 10), fmt.Sprintf("http://%s:%d/", c.ip, catalogueFirstPort)
	for began := time.Now(); time.Since(began) < waitLimit; {
		if answer, err := getBy(c.client, url); err == nil && answer == want {
			return
		}
		time.Sleep(max(200*time.Microsecond, time.Since(began)/20))
	}
	c.t.Fatalf("never: an answer from port %s", want)
}

// settled waits until the file on disk is that of the last change.
func (c *largeCatalogue) waitPersisted() {
	c.t.Helper()
	last := fmt.Sprintf("-%s 127.0.0.1:%d", c.instances[0].ID, c.newest())
	c.eventually("the file follows", func() bool { return strings.Contains(c.read(c.config), last) })
	c.eventually("healthy", c.healthy)
}
