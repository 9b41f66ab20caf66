package haproxy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/cli"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// stuckAfter is how long after its time a server that leaves may still be there before a reload has to remove it.
const stuckAfter = time.Minute

// dismiss deletes the servers that leave and have nothing to do any more, and cuts off those whose time is over. It returns
// an error when a reload has to remove one.
//
// HAProxy refuses to delete a server that still has connections, idle ones included. That is why it is asked again.
func (l *live) dismiss(ctx context.Context, config *syntax.Config) error {
	ctx, cancel := context.WithTimeoutCause(ctx, alignLimit, errNoAnswer)
	defer cancel()
	if err := l.connect(ctx); err != nil {
		return nil // who watches over HAProxy finds out what that means
	}
	seen, err := l.read(ctx, slices.Sorted(maps.Keys(l.drainingBackends())), func(string) bool { return true })
	if err == nil {
		_, err = l.conn.Do(ctx, l.farewells(config, seen)...)
	}
	if err != nil {
		l.hangUp()
		return nil
	}
	for id, gone := range l.leaving {
		if time.Since(gone.until) > stuckAfter {
			return fmt.Errorf("server %s does not go", id)
		}
	}
	return nil
}

// drainingBackends returns the names of the backends in which servers drain.
func (l *live) drainingBackends() map[string]bool {
	backends := map[string]bool{}
	for id := range l.leaving {
		backend, _, _ := strings.Cut(id, "/")
		backends[backend] = true
	}
	return backends
}

// farewells returns the commands for those whose time has come, and forgets those that are gone. It is the next look that
// tells whether they had an effect.
func (l *live) farewells(config *syntax.Config, s seen) []string {
	var commands []string
	for _, id := range slices.Sorted(maps.Keys(l.leaving)) {
		backend, name, _ := strings.Cut(id, "/")
		is, there := s.server(backend, name)
		load, known := s.loads[id]
		over := time.Now().After(l.leaving[id].until)
		switch {
		case !there || wanted(config, backend, name):
			delete(l.leaving, id)
			continue
		case !known || load.Sessions > 0 && !over:
			continue
		case load.Sessions > 0:
			commands = append(commands, "shutdown sessions server "+id)
		}
		if is.Admin&cli.ForcedMaint == 0 {
			commands = append(commands, "set server "+id+" state maint")
		}
		commands = append(commands, "del server "+id)
	}
	return commands
}

func wanted(config *syntax.Config, backend, server string) bool {
	b := config.Backend(backend)
	if b == nil {
		return false
	}
	_, is := b.Server(server)
	return is
}

// whyNotBack says why a server that drains still cannot become what its line says, and "" if it can.
func (l *live) whyNotBack(ctx context.Context, b *syntax.Backend, gone leaver, want syntax.Server, is cli.Server) string {
	switch {
	case !gone.known:
		return "what it was is not known"
	case !gone.was.Known() || !want.Known():
		return "its line is not understood"
	}
	if reason := b.WhyNotSet(gone.was, want); reason != "" {
		return reason
	}
	if want.Host == "" {
		return ""
	}
	address, err := l.addressOf(ctx, want) // a start would look the name up
	switch {
	case err != nil:
		return err.Error()
	case address != is.Addr.String():
		return "its name has another address now"
	}
	return ""
}
