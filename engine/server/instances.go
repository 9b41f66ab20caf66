package server

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// InstanceList is the answer to GET /api/v1/pipelines/NAME/instances.
type InstanceList struct {
	Total     int             `json:"total"`    // instances of the source, with quarantined ones
	Matched   int             `json:"matched"`  // of them, those that the parameters select
	Services  int             `json:"services"` // that have instances which the parameters select
	Counts    InstanceCounts  `json:"counts"`   // of what the parameters without status select
	Instances []Instance      `json:"instances"`
	Summary   []ServiceCounts `json:"summary,omitempty"` // of each of Services, with the parameter summary=true

	ServersError string `json:"servers_error,omitempty"` // why Servers of the instances are missing or out of date
}

// ServiceCounts counts the instances of one service that the parameters of a request select.
type ServiceCounts struct {
	Service string         `json:"service"`
	Counts  InstanceCounts `json:"counts"`
}

// InstanceCounts counts instances by status. Quarantined ones have no other status; excluded ones are counted in both.
type InstanceCounts struct {
	Alive       int `json:"alive"`
	Unhealthy   int `json:"unhealthy"`
	Draining    int `json:"draining"`
	Tombstone   int `json:"tombstone"`
	Unknown     int `json:"unknown"`
	Quarantined int `json:"quarantined"`
	Excluded    int `json:"excluded"`
}

// Instance is one instance of a pipeline's source in the API.
type Instance struct {
	Service   string     `json:"service"`
	ID        string     `json:"id"`
	Hostname  string     `json:"hostname"`
	Addresses []string   `json:"addresses,omitempty"` // host and port; followed by /udp for UDP
	Status    string     `json:"status"`              // a field of InstanceCounts, other than excluded
	Since     *time.Time `json:"since,omitempty"`     // see [engine.ServiceInstances]

	Excluded    string           `json:"excluded,omitempty"`    // why the document in effect does not have it
	Quarantined string           `json:"quarantined,omitempty"` // why templates do not get it
	Servers     []InstanceServer `json:"servers,omitempty"`     // what the sink's program says of it
}

// InstanceServer is an instance as the program of the sink sees it.
type InstanceServer struct {
	Backend         string `json:"backend"`
	Name            string `json:"name"`
	Status          string `json:"status"`
	InStatusSeconds int64  `json:"in_status_seconds"`
	Check           string `json:"check,omitempty"`
	Weight          int    `json:"weight"`
	Sessions        int    `json:"sessions"`
	Queue           int    `json:"queue"`
}

const statusQuarantined, markExcluded = "quarantined", "excluded"

// getInstances answers with the instances of a pipeline's source, and what the sink says of them.
func (s *Server) getInstances(w http.ResponseWriter, r *http.Request) {
	var query instanceQuery
	parameters, err := parseQuery(r, "q", "service", "status", "offset", "limit", "summary")
	if err == nil {
		query, err = newInstanceQuery(parameters)
	}
	if err != nil {
		writeErrors(w, http.StatusBadRequest, err.Error())
		return
	}
	status, ok := s.pipelineStatus(r.PathValue("name"))
	if !ok {
		writeNoPipeline(w)
		return
	}
	services, err := s.cfg.Engine.Instances(status.Name)
	if err != nil { // it was removed a moment ago
		writeNoPipeline(w)
		return
	}
	all := allInstances(services, status)
	list := query.run(all)
	if len(list.Instances) > 0 {
		servers, err := s.cfg.Engine.Servers(r.Context(), status.Name)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			list.ServersError = err.Error()
		}
		addServers(list.Instances, all, servers)
	}
	writeJSON(w, http.StatusOK, list)
}

// allInstances returns the instances of the services and the quarantined ones, sorted by service, host name and ID.
func allInstances(services []engine.ServiceInstances, status engine.PipelineStatus) []instanceRow {
	excluded := newExcludedIndex(status)
	n := len(status.Quarantined)
	for i := range services {
		n += len(services[i].Instances)
	}
	all := make([]instanceRow, 0, n)
	for i := range services {
		service := &services[i]
		for n := range service.Instances {
			row := instanceRow{service: service.Name, Instance: &service.Instances[n], since: service.Since[n]}
			row.excluded = excluded.reason(service.Name, row.Instance)
			all = append(all, row)
		}
	}
	valid := len(all)
	for _, q := range status.Quarantined {
		if q.Hostname != "" || q.ID != "" { // else it is no instance
			all = append(all, instanceRow{
				service: q.Service, Instance: &sdk.Instance{Hostname: q.Hostname, ID: q.ID}, quarantined: q.Reason,
			})
		}
	}
	if len(all) > valid {
		slices.SortStableFunc(all, func(a, b instanceRow) int {
			return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID))
		})
	}
	return all
}

// An instanceRow is an instance with what the engine knows of it.
type instanceRow struct {
	*sdk.Instance
	service     string
	since       time.Time
	excluded    string // the reason; empty if it is not
	quarantined string // the reason; empty if it is not
}

// statusName returns one of the fields of [InstanceCounts].
func (r *instanceRow) statusName() string {
	if r.quarantined != "" {
		return statusQuarantined
	}
	return strings.ToLower(r.Status.Name())
}

func (c *InstanceCounts) add(r *instanceRow) {
	if r.excluded != "" {
		c.Excluded++
	}
	switch {
	case r.quarantined != "":
		c.Quarantined++
	case r.Status == sdk.Alive:
		c.Alive++
	case r.Status == sdk.Unhealthy:
		c.Unhealthy++
	case r.Status == sdk.Draining:
		c.Draining++
	case r.Status == sdk.Unknown:
		c.Unknown++
	default:
		c.Tombstone++
	}
}

// row returns r as the API has it, without servers.
func (r *instanceRow) row() Instance {
	row := Instance{
		Service: r.service, ID: r.ID, Hostname: r.Hostname, Status: r.statusName(), Since: timeOrNil(r.since),
		Excluded: r.excluded, Quarantined: r.quarantined,
	}
	for _, port := range r.Ports {
		address := addressOfPort(r.Instance, port)
		if port.Type != "" && port.Type != "tcp" {
			address += "/" + port.Type
		}
		if !slices.Contains(row.Addresses, address) {
			row.Addresses = append(row.Addresses, address)
		}
	}
	return row
}

// An excludedIndex finds out why an instance is excluded.
type excludedIndex struct {
	services  map[string]string // the reasons by service
	instances map[instanceKey]string
}

func newExcludedIndex(status engine.PipelineStatus) excludedIndex {
	index := excludedIndex{map[string]string{}, map[instanceKey]string{}}
	for _, e := range status.Excluded {
		if e.WholeService() {
			index.services[e.Service] = e.Reason
		} else {
			index.instances[instanceKey{e.Service, e.Hostname, e.ID}] = e.Reason
		}
	}
	return index
}

func (x excludedIndex) reason(service string, instance *sdk.Instance) string {
	if len(x.services) == 0 && len(x.instances) == 0 {
		return ""
	}
	return cmp.Or(x.services[service], x.instances[instanceKey{service, instance.Hostname, instance.ID}])
}
