package haproxy

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// A command is one line for HAProxy, and what it answers when all is well.
type command struct {
	text    string
	backend string
	well    string
}

const (
	saysNothing  = ""
	saysAdded    = "New server registered."
	saysWhatever = "*" // a sentence that tells what was changed: what is read afterwards has to be enough
)

// commands returns what makes the servers of b, as they were seen, what b says. First come those that add servers, so
// that a backend never has fewer of them than before and after. Servers that nobody wants begin to drain.
func (l *live) commands(ctx context.Context, b *syntax.Backend, s seen) ([]command, error) {
	var commands []command
	newID := unusedIDs(s.servers[b.Name])
	for _, want := range b.Servers {
		more, err := l.commandsFor(ctx, b, want, s, newID)
		if err != nil {
			return nil, err
		}
		commands = append(commands, more...)
	}
	if !slices.Equal(s.orderWith(b), b.Order()) {
		return nil, &refusal{sentence: fmt.Sprintf("HAProxy has the servers of backend %s in another order", b.Name)}
	}
	if !b.Complete() {
		return commands, nil
	}
	for _, is := range s.servers[b.Name] {
		_, wanted := b.Server(is.Name)
		switch {
		case wanted:
		case l.oldLua && b.Lua() != "":
			return nil, &refusal{sentence: fmt.Sprintf("server %s/%s is to go, and %q may use it", b.Name, is.Name, b.Lua())}
		case is.Admin&(runtimeapi.ForcedDrain|runtimeapi.ForcedMaint) == 0:
			commands = append(commands, set(b.Name, is.Name, "state drain", saysNothing))
		}
	}
	return commands, nil
}

// commandsFor returns what makes one server what its line says. newID returns a number that no server has.
func (l *live) commandsFor(
	ctx context.Context, b *syntax.Backend, want syntax.Server, s seen, newID func() int,
) ([]command, error) {
	id := b.Name + "/" + want.Name
	is, there := s.server(b.Name, want.Name)
	gone, leaving := l.leaving[id]
	switch {
	case !there && !want.Addable():
		return nil, &refusal{sentence: fmt.Sprintf("server %s is missing and cannot be added at run time", id)}
	case !there && l.before30 && want.Multiplexes():
		l.stubborn[b.Name] = fmt.Sprintf("HAProxy before 3.0 would send one request on each connection to an added server %s", id)
		return nil, &refusal{sentence: l.stubborn[b.Name]}
	case !there && l.oldLua && b.Lua() != "":
		return nil, &refusal{sentence: fmt.Sprintf("server %s is missing, and %q would not see it", id, b.Lua())}
	case !there:
		address, err := l.addressOf(ctx, want)
		if err != nil {
			return nil, err
		}
		return l.additions(b.Name, want, address, newID), nil
	case leaving:
		if reason := l.whyNotBack(ctx, b, gone, want, is); reason != "" {
			return nil, &refusal{sentence: fmt.Sprintf("server %s comes back before it is gone: %s", id, reason)}
		}
	case !want.Known():
		return nil, nil
	}
	return corrections(b.Name, want, is, s.loads), nil
}

// orderWith returns the servers of b whose order matters, as HAProxy has them once those that are missing were added: they
// come last.
func (s seen) orderWith(b *syntax.Backend) []string {
	var order []string
	for _, is := range s.servers[b.Name] {
		if b.InOrder(is.Name) {
			order = append(order, is.Name)
		}
	}
	for _, name := range b.Order() {
		if _, there := s.server(b.Name, name); !there {
			order = append(order, name)
		}
	}
	return order
}

// addressOf looks a name up, as HAProxy does when it starts and not when a server is added. Where a name has several
// addresses, it is HAProxy's to choose.
func (l *live) addressOf(ctx context.Context, s syntax.Server) (string, error) {
	if s.Addr.IsValid() {
		return s.Address, nil
	}
	found := l.hostnames.resolve(ctx, []string{s.Host})[s.Host]
	switch addresses := found.addresses; {
	case found.err != nil:
		return "", &refusal{sentence: fmt.Sprintf("the host name %s of server %s has no address: %v", s.Host, s.Name, found.err)}
	case len(addresses) != 1:
		return "", &refusal{sentence: fmt.Sprintf("the name %s of server %s has %d addresses", s.Host, s.Name, len(addresses))}
	}
	addresses := found.addresses
	return netip.AddrPortFrom(addresses[0].Unmap(), s.Port).String(), nil
}

func set(backend, server, what, well string) command {
	return command{fmt.Sprintf("set server %s/%s %s", backend, server, what), backend, well}
}

// unusedIDs returns a function that returns the numbers that no server has, each once and the lowest one first.
func unusedIDs(servers []runtimeapi.Server) (next func() int) {
	used := map[int]bool{}
	for _, s := range servers {
		used[s.ID] = true
	}
	id := 0
	return func() int {
		for id++; used[id]; id++ {
		}
		return id
	}
}

// additions add a server and leave it as one that was loaded from a file. HAProxy before 3.0 has to be told more: it leaves out
// defaults, and places a server among others by a number that it gives only afterwards.
func (l *live) additions(backend string, s syntax.Server, address string, newID func() int) []command {
	id := backend + "/" + s.Name
	words := []string{"add server", id, address}
	if s.Options != "" {
		words = append(words, s.Options)
	}
	words = append(words, fmt.Sprintf("weight %d", s.Weight))
	if s.MaxConn > 0 {
		words = append(words, fmt.Sprintf("maxconn %d", s.MaxConn))
	}
	if l.before30 {
		words = append(words, s.Defaults(), fmt.Sprintf("id %d", newID()))
	}
	all := []command{{strings.Join(words, " "), backend, saysAdded}}
	if s.Check {
		all = append(all, command{"enable health " + id, backend, saysNothing})
	}
	if !s.Disabled {
		all = append(all, set(backend, s.Name, "state ready", saysNothing))
	}
	return all
}

// corrections make a server that is there what it should be.
func corrections(backend string, want syntax.Server, is runtimeapi.Server, loads map[string]runtimeapi.Load) []command {
	id := backend + "/" + want.Name
	var all []command
	if want.Addr.IsValid() && is.Addr != want.Addr {
		address := fmt.Sprintf("addr %s port %d", want.Addr.Addr(), want.Addr.Port())
		all = append(all, set(backend, want.Name, address, saysWhatever))
		if want.Check { // what was found out about the old address says nothing about the new one
			all = append(all, set(backend, want.Name, "health up", saysNothing))
		}
	}
	if is.Weight != want.Weight {
		all = append(all, set(backend, want.Name, fmt.Sprintf("weight %d", want.Weight), saysNothing))
	}
	if load, known := loads[id]; known && want.MaxConn != syntax.BoundByOptions && load.MaxConn != want.MaxConn {
		all = append(all, command{fmt.Sprintf("set maxconn server %s %d", id, want.MaxConn), backend, saysNothing})
	}
	if is.Check != want.Check {
		word := map[bool]string{true: "enable", false: "disable"}[want.Check]
		all = append(all, command{word + " health " + id, backend, saysNothing})
	}
	switch forced := is.Admin & (runtimeapi.ForcedMaint | runtimeapi.ForcedDrain); {
	case want.Disabled && forced&runtimeapi.ForcedMaint == 0:
		all = append(all, set(backend, want.Name, "state maint", saysNothing))
	case !want.Disabled && forced != 0:
		all = append(all, set(backend, want.Name, "state ready", saysNothing))
	}
	return all
}

// run sends commands and reads every answer. One that is not as it should be is a refusal, and the backend is left to
// reloads from then on.
func (l *live) run(ctx context.Context, commands []command) error {
	texts := make([]string, len(commands))
	for i, c := range commands {
		texts[i] = c.text
	}
	answers, err := l.conn.Do(ctx, texts...)
	if err != nil {
		return err
	}
	var refused *refusal
	for i, c := range commands {
		if c.well == saysWhatever || c.well == answers[i] {
			continue
		}
		said := fmt.Sprintf("HAProxy answered %q to %q", firstLine(answers[i]), c.text)
		if l.stubborn[c.backend] == "" { // the first answer is the cause of those that follow
			l.stubborn[c.backend] = said
		}
		if refused == nil {
			refused = &refusal{sentence: said}
		}
		refused.log = append(refused.log, said)
	}
	if refused != nil {
		return refused
	}
	return nil
}

// unwilling returns what HAProxy said when it would not change one of the backends, and "" if it has changed all so far.
func (l *live) unwilling(backends []string) string {
	for _, name := range backends {
		if said := l.stubborn[name]; said != "" {
			return said
		}
	}
	return ""
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
