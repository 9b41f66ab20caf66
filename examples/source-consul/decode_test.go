package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestDecode(t *testing.T) {
	for name, test := range map[string]struct {
		entry string // as Consul returns it
		want  sdk.Instance
	}{
		"no more than it must": {
			`{"Node": {"Node": "node-1", "Address": "10.0.0.1"}, "Service": {"ID": "a", "Service": "web", "Port": 80}}`,
			sdk.Instance{
				Name: "web", Hostname: "node-1", ID: "a", ProxyMode: "http",
				Ports: []sdk.Port{{Type: "tcp", Port: 80, IP: "10.0.0.1"}},
			},
		},
		"everything": {
			`{"Node": {"ID": "11aa", "Node": "node-1", "Address": "10.0.0.1", "Datacenter": "dc1", "CreateIndex": 7},
			  "Service": {"ID": "a", "Service": "web", "Tags": ["v2", "edge"], "Address": "::1", "Port": 31000,
			    "Meta": {"haproxy_service_port": "8080", "haproxy_mode": "tcp", "weight": "10"},
			    "Weights": {"Passing": 1, "Warning": 1}},
			  "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "service:a", "Status": "critical"}]}`,
			sdk.Instance{
				Name: "web", Hostname: "node-1", ID: "a", ProxyMode: "tcp", Status: sdk.Unhealthy,
				Ports: []sdk.Port{{Type: "tcp", Port: 31000, ServicePort: 8080, IP: "::1"}},
				Labels: map[string]string{
					"haproxy_service_port": "8080", "haproxy_mode": "tcp", "weight": "10", "tags": "v2,edge",
				},
			},
		},
		"without a port": {
			`{"Node": {"Node": "node-1", "Address": "10.0.0.1"}, "Service": {"ID": "a", "Service": "web", "Tags": ["v2"]}}`,
			sdk.Instance{
				Name: "web", Hostname: "node-1", ID: "a", ProxyMode: "http", Labels: map[string]string{"tags": "v2"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var e api.ServiceEntry
			if err := json.Unmarshal([]byte(test.entry), &e); err != nil {
				t.Fatal(err)
			}
			got, err := decode("web", &e)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDecode_Status(t *testing.T) {
	check := func(id, status string) *api.HealthCheck { return &api.HealthCheck{CheckID: id, Status: status} }
	for _, test := range []struct {
		checks api.HealthChecks
		want   sdk.Status
	}{
		{nil, sdk.Alive},
		{api.HealthChecks{check("a", "passing"), check("serfHealth", "passing")}, sdk.Alive},
		{api.HealthChecks{check("a", "warning"), check("serfHealth", "passing")}, sdk.Alive},
		{api.HealthChecks{check("a", "passing"), check("serfHealth", "critical")}, sdk.Unhealthy},
		{api.HealthChecks{check("a", "critical"), check("b", "warning")}, sdk.Unhealthy},
		{api.HealthChecks{check("a", "critical"), check("_service_maintenance:a", "critical")}, sdk.Draining},
		{api.HealthChecks{check("a", "passing"), check("_node_maintenance", "critical")}, sdk.Draining},
		{api.HealthChecks{check("a", "excellent")}, sdk.Unknown},
	} {
		e := passing("web", "one", "a", 80)
		e.Checks = test.checks
		if got, err := decode("web", e); err != nil || got.Status != test.want {
			t.Errorf("%+v: got %v, %v; want %v", test.checks, got.Status.Name(), err, test.want.Name())
		}
	}
}

func TestDecode_InvalidMetadata(t *testing.T) {
	for _, test := range []struct{ key, value string }{
		{metaServicePort, ""},
		{metaServicePort, "0"},
		{metaServicePort, "-1"},
		{metaServicePort, "65536"},
		{metaServicePort, "http"},
		{metaMode, "h2"},
		{metaMode, "http\n"},
	} {
		e := passing("web", "one", "a", 80)
		e.Service.Meta = map[string]string{test.key: test.value}
		if _, err := decode("web", e); err == nil || !strings.Contains(err.Error(), test.key) {
			t.Errorf("%s = %q: got %v", test.key, test.value, err)
		}
	}
}
