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

// A largeCatalogue is a catalogue that is posted as a Sidecar posts it: the Updated times of a sixth of the instances move with
// each push, since each instance reports about once a minute and a push comes every ten seconds. The first service has one
// instance. Each change replaces it, so that its first answer shows that the change is applied.
type largeCatalogue struct {
	*testEnv
	client    *http.Client
	instances []sdk.Instance
	encoded   [][]byte // the JSON of each instance
	ports     [2]int64 // the ports between which the instance of the first service alternates
	changes   int
}

const (
	catalogueFirstPort = 20000 // the port of the first service
	catalogueHosts     = 20
	pushesPerHeartbeat = 6 // in so many pushes each instance reports once
)

// newLargeCatalogue starts a daemon with a catalogue of that size.
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

// startBackend starts a server that answers with its port, and returns the port.
func (c *largeCatalogue) startBackend() int64 {
	var port int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, port) }))
	port = int64(server.Listener.Addr().(*net.TCPAddr).Port)
	c.t.Cleanup(server.Close)
	return port
}

// change replaces the instance of the first service, moves timestamps, and returns the body of the push.
func (c *largeCatalogue) change() []byte {
	c.t.Helper()
	c.changes++
	c.instances[0] = catalogueInstance(0, c.changes*catalogueHosts, c.newest())
	c.encode(0)
	c.moveTimestamps()
	return fmt.Appendf(nil, `{"State":%s,"ChangeEvent":{"Service":%s,"PreviousStatus":%d,"Time":%q}}`,
		c.state(), c.encoded[0], sdk.Unknown, c.instances[0].Updated.Format(time.RFC3339Nano))
}

// moveTimestamps moves the Updated time of a sixth of the instances.
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

// state returns the state in Sidecar's encoding, composed of the encoded instances.
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
	fmt.Fprintf(out, `},"LastChanged":%q,"ClusterName":"large","Hostname":"node-00"}`, now)
	return out.Bytes()
}

// newest returns the port of the current instance of the first service.
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

// waitAnsweredBy sends requests until the instance at that port answers. The pauses are short compared with the time that has
// passed, and leave the processor to the measured processes.
func (c *largeCatalogue) waitAnsweredBy(port int64) {
	c.t.Helper()
	want, url := strconv.FormatInt(port, 10), fmt.Sprintf("http://%s:%d/", c.ip, catalogueFirstPort)
	for began := time.Now(); time.Since(began) < waitLimit; {
		if answer, err := getBy(c.client, url); err == nil && answer == want {
			return
		}
		time.Sleep(max(200*time.Microsecond, time.Since(began)/20))
	}
	c.t.Fatalf("no answer from port %s", want)
}

// waitPersisted waits until the file contains the last change.
func (c *largeCatalogue) waitPersisted() {
	c.t.Helper()
	last := fmt.Sprintf("-%s 127.0.0.1:%d", c.instances[0].ID, c.newest())
	c.eventually("the file is persisted", func() bool { return strings.Contains(c.read(c.config), last) })
	c.eventually("healthy", c.healthy)
}
