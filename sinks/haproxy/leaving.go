package haproxy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// stuckAfter is how long after its time a server that leaves may still be there before a reload has to remove it.
const stuckAfter = time.Minute

// drainingBackends returns the names of the backends in which servers drain.
func (l *live) drainingBackends() map[string]bool {
	backends := map[string]bool{}
	for id := range l.leaving {
		backend, _, _ := strings.Cut(id, "/")
		backends[backend] = true
	}
	return backends
}

// removals returns the commands for those whose time has come, and forgets those that are gone. It is the next look that tells
// whether they had an effect. s was read while leaving were the servers that left: one that came back since, be it that it left
// again, is not the one that was seen.
func (l *live) removals(config *syntax.Config, leaving map[string]leaver, s seen) []string {
	var commands []string
	for _, id := range slices.Sorted(maps.Keys(leaving)) {
		gone, still := l.leaving[id]
		if !still || !gone.until.Equal(leaving[id].until) {
			continue
		}
		backend, name, _ := strings.Cut(id, "/")
		is, there := s.server(backend, name)
		load, known := s.loads[id]
		over := time.Now().After(gone.until)
		switch {
		case !there || wanted(config, backend, name):
			delete(l.leaving, id)
			continue
		case !known || load.Sessions > 0 && !over:
			continue
		case load.Sessions > 0:
			commands = append(commands, "shutdown sessions server "+id)
		}
		if is.Admin&runtimeapi.ForcedMaint == 0 {
			commands = append(commands, "set server "+id+" state maint")
		}
		commands = append(commands, "del server "+id)
	}
	return commands
}

// readLeaving reads the servers of the backends in which servers drain.
func (l *live) readLeaving(ctx context.Context) (seen, error) {
	if err := l.connect(ctx); err != nil {
		return seen{}, err
	}
	return l.read(ctx, slices.Sorted(maps.Keys(l.drainingBackends())), func(string) bool { return true })
}

// tell sends commands, whatever HAProxy answers: what is read next tells whether they had an effect.
func (l *live) tell(ctx context.Context, commands []string) error {
	if len(commands) == 0 {
		return nil
	}
	err := l.connect(ctx)
	if err == nil {
		_, err = l.conn.Do(ctx, commands...)
	}
	if err != nil {
		l.hangUp()
	}
	return err
}

// takeOver has what other, a copy that only read since, has found out about servers that leave hold for the backends that count.
func (l *live) takeOver(other *live, counts func(backend string) bool) {
	counted := func(id string, _ leaver) bool {
		backend, _, _ := strings.Cut(id, "/")
		return counts(backend)
	}
	maps.DeleteFunc(l.leaving, counted)
	for id, gone := range other.leaving {
		if counted(id, gone) {
			l.leaving[id] = gone
		}
	}
}

// stuck returns an error that names a server that leaves and has to be removed by a reload.
func (l *live) stuck() error {
	for id, gone := range l.leaving {
		if time.Since(gone.until) > stuckAfter {
			return fmt.Errorf("server %s does not go", id)
		}
	}
	return nil
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
func (l *live) whyNotBack(ctx context.Context, b *syntax.Backend, gone leaver, want syntax.Server, is runtimeapi.Server) string {
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
