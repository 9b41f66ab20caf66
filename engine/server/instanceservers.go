package server

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// addServers adds to rows what the sink reported. all are the instances among which a server is searched.
func addServers(rows []Instance, all []instanceRow, servers []sdk.Server) {
	if len(servers) == 0 {
		return
	}
	shown := make(map[instanceKey]*Instance, len(rows))
	for i := range rows {
		shown[instanceKey{rows[i].Service, rows[i].Hostname, rows[i].ID}] = &rows[i]
	}
	index := newServerIndex(all)
	for _, server := range servers {
		if owner := index.find(server); owner != nil {
			if row := shown[instanceKey{owner.service, owner.Hostname, owner.ID}]; row != nil {
				row.Servers = append(row.Servers, newInstanceServer(server))
			}
		}
	}
}

type instanceKey struct{ service, hostname, id string }

func newInstanceServer(s sdk.Server) InstanceServer {
	return InstanceServer{
		Backend: s.Backend, Name: s.Name, Status: s.Status, InStatusSeconds: int64(s.InStatus.Seconds()), Check: s.Check,
		Weight: s.Weight, Sessions: s.Sessions, Queue: s.Queue,
	}
}

// A serverIndex finds the instance that a server stands for.
type serverIndex struct {
	addresses map[endpoint]*instanceRow
	names     map[endpoint]*instanceRow // by what serverName of the templates returns for most of them, instead of the host
}

// An endpoint is a host, which may be an address, and a port.
type endpoint struct {
	host string
	port int64
}

func newServerIndex(all []instanceRow) serverIndex {
	index := serverIndex{make(map[endpoint]*instanceRow, len(all)), make(map[endpoint]*instanceRow, len(all))}
	for i := range all {
		row := &all[i]
		for _, port := range row.Ports {
			at := endpoint{canonicalHost(cmp.Or(port.IP, row.Hostname)), port.Port}
			// An instance that is gone may have had the address before another one.
			if other := index.addresses[at]; other == nil || rank(row) < rank(other) {
				index.addresses[at] = row
			}
			index.names[endpoint{row.Hostname + "-" + row.ID, port.Port}] = row
		}
	}
	return index
}

// rank orders the instances with one address: the server most probably stands for the first one.
func rank(row *instanceRow) int {
	switch row.Status {
	case sdk.Alive:
		return 0
	case sdk.Draining:
		return 1
	case sdk.Tombstone:
		return 3
	default:
		return 2
	}
}

// find returns the instance of the server, or nil.
func (x serverIndex) find(server sdk.Server) *instanceRow {
	host, text, err := net.SplitHostPort(server.Address)
	if err != nil {
		return nil
	}
	port, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil
	}
	return cmp.Or(x.addresses[endpoint{canonicalHost(host), port}], x.names[endpoint{server.Name, port}])
}

// canonicalHost returns the usual form of an address, and a name in lower case.
func canonicalHost(host string) string {
	if strings.Contains(host, ":") {
		if addr, err := netip.ParseAddr(host); err == nil {
			return addr.Unmap().WithZone("").String()
		}
	}
	return strings.ToLower(host)
}

// addressOfPort returns where the instance listens.
func addressOfPort(instance *sdk.Instance, port sdk.Port) string {
	return net.JoinHostPort(cmp.Or(port.IP, instance.Hostname), strconv.FormatInt(port.Port, 10))
}
