package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// A fakeConsul answers the two queries of the source as Consul does, with one index for all of its state.
type fakeConsul struct {
	*testing.T
	address string
	server  *httptest.Server // nil while it is stopped

	mu       sync.Mutex
	index    uint64
	services map[string][]*api.ServiceEntry
	changed  chan struct{} // closed by the next change
	fault    http.HandlerFunc
	queries  map[string]int // how often each path was requested
	waits    map[string]int // how many queries of each path wait for a change
}

func startConsul(t *testing.T) *fakeConsul {
	t.Helper()
	c := &fakeConsul{
		T: t, address: freeAddress(t), index: 10, services: map[string][]*api.ServiceEntry{}, changed: make(chan struct{}),
		queries: map[string]int{}, waits: map[string]int{},
	}
	c.start()
	t.Cleanup(c.stop)
	return c
}

func (c *fakeConsul) start() {
	c.Helper()
	listener, err := net.Listen("tcp", c.address)
	if err != nil {
		c.Fatal(err)
	}
	c.server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	c.server.Listener.Close()
	c.server.Listener = listener
	c.server.Start()
}

// stop closes all connections and accepts none until start.
func (c *fakeConsul) stop() {
	if c.server == nil {
		return
	}
	c.server.Listener.Close()
	c.server.CloseClientConnections()
	c.server.Close()
	c.server = nil
}

func (c *fakeConsul) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.queries[r.URL.Path]++
	fault := c.fault
	c.mu.Unlock()
	if fault != nil {
		fault(w, r)
		return
	}
	index, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	c.await(r, index, time.After(wait))
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("X-Consul-Index", strconv.FormatUint(c.index, 10))
	writeJSON(w, c.result(r))
}

// await returns when the index is greater, after the wait, or when the client is gone.
func (c *fakeConsul) await(r *http.Request, index uint64, expired <-chan time.Time) {
	path := r.URL.Path
	for {
		c.mu.Lock()
		changed, now := c.changed, c.index
		if index > 0 && now <= index {
			c.waits[path]++
		}
		c.mu.Unlock()
		if index == 0 || now > index {
			return
		}
		ended := false
		select {
		case <-changed:
		case <-expired:
			ended = true
		case <-r.Context().Done():
			ended = true
		}
		c.mu.Lock()
		c.waits[path]--
		c.mu.Unlock()
		if ended {
			return
		}
	}
}

func (c *fakeConsul) result(r *http.Request) any {
	if r.URL.Path == "/v1/catalog/services" {
		names := map[string][]string{}
		for name, entries := range c.services {
			for _, entry := range entries {
				names[name] = append(names[name], entry.Service.Tags...)
			}
		}
		return names
	}
	name, _ := strings.CutPrefix(r.URL.Path, "/v1/health/service/")
	entries := slices.Clone(c.services[name])
	tag := r.URL.Query().Get("tag")
	return append([]*api.ServiceEntry{}, slices.DeleteFunc(entries, func(e *api.ServiceEntry) bool {
		return tag != "" && !slices.Contains(e.Service.Tags, tag)
	})...)
}

// change changes the state and wakes up the queries.
func (c *fakeConsul) change(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index++
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// set replaces the instances of a service; without any, the service is removed.
func (c *fakeConsul) set(name string, entries ...*api.ServiceEntry) {
	c.change(func() {
		if c.services[name] = entries; len(entries) == 0 {
			delete(c.services, name)
		}
	})
}

// setFault makes the fault answer all queries, also those that wait now. nil ends that.
func (c *fakeConsul) setFault(fault http.HandlerFunc) {
	c.mu.Lock()
	c.fault = fault
	c.mu.Unlock()
	if fault != nil {
		c.server.CloseClientConnections()
	}
}

// waiting waits until a query of that path waits for a change.
func (c *fakeConsul) waiting(path string) {
	c.Helper()
	eventually(c.T, "a query of "+path+" waits", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.waits[path] > 0
	})
}

func (c *fakeConsul) count() (queries int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range maps.Values(c.queries) {
		queries += n
	}
	return queries
}

// entry returns an instance of a service with the required fields and that health.
func entry(name, node, id string, port int, health string) *api.ServiceEntry {
	check := &api.HealthCheck{Node: node, CheckID: "service:" + id, ServiceID: id, Status: health}
	if health == api.HealthMaint {
		check.CheckID, check.Status = api.ServiceMaintPrefix+id, api.HealthCritical
	}
	return &api.ServiceEntry{
		Node:    &api.Node{Node: node, Address: "127.0.0.1"},
		Service: &api.AgentService{ID: id, Service: name, Port: port},
		Checks:  api.HealthChecks{check},
	}
}

func passing(name, node, id string, port int) *api.ServiceEntry {
	return entry(name, node, id, port, api.HealthPassing)
}

// freeAddress returns an unused address on a loopback address that other tests are unlikely to use.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func writeJSON(w http.ResponseWriter, value any) { _ = json.NewEncoder(w).Encode(value) }
