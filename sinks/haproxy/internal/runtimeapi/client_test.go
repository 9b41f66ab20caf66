package runtimeapi

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// Comparing 10,000 servers of one backend takes linear time. Quadratic time would take minutes.
func TestCommands_10000ServersInOneBackend(t *testing.T) {
	const many = 10_000
	var text strings.Builder
	text.WriteString("backend app\n")
	is := observed{map[string][]Server{}, map[string]Server{}, map[string]Load{}}
	for i := range 2 * many { // those of the second half are removed
		name, port := fmt.Sprintf("s%d", i), uint16(1+i)
		addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
		server := Server{Backend: "app", Name: name, Weight: 1, Addr: addr}
		is.servers["app"] = append(is.servers["app"], server)
		is.byID["app/"+name] = server
		is.loads["app/"+name] = Load{}
		if i < many {
			fmt.Fprintf(&text, " server %s 127.0.0.1:%d backup\n", name, port)
		}
	}
	config := syntax.Parse([]byte(text.String()), nil)
	c := &Client{draining: map[string]drainingServer{}}
	commands, err := c.commands(t.Context(), config.Backend("app"), is)
	if err != nil {
		t.Fatal(err)
	}
	if len(commands) != many {
		t.Errorf("%d commands, want one for each server that is removed", len(commands))
	}
	c.noteDraining(config, config, []string{"app"}, is)
	if len(c.draining) != many {
		t.Errorf("%d servers are draining", len(c.draining))
	}
	if commands := c.removals(config, DrainingState{c.draining, is}); len(commands) != 2*many {
		t.Errorf("%d commands to delete %d servers", len(commands), many)
	}
}

// A draining server disappears with its backend, and no reload is needed to remove it.
func TestRemovals_BackendIsGone(t *testing.T) {
	c := NewClient(nil, nil, 0)
	c.draining["gone/a"] = drainingServer{deadline: time.Now().Add(-2 * removeTimeout)}
	if c.Stuck() == nil {
		t.Error("the server is not stuck before it was read")
	}
	state := DrainingState{c.Observer().draining, observed{}}
	if commands := c.removals(syntax.Parse([]byte("backend app\n"), nil), state); len(commands) > 0 {
		t.Errorf("commands %q", commands)
	}
	if err := c.Stuck(); err != nil || c.Draining() > 0 {
		t.Errorf("%v; %d servers are draining", err, c.Draining())
	}
}

func TestClient_ResetDiscardsWhatWasKnown(t *testing.T) {
	c := NewClient(nil, nil, 0)
	c.draining["app/a"], c.runtimeRefused["app"], c.lastChange["app"] = drainingServer{}, "no", 1
	c.version.unsupported = "too old"
	c.Reset(Target{})
	if c.Draining() > 0 || c.Refused("app") != "" || c.Unsupported() != "" || len(c.lastChange) > 0 {
		t.Errorf("%+v", c)
	}
}
