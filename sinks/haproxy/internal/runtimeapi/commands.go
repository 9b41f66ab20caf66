package runtimeapi

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// A command is one line for HAProxy, and its answer if it has succeeded.
type command struct {
	text    string
	backend string
	answer  string
}

const (
	answerEmpty = ""
	answerAdded = "New server registered."
	answerAny   = "*" // a sentence about what was changed; the servers are read afterwards
)

// commands returns the commands that make the servers of b, as they were seen, what b says. Those that add servers come first, so
// that the backend always has as many servers as before or after. Servers that b does not have begin to drain.
func (c *Client) commands(ctx context.Context, b *syntax.Backend, seen observed) ([]command, error) {
	var commands []command
	newID := unusedIDs(seen.servers[b.Name])
	for _, want := range b.Servers {
		more, err := c.commandsFor(ctx, b, want, seen, newID)
		if err != nil {
			return nil, err
		}
		commands = append(commands, more...)
	}
	if !slices.Equal(seen.orderWith(b), b.Order()) {
		return nil, &RefusedError{fmt.Sprintf("HAProxy has the servers of backend %s in another order", b.Name)}
	}
	if !b.Complete() {
		return commands, nil
	}
	for _, is := range seen.servers[b.Name] {
		_, wanted := b.Server(is.Name)
		switch {
		case wanted:
		case c.version.staticLua && b.Lua() != "":
			return nil, &RefusedError{fmt.Sprintf("server %s/%s has to be removed, and %q may use it", b.Name, is.Name, b.Lua())}
		case is.Admin&(ForcedDrain|ForcedMaint) == 0:
			commands = append(commands, set(b.Name, is.Name, "state drain", answerEmpty))
		}
	}
	return commands, nil
}

// commandsFor returns the commands that make one server what its line says. newID returns a number that no server has.
func (c *Client) commandsFor(
	ctx context.Context, b *syntax.Backend, want syntax.Server, seen observed, newID func() int,
) ([]command, error) {
	id := b.Name + "/" + want.Name
	is, there := seen.server(b.Name, want.Name)
	old, draining := c.draining[id]
	switch {
	case !there && !want.Addable():
		return nil, &RefusedError{fmt.Sprintf("server %s is missing and cannot be added at run time", id)}
	case !there && c.version.before30 && want.Multiplexes():
		reason := fmt.Sprintf("HAProxy before 3.0 would send one request on each connection to an added server %s", id)
		c.runtimeRefused[b.Name] = reason
		return nil, &RefusedError{reason}
	case !there && c.version.staticLua && b.Lua() != "":
		return nil, &RefusedError{fmt.Sprintf("server %s is missing, and %q would not see it", id, b.Lua())}
	case !there:
		address, err := c.addressOf(ctx, want)
		if err != nil {
			return nil, err
		}
		return c.additions(b.Name, want, address, newID), nil
	case draining:
		if reason := c.whyNotReturn(ctx, b, old, want, is); reason != "" {
			return nil, &RefusedError{fmt.Sprintf("server %s is added again while it is draining: %s", id, reason)}
		}
	case !want.Known():
		return nil, nil
	}
	return corrections(b.Name, want, is, seen.loads), nil
}

// orderWith returns the servers of b whose order matters, in the order in which HAProxy has them once the missing ones are added,
// which come last.
func (o observed) orderWith(b *syntax.Backend) []string {
	var order []string
	for _, is := range o.servers[b.Name] {
		if b.InOrder(is.Name) {
			order = append(order, is.Name)
		}
	}
	for _, name := range b.Order() {
		if _, there := o.server(b.Name, name); !there {
			order = append(order, name)
		}
	}
	return order
}

// addressOf returns the address of a server. It looks host names up, which HAProxy does when it starts but not when a server is
// added. A name with several addresses is an error, since HAProxy would choose one.
func (c *Client) addressOf(ctx context.Context, s syntax.Server) (string, error) {
	if s.Addr.IsValid() {
		return s.Address, nil
	}
	found := c.resolver.Resolve(ctx, []string{s.Host})[s.Host]
	switch addresses := found.Addresses; {
	case found.Err != nil:
		return "", &RefusedError{fmt.Sprintf("the host name %s of server %s has no address: %v", s.Host, s.Name, found.Err)}
	case len(addresses) != 1:
		return "", &RefusedError{fmt.Sprintf("the name %s of server %s has %d addresses", s.Host, s.Name, len(addresses))}
	}
	return netip.AddrPortFrom(found.Addresses[0].Unmap(), s.Port).String(), nil
}

func set(backend, server, what, answer string) command {
	return command{fmt.Sprintf("set server %s/%s %s", backend, server, what), backend, answer}
}

// unusedIDs returns a function that returns the numbers that no server has, from the lowest one on.
func unusedIDs(servers []*Server) (next func() int) {
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

// additions returns the commands that add a server and make it like one that was loaded from a file. HAProxy before 3.0 needs
// more options: it leaves out defaults, and orders servers by a number that it assigns only afterwards.
func (c *Client) additions(backend string, s syntax.Server, address string, newID func() int) []command {
	id := backend + "/" + s.Name
	words := []string{"add server", id, address}
	if s.Options != "" {
		words = append(words, s.Options)
	}
	words = append(words, fmt.Sprintf("weight %d", s.Weight))
	if s.MaxConn > 0 {
		words = append(words, fmt.Sprintf("maxconn %d", s.MaxConn))
	}
	if c.version.before30 {
		words = append(words, s.Defaults(), fmt.Sprintf("id %d", newID()))
	}
	all := []command{{strings.Join(words, " "), backend, answerAdded}}
	if s.Check {
		all = append(all, command{"enable health " + id, backend, answerEmpty})
	}
	if !s.Disabled {
		all = append(all, set(backend, s.Name, "state ready", answerEmpty))
	}
	return all
}

// corrections returns the commands that make an existing server what its line says.
func corrections(backend string, want syntax.Server, is Server, loads map[string]Load) []command {
	id := backend + "/" + want.Name
	var all []command
	if want.Addr.IsValid() && is.Addr != want.Addr {
		address := fmt.Sprintf("addr %s port %d", want.Addr.Addr(), want.Addr.Port())
		all = append(all, set(backend, want.Name, address, answerAny))
		if want.Check { // the state of the old address says nothing about the new one
			all = append(all, set(backend, want.Name, "health up", answerEmpty))
		}
	}
	if is.Weight != want.Weight {
		all = append(all, set(backend, want.Name, fmt.Sprintf("weight %d", want.Weight), answerEmpty))
	}
	if load, known := loads[id]; known && want.MaxConn != syntax.BoundByOptions && load.MaxConn != want.MaxConn {
		all = append(all, command{fmt.Sprintf("set maxconn server %s %d", id, want.MaxConn), backend, answerEmpty})
	}
	if is.Check != want.Check {
		word := map[bool]string{true: "enable", false: "disable"}[want.Check]
		all = append(all, command{word + " health " + id, backend, answerEmpty})
	}
	switch forced := is.Admin & (ForcedMaint | ForcedDrain); {
	case want.Disabled && forced&ForcedMaint == 0:
		all = append(all, set(backend, want.Name, "state maint", answerEmpty))
	case !want.Disabled && forced != 0:
		all = append(all, set(backend, want.Name, "state ready", answerEmpty))
	}
	return all
}

// noAnswer stands for the answer to a command that HAProxy may have executed or not.
const noAnswer = "(no answer)"

// send sends commands and compares every answer with the expected one. It returns the commands with their answers. The error is a
// RefusedError with the first unexpected answer, and the backend of each refused command is left to reloads from then on.
func (c *Client) send(ctx context.Context, commands []command) ([]sdk.Command, error) {
	texts := make([]string, len(commands))
	for i, command := range commands {
		texts[i] = command.text
	}
	answers, err := c.conn.Do(ctx, texts...)
	sent := make([]sdk.Command, c.conn.sent)
	for i, text := range texts[:c.conn.sent] {
		sent[i] = sdk.Command{Sent: text, Answer: noAnswer}
		if i < len(answers) {
			sent[i].Answer = answers[i]
		}
	}
	if err != nil {
		return sent, err
	}
	var refused error
	for i, command := range commands {
		if command.answer == answerAny || command.answer == answers[i] {
			continue
		}
		reason := fmt.Sprintf("HAProxy answered %q to %q", firstLine(answers[i]), command.text)
		if c.runtimeRefused[command.backend] == "" { // the first answer is the cause of those that follow
			c.runtimeRefused[command.backend] = reason
		}
		if refused == nil {
			refused = &RefusedError{reason}
		}
	}
	return sent, refused
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
