package runtimeapi

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// manyBackends is the number of backends from which on the servers of all backends are read at once.
const manyBackends = 50

// observed is what HAProxy says that it runs.
type observed struct {
	servers map[string][]*Server // by backend, in HAProxy's order
	byID    map[serverID]*Server // the same servers
	loads   map[string]Load      // by "backend/server", of the backends for which they were asked
}

type serverID struct{ backend, name string }

func newObserved() observed {
	return observed{map[string][]*Server{}, map[serverID]*Server{}, map[string]Load{}}
}

func (o observed) server(backend, name string) (Server, bool) {
	server := o.byID[serverID{backend, name}]
	if server == nil {
		return Server{}, false
	}
	return *server, true
}

// add adds servers, which it keeps.
func (o observed) add(servers []Server) {
	for i := range servers {
		server := &servers[i]
		o.servers[server.Backend] = append(o.servers[server.Backend], server)
		o.byID[serverID{server.Backend, server.Name}] = server
	}
}

// observe reads the servers of the named backends, and the loads of those for which wantLoads is true: statistics are long.
func (c *Client) observe(ctx context.Context, backends []string, wantLoads func(backend string) bool) (observed, error) {
	o := newObserved()
	commands := []string{"show servers state"}
	if len(backends) < manyBackends {
		commands = nil
		for _, name := range backends {
			commands = append(commands, "show servers state "+name)
		}
	}
	answers, err := c.conn.Do(ctx, commands...)
	if err != nil {
		return o, err
	}
	for _, answer := range answers {
		servers, err := ParseServers(answer)
		if err != nil {
			return o, err
		}
		o.add(servers)
	}
	commands = nil
	for _, name := range backends {
		if servers := o.servers[name]; len(servers) > 0 && wantLoads(name) {
			commands = append(commands, fmt.Sprintf("show stat %d 4 -1", servers[0].BackendID))
		}
	}
	if answers, err = c.conn.Do(ctx, commands...); err != nil {
		return o, err
	}
	for _, answer := range answers {
		loads, err := ParseLoads(answer)
		if err != nil {
			return o, err
		}
		maps.Copy(o.loads, loads)
	}
	return o, nil
}

// hasMaxConn reports whether a server of the backend has a maxconn that can be set.
func hasMaxConn(b *syntax.Backend) bool {
	return b != nil && slices.ContainsFunc(b.Servers, func(s syntax.Server) bool { return s.MaxConn > 0 })
}
