package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The keys of a service's metadata that this source reads.
const (
	metaServicePort = "haproxy_service_port" // the port on which the proxy serves the service; absent for none
	metaMode        = "haproxy_mode"         // http, tcp or ws; absent for http
)

// tagsLabel is the label with the tags of an instance.
const tagsLabel = "tags"

// decode returns the instance of one entry of the health endpoint. The daemon checks what could harm a proxy's configuration,
// such as names and addresses with unusual characters.
func decode(name string, entry *api.ServiceEntry) (sdk.Instance, error) {
	service := entry.Service
	i := sdk.Instance{
		Name: name, ID: service.ID, Hostname: entry.Node.Node,
		ProxyMode: cmp.Or(service.Meta[metaMode], "http"),
		Status:    statusOf(entry.Checks.AggregatedStatus()),
		Labels:    labelsOf(service),
	}
	var faults []error
	if !slices.Contains([]string{"http", "tcp", "ws"}, i.ProxyMode) {
		faults = append(faults, fmt.Errorf("%s is %q: it must be http, tcp or ws", metaMode, i.ProxyMode))
	}
	servicePort, err := servicePortOf(service.Meta)
	if err != nil {
		faults = append(faults, err)
	}
	if service.Port != 0 { // a service without a port cannot be proxied, but templates can see it
		address := cmp.Or(service.Address, entry.Node.Address)
		i.Ports = []sdk.Port{{Type: "tcp", Port: int64(service.Port), ServicePort: servicePort, IP: address}}
	}
	return i, errors.Join(faults...)
}

func servicePortOf(meta map[string]string) (int64, error) {
	text, ok := meta[metaServicePort]
	if !ok {
		return 0, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%s is %q: it must be a port from 1 to 65535", metaServicePort, text)
	}
	return int64(port), nil
}

// statusOf returns the status of an instance whose checks have that state together. Consul's DNS also returns instances with
// warnings. Maintenance is planned, so the present connections may end.
func statusOf(health string) sdk.Status {
	switch health {
	case api.HealthPassing, api.HealthWarning:
		return sdk.Alive
	case api.HealthCritical:
		return sdk.Unhealthy
	case api.HealthMaint:
		return sdk.Draining
	default:
		return sdk.Unknown
	}
}

func labelsOf(service *api.AgentService) map[string]string {
	labels := maps.Clone(service.Meta)
	if len(service.Tags) > 0 {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[tagsLabel] = strings.Join(service.Tags, ",")
	}
	return labels
}
