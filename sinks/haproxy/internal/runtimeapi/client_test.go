package runtimeapi

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// Comparing 10,000 servers of one backend takes linear time. Quadratic time would take minutes.
func TestCommands_10000ServersInOneBackend(t *testing.T) {
	const many = 10_000
	var text strings.Builder
	text.WriteString("backend app\n")
	is := newObserved()
	var servers []Server
	for i := range 2 * many { // those of the second half are removed
		name, port := fmt.Sprintf("s%d", i), uint16(1+i)
		addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
		servers = append(servers, Server{Backend: "app", Name: name, Weight: 1, Addr: addr})
		is.loads["app/"+name] = Load{}
		if i < many {
			fmt.Fprintf(&text, " server %s 127.0.0.1:%d backup\n", name, port)
		}
	}
	is.add(servers)
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

// The servers are read every few seconds, so what that allocates decides how much garbage there is. No server is in memory twice.
func TestObserved_Memory(t *testing.T) {
	const many = 10_000
	heading := strings.SplitAfterN(state, "\n", 3)
	text := bytes.NewBufferString(heading[0] + heading[1])
	for i := range many {
		fmt.Fprintf(text, "%d backend-%d %d server-%d 127.0.0.1 2 0 1 1 0 - 80\n", i/20, i/20, i%20, i)
	}
	answer := text.String()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	servers, err := ParseServers(answer)
	check(t, err)
	seen := newObserved()
	seen.add(servers)
	runtime.ReadMemStats(&after)
	if _, there := seen.server("backend-7", "server-150"); !there || len(seen.byID) != many {
		t.Fatalf("%d servers", len(seen.byID))
	}
	times := float64(after.TotalAlloc-before.TotalAlloc) / many / float64(unsafe.Sizeof(Server{}))
	t.Logf("%.1f times its size for each server", times)
	if times > 5 {
		t.Errorf("reading a server allocates %.1f times its size", times)
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
