package runtimeapi

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// removeTimeout is how long after its drain timeout a server may still be there before a reload has to remove it.
const removeTimeout = time.Minute

// A drainingServer is in HAProxy but no longer in the configuration.
type drainingServer struct {
	line     syntax.Server // its last line
	known    bool          // line is known; it is not for a server that another program added
	deadline time.Time     // until then its sessions may finish
}

// Draining returns how many servers are draining.
func (c *Client) Draining() int { return len(c.draining) }

// noteDraining remembers which servers are there that want does not have.
func (c *Client) noteDraining(before, want *syntax.Config, backends []string, seen observed) {
	for _, name := range backends {
		b := want.Backend(name)
		for _, server := range seen.servers[name] {
			id := name + "/" + server.Name
			if _, wanted := b.Server(server.Name); wanted || !b.Complete() {
				delete(c.draining, id)
				continue
			}
			if _, known := c.draining[id]; known {
				continue
			}
			draining := drainingServer{deadline: time.Now().Add(c.drainTimeout)}
			if old := before.Backend(name); old != nil {
				draining.line, draining.known = old.Server(server.Name)
			}
			c.draining[id] = draining
		}
	}
}

// A DrainingState is what was read of the draining servers.
type DrainingState struct {
	servers map[string]drainingServer
	seen    observed
}

// ReadDraining reads the state of the draining servers.
func (c *Client) ReadDraining(ctx context.Context) (DrainingState, error) {
	state := DrainingState{servers: c.draining}
	if err := c.connect(ctx); err != nil {
		return state, err
	}
	var err error
	state.seen, err = c.observe(ctx, c.drainingBackends(), func(string) bool { return true })
	return state, err
}

// RemoveDrained deletes the draining servers that no longer have sessions, and closes the sessions of those whose deadline has
// passed. It does not wait for the effect: HAProxy refuses to delete a server that still has connections, idle ones included, so
// it has to be called again with a newer state until no server is draining.
func (c *Client) RemoveDrained(ctx context.Context, config *syntax.Config, state DrainingState) {
	commands := c.removals(config, state)
	if len(commands) == 0 {
		return
	}
	err := c.connect(ctx)
	if err == nil {
		_, err = c.conn.Do(ctx, commands...)
	}
	if err != nil { // the supervisor finds out what it means
		c.Close()
	}
}

// removals returns the commands of RemoveDrained, and forgets the servers that are gone. A server that was wanted again since the
// state was read is not the one that was seen, even if it drains once more.
func (c *Client) removals(config *syntax.Config, state DrainingState) []string {
	var commands []string
	for _, id := range slices.Sorted(maps.Keys(state.servers)) {
		draining, still := c.draining[id]
		if !still || !draining.deadline.Equal(state.servers[id].deadline) {
			continue
		}
		backend, name, _ := strings.Cut(id, "/")
		server, there := state.seen.server(backend, name)
		load, known := state.seen.loads[id]
		expired := time.Now().After(draining.deadline)
		switch {
		case !there || hasServer(config, backend, name):
			delete(c.draining, id)
			continue
		case !known || load.Sessions > 0 && !expired:
			continue
		case load.Sessions > 0:
			commands = append(commands, "shutdown sessions server "+id)
		}
		if server.Admin&ForcedMaint == 0 {
			commands = append(commands, "set server "+id+" state maint")
		}
		commands = append(commands, "del server "+id)
	}
	return commands
}

// Stuck returns an error that names a draining server that HAProxy has not let go, so that a reload has to remove it.
func (c *Client) Stuck() error {
	for id, draining := range c.draining {
		if time.Since(draining.deadline) > removeTimeout {
			return fmt.Errorf("server %s cannot be removed at run time", id)
		}
	}
	return nil
}

// drainingBackends returns the names of the backends that have draining servers, sorted.
func (c *Client) drainingBackends() []string {
	backends := map[string]bool{}
	for id := range c.draining {
		backends[backendOf(id)] = true
	}
	return slices.Sorted(maps.Keys(backends))
}

func backendOf(id string) string {
	backend, _, _ := strings.Cut(id, "/")
	return backend
}

func hasServer(config *syntax.Config, backend, server string) bool {
	b := config.Backend(backend)
	if b == nil {
		return false
	}
	_, has := b.Server(server)
	return has
}

// whyNotReturn returns why a draining server cannot become what its line says, or "" if it can.
func (c *Client) whyNotReturn(
	ctx context.Context, b *syntax.Backend, draining drainingServer, want syntax.Server, is Server,
) string {
	switch {
	case !draining.known:
		return "its former line is unknown"
	case !draining.line.Known() || !want.Known():
		return "its line is not understood"
	}
	if reason := b.WhyNotSet(draining.line, want); reason != "" {
		return reason
	}
	if want.Host == "" {
		return ""
	}
	address, err := c.addressOf(ctx, want) // a start would look the name up
	switch {
	case err != nil:
		return err.Error()
	case address != is.Addr.String():
		return "its host name has another address now"
	}
	return ""
}
