package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func webInstance(service, host string, status sdk.Status, ip string, port int64) sdk.Instance {
	return sdk.Instance{
		ID: "id-" + host, Name: service, Hostname: host, Status: status, Created: changed,
		Ports: []sdk.Port{{Type: "tcp", Port: port, ServicePort: 80, IP: ip}},
	}
}

// emitInstances emits a snapshot and waits until the engine uses it.
func (s *testServer) emitInstances(instances ...sdk.Instance) {
	s.source.snapshots <- sdk.Snapshot{Source: "sidecar", Taken: time.Now(), Services: sdk.GroupByName(instances)}
	<-s.sink.applied
}

// instances returns the answer to a request for instances.
func (s *testServer) instances(t *testing.T, query string) InstanceList {
	t.Helper()
	code, body := s.ask("GET", "/api/v1/pipelines/haproxy/instances?"+query)
	var list InstanceList
	if err := json.Unmarshal([]byte(body), &list); err != nil || code != http.StatusOK {
		t.Fatalf("%s: got %d %s, %v", query, code, body, err)
	}
	return list
}

func hosts(instances []Instance) []string {
	var all []string
	for _, i := range instances {
		all = append(all, i.Service+"/"+i.Hostname)
	}
	return all
}

func TestInstances_Answer(t *testing.T) {
	s := newTestServer(t, true)
	if got := s.instances(t, ""); got.Total != 0 || got.Instances == nil {
		t.Errorf("before the first snapshot: %+v", got)
	}
	web := webInstance("web", "node-1", sdk.Alive, "192.0.2.1", 31000)
	web.Ports = append(web.Ports, sdk.Port{Type: "udp", Port: 53}, web.Ports[0])
	bad := webInstance("web", "node 2", sdk.Alive, "192.0.2.2", 31000)
	s.emitInstances(web, bad)
	s.sink.setServers(func(context.Context) ([]sdk.Server, error) {
		return []sdk.Server{{
			Backend: "web-80", Name: "node-1-id", Address: "192.0.2.1:31000", Status: "UP", InStatus: 90 * time.Second,
			Check: "L4OK", Weight: 1, Sessions: 2, Queue: 3,
		}}, nil
	})
	want := InstanceList{
		Total: 2, Matched: 2, Services: 1, Counts: InstanceCounts{Alive: 1, Quarantined: 1},
		Instances: []Instance{
			{
				Service: "web", ID: "id-node 2", Hostname: `"node 2"`, Status: "quarantined",
				Quarantined: "Hostname contains white space",
			},
			{
				Service: "web", ID: "id-node-1", Hostname: "node-1", Status: "alive", Since: &changed,
				Addresses: []string{"192.0.2.1:31000", "node-1:53/udp"},
				Servers: []InstanceServer{{
					Backend: "web-80", Name: "node-1-id", Status: "UP", InStatusSeconds: 90, Check: "L4OK", Weight: 1,
					Sessions: 2, Queue: 3,
				}},
			},
		},
	}
	got := s.instances(t, "")
	got.Instances[0].ID = "id-node 2" // the quarantine may quote it
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	s.want(t, "GET", "/api/v1/pipelines/x/instances", 404,
		`{"errors":["there is no such pipeline; GET /api/v1/pipelines lists them"]}`)
	s.want(t, "POST", "/api/v1/pipelines/haproxy/instances", 405,
		`{"errors":["this method is not allowed here; allowed: GET, HEAD"]}`)
}

func TestInstances_Query(t *testing.T) {
	s := newTestServer(t, true)
	s.emitInstances(
		webInstance("web", "node-1", sdk.Alive, "192.0.2.1", 31000),
		webInstance("web", "node-2", sdk.Unhealthy, "192.0.2.2", 31000),
		webInstance("web", "node-3", sdk.Draining, "192.0.2.3", 31000),
		webInstance("api", "node-1", sdk.Alive, "192.0.2.1", 32000),
		webInstance("api", "node-4", sdk.Tombstone, "", 32000), webInstance("db", "node-5", sdk.Unknown, "2001:db8::5", 33000),
	)
	for _, test := range []struct {
		query    string
		want     string // the instances
		matched  int
		services int
	}{
		{"", "api/node-1 api/node-4 db/node-5 web/node-1 web/node-2 web/node-3", 6, 3},
		{"q=WEB", "web/node-1 web/node-2 web/node-3", 3, 1},
		{"q=node-1", "api/node-1 web/node-1", 2, 2},
		{"q=id-node-4", "api/node-4", 1, 1},
		{"q=192.0.2.1:31", "web/node-1", 1, 1},
		{"q=node-4:32000", "api/node-4", 1, 1},
		{"q=[2001:db8::5]", "db/node-5", 1, 1},
		{"q=nothing", "", 0, 0},
		{"q=%20node-5%20", "db/node-5", 1, 1},
		{"service=web", "web/node-1 web/node-2 web/node-3", 3, 1},
		{"service=we", "", 0, 0},
		{"status=alive", "api/node-1 web/node-1", 2, 2},
		{"status=unknown,tombstone", "api/node-4 db/node-5", 2, 2},
		{"service=web&status=draining", "web/node-3", 1, 1},
		{"status=quarantined", "", 0, 0},
		{"limit=2", "api/node-1 api/node-4", 6, 3},
		{"offset=4", "web/node-2 web/node-3", 6, 3},
		{"offset=1&limit=1&service=web", "web/node-2", 3, 1},
		{"offset=100", "", 6, 3},
		{"limit=0", "", 6, 3},
	} {
		got := s.instances(t, test.query)
		if names := strings.Join(hosts(got.Instances), " "); names != test.want || got.Matched != test.matched ||
			got.Services != test.services || got.Total != 6 || got.Summary != nil {
			t.Errorf("%q: got %s, %d matched, %d services", test.query, names, got.Matched, got.Services)
		}
	}
	for query, want := range map[string]string{
		"offset=-1":     "parameter offset: it must be a number from 0 on",
		"limit=1001":    "parameter limit: it must be a number from 0 to 1000",
		"limit=x":       "parameter limit: it must be a number from 0 to 1000",
		"summary=maybe": "parameter summary: it must be true or false",
		"colour=red":    "parameter colour: it is unknown",
	} {
		s.want(t, "GET", "/api/v1/pipelines/haproxy/instances?"+query, 400, `{"errors":["`+want+`"]}`)
	}
	if code, _ := s.ask("GET", "/api/v1/pipelines/haproxy/instances?status=fine"); code != 400 {
		t.Errorf("an unknown status: %d", code)
	}
}

func TestInstances_Summary(t *testing.T) {
	s := newTestServer(t, true)
	s.emitInstances(
		webInstance("web", "node-1", sdk.Alive, "192.0.2.1", 31000),
		webInstance("web", "node-2", sdk.Unhealthy, "192.0.2.2", 31000),
		webInstance("api", "node-1", sdk.Alive, "192.0.2.1", 32000),
	)
	got := s.instances(t, "summary=true&status=alive&limit=1")
	want := InstanceList{
		Total: 3, Matched: 2, Services: 2, Counts: InstanceCounts{Alive: 2, Unhealthy: 1}, Instances: got.Instances,
		Summary: []ServiceCounts{{"api", InstanceCounts{Alive: 1}}, {"web", InstanceCounts{Alive: 1}}},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got.Instances) != 1 {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestInstances_Excluded(t *testing.T) {
	services := []engine.ServiceInstances{}
	for _, service := range sdk.GroupByName([]sdk.Instance{
		webInstance("web", "node-1", sdk.Alive, "", 1), webInstance("web", "node-2", sdk.Alive, "", 1),
		webInstance("api", "node-1", sdk.Unhealthy, "", 1),
	}) {
		services = append(services, engine.ServiceInstances{Service: service, Since: make([]time.Time, len(service.Instances))})
	}
	status := engine.PipelineStatus{Excluded: []exclude.Exclusion{
		{Service: "web", Hostname: "node-2", ID: "id-node-2", Reason: "its line"}, {Service: "api", Reason: "the service"},
	}}
	query := instanceQuery{limit: 10, statuses: []string{markExcluded}}
	got := query.run(allInstances(services, status))
	if diff := cmp.Diff([]string{"api/node-1", "web/node-2"}, hosts(got.Instances)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got.Instances[0].Excluded != "the service" || got.Instances[0].Status != "unhealthy" ||
		got.Instances[1].Excluded != "its line" || got.Counts != (InstanceCounts{Alive: 2, Unhealthy: 1, Excluded: 2}) {
		t.Errorf("got %+v", got)
	}
}

func TestAddServers(t *testing.T) {
	var all []instanceRow
	add := func(instance sdk.Instance) {
		all = append(all, instanceRow{Instance: &instance, service: instance.Name})
	}
	add(webInstance("web", "alive", sdk.Alive, "192.0.2.1", 31000))
	add(webInstance("web", "before", sdk.Tombstone, "192.0.2.1", 31000)) // had the same address before
	add(webInstance("web", "gone", sdk.Tombstone, "192.0.2.2", 31000))
	add(webInstance("web", "v6", sdk.Draining, "2001:DB8:0::5", 31000))
	add(webInstance("web", "mapped", sdk.Unhealthy, "::ffff:192.0.2.9", 31000))
	add(webInstance("web", "Named.example.com", sdk.Alive, "", 31000))
	all = append(all, instanceRow{Instance: &sdk.Instance{Hostname: "bad"}, service: "web", quarantined: "why"})
	server := func(name, address string) sdk.Server { return sdk.Server{Backend: "b", Name: name, Address: address} }
	rows := (&instanceQuery{limit: 100}).run(all).Instances
	addServers(rows, all, []sdk.Server{
		server("1", "192.0.2.1:31000"), server("2", "192.0.2.2:31000"), server("3", "[2001:db8::5]:31000"),
		server("4", "192.0.2.9:31000"), server("5", "named.example.com:31000"),
		server("Named.example.com-id-Named.example.com", "192.0.2.77:31000"), // HAProxy has resolved the name
		server("6", "192.0.2.1:31001"), server("7", "192.0.2.1"), server("8", ""), server("9", "192.0.2.1:x"),
		server("10", "192.0.2.1:31000"),
	})
	got := map[string]string{}
	for _, row := range rows {
		var names []string
		for _, server := range row.Servers {
			names = append(names, server.Name)
		}
		got[row.Hostname] = strings.Join(names, " ")
	}
	want := map[string]string{
		"alive": "1 10", "before": "", "gone": "2", "v6": "3", "mapped": "4", "bad": "",
		"Named.example.com": "5 Named.example.com-id-Named.example.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A sink that fails or hangs costs the answer its servers, and nothing else.
func TestInstances_ServersUnavailable(t *testing.T) {
	s := newTestServer(t, true)
	s.emitInstances(webInstance("web", "node-1", sdk.Alive, "192.0.2.1", 31000))
	s.sink.setServers(func(ctx context.Context) ([]sdk.Server, error) { <-ctx.Done(); return nil, ctx.Err() })
	got := s.instances(t, "")
	if len(got.Instances) != 1 || got.Instances[0].Servers != nil || got.ServersError == "" {
		t.Errorf("a sink that hangs: %+v", got)
	}
	other := newTestServer(t, true)
	other.emitInstances(webInstance("web", "node-1", sdk.Alive, "192.0.2.1", 31000))
	other.sink.setServers(func(context.Context) ([]sdk.Server, error) { return nil, errors.New("HAProxy is not running") })
	if got := other.instances(t, ""); len(got.Instances) != 1 || got.ServersError != "HAProxy is not running" {
		t.Errorf("a sink that fails: %+v", got)
	}
}

// instancesWithServers returns n instances of n/100 services, and the servers of HAProxy for them.
func instancesWithServers(n int) ([]sdk.Instance, []sdk.Server) {
	var instances []sdk.Instance
	var servers []sdk.Server
	for i := range n {
		service, ip := fmt.Sprintf("service-%03d", i/100), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
		instance := webInstance(service, fmt.Sprintf("node-%05d.example.com", i), sdk.Alive, ip, 31000)
		instances = append(instances, instance)
		servers = append(servers, sdk.Server{
			Backend: service + "-80", Name: instance.Hostname + "-" + instance.ID, Address: ip + ":31000",
			Status: "UP", Check: "L4OK",
		})
	}
	return instances, servers
}

func BenchmarkInstances(b *testing.B) {
	s := newTestServer(b, true)
	instances, servers := instancesWithServers(10_000)
	s.emitInstances(instances...)
	s.sink.setServers(func(context.Context) ([]sdk.Server, error) { return slices.Clone(servers), nil })
	for _, query := range []string{"", "limit=1000", "q=node-09", "q=10.0.5", "summary=true&limit=0", "status=unhealthy"} {
		b.Run(query, func(b *testing.B) {
			for b.Loop() {
				w := httptest.NewRecorder()
				r := httptest.NewRequest(http.MethodGet, "/api/v1/pipelines/haproxy/instances?"+query, nil)
				r.Host = "localhost"
				s.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Body.String())
				}
			}
		})
	}
}
