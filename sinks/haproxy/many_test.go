package haproxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// 10,000 servers in one backend take linear time to compare with what runs; quadratic time would take minutes.
func TestManyServersInOneBackend(t *testing.T) {
	const many = 10_000
	var text strings.Builder
	text.WriteString("backend app\n")
	is := seen{map[string][]runtimeapi.Server{}, map[string]runtimeapi.Server{}, map[string]runtimeapi.Load{}}
	for i := range 2 * many { // those of the second half are to go
		name, port := fmt.Sprintf("s%d", i), uint16(1+i)
		addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
		server := runtimeapi.Server{Backend: "app", Name: name, Weight: 1, Addr: addr}
		is.servers["app"] = append(is.servers["app"], server)
		is.byID["app/"+name] = server
		is.loads["app/"+name] = runtimeapi.Load{}
		if i < many {
			fmt.Fprintf(&text, " server %s 127.0.0.1:%d backup\n", name, port)
		}
	}
	config := syntax.Parse([]byte(text.String()), nil)
	l := &live{leaving: map[string]leaver{}}
	commands, err := l.commands(t.Context(), config.Backend("app"), is)
	check(t, err)
	if len(commands) != many {
		t.Errorf("%d commands, want one for each server that is to go", len(commands))
	}
	l.noteLeaving(config, config, []string{"app"}, is)
	if len(l.leaving) != many {
		t.Errorf("%d servers leave", len(l.leaving))
	}
	if commands := l.removals(config, l.leaving, is); len(commands) != 2*many {
		t.Errorf("%d commands to delete %d servers", len(commands), many)
	}
}
