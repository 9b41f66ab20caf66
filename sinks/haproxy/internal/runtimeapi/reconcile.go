package runtimeapi

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

const (
	// reconcileTimeout bounds one Reconcile. A command takes about 0.15 ms.
	reconcileTimeout = 10 * time.Second
	// reconcileAttempts is how many connections one Reconcile opens.
	reconcileAttempts = 3
	// reconcileRounds is how often commands are sent and their effect is read back.
	reconcileRounds = 3
)

// Reconcile changes the servers of the named backends from before to want and returns the commands that it sent with HAProxy's
// answers. A nil error means a final read matched want. After an error the servers may be in any state between the two. It takes
// at most 10 s.
func (c *Client) Reconcile(
	ctx context.Context, before, want *syntax.Config, backends []string,
) (sent []sdk.Command, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, reconcileTimeout, errNoAnswer)
	defer cancel()
	c.reconciled++
	for _, name := range backends {
		c.lastChange[name] = c.reconciled
	}
	// An attempt can be repeated, because each begins with reading. HAProxy may have closed an idle connection.
	for range reconcileAttempts {
		if err = c.connect(ctx); err == nil {
			var more []sdk.Command
			more, err = c.reconcileConnected(ctx, before, want, backends)
			sent = append(sent, more...)
		}
		if err == nil || isPermanent(err) || ctx.Err() != nil {
			return sent, err
		}
		c.Close()
	}
	return sent, err
}

// reconcileConnected reads the servers and sends commands for what differs, until nothing does. A backend that cannot be changed
// does not block the others.
func (c *Client) reconcileConnected(
	ctx context.Context, before, want *syntax.Config, backends []string,
) (sent []sdk.Command, err error) {
	for range reconcileRounds {
		draining := c.drainingBackends() // a draining server may have a maxconn that neither configuration has
		seen, err := c.observe(ctx, backends, func(name string) bool {
			return hasMaxConn(want.Backend(name)) || hasMaxConn(before.Backend(name)) || slices.Contains(draining, name)
		})
		if err != nil {
			return sent, err
		}
		c.resolveMissing(ctx, want, backends, seen)
		var commands []command
		var refused error
		for _, name := range backends {
			more, err := c.commands(ctx, want.Backend(name), seen)
			commands = append(commands, more...)
			refused = cmp.Or(refused, err)
		}
		if len(commands) == 0 {
			c.noteDraining(before, want, backends, seen)
			return sent, refused
		}
		answered, err := c.send(ctx, commands)
		sent = append(sent, answered...)
		if err != nil {
			return sent, err
		}
	}
	return sent, &RefusedError{"HAProxy accepted all commands, but its servers still differ"}
}

// resolveMissing looks up the host names of all servers that have to be added, in parallel.
func (c *Client) resolveMissing(ctx context.Context, want *syntax.Config, backends []string, seen observed) {
	var hosts []string
	for _, name := range backends {
		for _, server := range want.Backend(name).Servers {
			if _, there := seen.server(name, server.Name); !there && server.Host != "" {
				hosts = append(hosts, server.Host)
			}
		}
	}
	if len(hosts) > 0 {
		c.resolver.Resolve(ctx, hosts)
	}
}

// DifferingBackends returns the backends whose servers differ from config. It changes nothing.
func (c *Client) DifferingBackends(ctx context.Context, config *syntax.Config) ([]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, reconcileTimeout, errNoAnswer)
	defer cancel()
	var differing []string
	err := c.compare(ctx, config, func(backend string, commands []command, err error) {
		if err != nil || len(commands) > 0 {
			differing = append(differing, backend)
		}
	})
	return differing, err
}

// FirstNeededCommand returns the first command that would be needed to make the servers match config, or "" if none is needed.
// It changes nothing.
func (c *Client) FirstNeededCommand(ctx context.Context, config *syntax.Config) (string, error) {
	needed := ""
	var refused error
	err := c.compare(ctx, config, func(_ string, commands []command, err error) {
		refused = cmp.Or(refused, err)
		if needed == "" && len(commands) > 0 {
			needed = commands[0].text
		}
	})
	return needed, cmp.Or(err, refused)
}

// compare reads the servers of all backends of config. It calls found for each backend with the commands that would make its
// servers match config, or with the reason why no command can.
func (c *Client) compare(
	ctx context.Context, config *syntax.Config, found func(backend string, commands []command, err error),
) error {
	if err := c.connect(ctx); err != nil {
		return err
	}
	backends := config.Backends()
	seen, err := c.observe(ctx, backends, func(name string) bool { return hasMaxConn(config.Backend(name)) })
	if err != nil {
		return err
	}
	var same []string
	for _, name := range backends {
		commands, err := c.commands(ctx, config.Backend(name), seen)
		if err == nil && len(commands) == 0 {
			same = append(same, name)
		}
		found(name, commands, err)
	}
	c.noteDraining(config, config, same, seen)
	return nil
}
