package runtimeapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/hostnames"
)

// A Client changes and reads the servers of one running HAProxy. It is not safe for concurrent use; [Client.Observer] returns
// another client for readers.
//
// It relies on what was measured on 2.6.12 and 3.0.11: an added server is in maintenance, with its checks off, and inherits
// nothing from default-server. A draining server gets no new requests and keeps its sessions. A server is deleted only in
// maintenance and without connections.
type Client struct {
	infos        *Infos
	resolver     *hostnames.Resolver
	drainTimeout time.Duration

	target   Target // all fields below are about it
	conn     *Conn
	version  versionLimits
	draining map[string]drainingServer // by "backend/server"
	// runtimeRefused has, by backend whose servers HAProxy refused to change, what it answered.
	runtimeRefused map[string]string

	reconciled int            // how often servers were reconciled
	lastChange map[string]int // by backend, the value of reconciled at its last change
}

// A Target is the HAProxy whose servers a [Client] changes and reads. The zero value stands for none.
type Target struct {
	Name     string                   // for error messages
	Endpoint func() (Endpoint, error) // where it takes commands; an error if nowhere
	Answered func(Info) bool          // reports whether the info is an answer of the target
}

// versionLimits is what a version of HAProxy cannot do.
type versionLimits struct {
	unsupported string // why it takes no changes at run time; empty if it does
	staticLua   bool   // its Lua scripts see the servers of the start, and use servers that were deleted
	before30    bool   // "add server" leaves out defaults
}

// NewClient returns a client without a target. A server that is removed has drainTimeout to finish its sessions.
func NewClient(infos *Infos, resolver *hostnames.Resolver, drainTimeout time.Duration) *Client {
	c := &Client{infos: infos, resolver: resolver, drainTimeout: drainTimeout}
	c.Reset(Target{})
	return c
}

// Reset sets the target and discards everything known about the previous one. It is also needed when the target has loaded a
// configuration, since a master that reloads in place keeps its process id.
func (c *Client) Reset(target Target) {
	c.Close()
	c.target, c.version.unsupported = target, ""
	c.draining, c.runtimeRefused, c.lastChange = map[string]drainingServer{}, map[string]string{}, map[string]int{}
}

// Close closes the connection, if there is one. The next command opens another.
func (c *Client) Close() {
	if c.conn != nil {
		c.conn.Close()
	}
	c.conn = nil
}

// Unsupported returns why the target's version cannot be changed at run time. It is empty if it can, or if nothing was
// asked yet.
func (c *Client) Unsupported() string { return c.version.unsupported }

// Refused returns what HAProxy answered when it refused to change one of the backends, or "" if it has changed all of them so
// far. A backend that was refused is left to reloads from then on.
func (c *Client) Refused(backends ...string) string {
	for _, name := range backends {
		if answer := c.runtimeRefused[name]; answer != "" {
			return answer
		}
	}
	return ""
}

// Observer returns a client for the same target with a connection of its own. It reads while others use c; [Client.Merge]
// takes over what it has found out.
func (c *Client) Observer() *Client {
	other := *c
	other.conn = nil
	other.draining, other.lastChange = maps.Clone(c.draining), maps.Clone(c.lastChange)
	other.runtimeRefused = maps.Clone(c.runtimeRefused)
	return &other
}

// UnchangedSince reports whether c has not changed the servers of the backend since the observer was made.
func (c *Client) UnchangedSince(observer *Client, backend string) bool {
	return c.lastChange[backend] == observer.lastChange[backend]
}

// Merge takes over what the observer has found out about the target, for the backends that were not changed since.
func (c *Client) Merge(observer *Client) {
	c.version.unsupported = observer.version.unsupported
	unchanged := func(id string, _ drainingServer) bool { return c.UnchangedSince(observer, backendOf(id)) }
	maps.DeleteFunc(c.draining, unchanged)
	for id, server := range observer.draining {
		if unchanged(id, server) {
			c.draining[id] = server
		}
	}
}

// connect makes sure that there is a connection to the target.
func (c *Client) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, AnswerTimeout, errNoAnswer)
	defer cancel()
	// A process without our master may have a new worker by now, and this may be the connection to the old one. A master of
	// HAProxy 3.2 has a connection to its worker only while the worker answers, and another one may not be available now.
	if c.conn != nil {
		if err := c.identify(ctx); err == nil {
			return nil
		}
		c.Close()
	}
	to, err := c.target.Endpoint()
	if err != nil {
		return err
	}
	if _, err := c.infos.Get(ctx, to); errors.Is(err, ErrBusy) { // another connection would only wait as well
		return err
	}
	conn, err := Dial(ctx, to)
	if err != nil {
		return fmt.Errorf("HAProxy takes no commands on %s: %w", to.Path, err)
	}
	c.conn = conn
	if err := c.identify(ctx); err != nil {
		c.Close()
		return err
	}
	return nil
}

// oldestMinor is the first version 2.x that is changed at run time. 2.4 and 2.5 do so only in their experimental mode, and 2.4
// cannot delete servers of the configuration file.
const oldestMinor = 6

// identify checks that the target is the process that answers, and finds out what its version can do.
func (c *Client) identify(ctx context.Context) error {
	answers, err := c.conn.Do(ctx, "show info")
	if err != nil {
		return err
	}
	info := ParseInfo(answers[0])
	if !c.target.Answered(info) {
		return &UnsupportedError{fmt.Sprintf("%s does not answer, or it is about to end", c.target.Name)}
	}
	major, minor := ParseVersion(info["Version"])
	if major < 2 || major == 2 && minor < oldestMinor {
		c.version.unsupported = fmt.Sprintf("HAProxy %s cannot be changed at run time; 2.%d and later can",
			info["Version"], oldestMinor)
		return &UnsupportedError{c.version.unsupported}
	}
	c.version.staticLua = major == 2 && minor < 8
	c.version.before30 = major < 3
	return nil
}
