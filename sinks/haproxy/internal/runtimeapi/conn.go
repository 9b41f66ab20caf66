// Package runtimeapi is a client of HAProxy's runtime API: it sends commands over stats sockets and master sockets and reads
// the answers.
//
// It knows neither documents nor how HAProxy's processes are found, started or reloaded.
package runtimeapi

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// An Endpoint is an address at which a HAProxy process takes commands.
type Endpoint struct {
	Path   string // of a stats socket or master socket
	Worker int    // the worker's process id if the socket is a master's; 0 if it is the process's own
}

// A Conn is a connection to one HAProxy process. It is not safe for concurrent use, and must be closed after an error.
//
// HAProxy closes a connection to a process's own socket after "stats timeout" (10 s) of silence, and one to a worker
// when the master re-executes itself.
type Conn struct {
	conn   net.Conn
	prompt string
	unread []byte
	chunk  [64 << 10]byte
	sent   int // how many commands of the last Do were sent, or may have been
}

const (
	// maxAnswer bounds one answer, in bytes: "show servers state" has about 100 for each server.
	maxAnswer = 64 << 20
	// maxAhead is how many bytes of commands are sent before their answers are read. HAProxy's buffer has 16 KiB, but the master
	// of HAProxy 3.0.11 stops in the middle of many commands when the machine is busy: with 100 times "show stat" ahead, 5 of 150
	// connections got no prompt after the 46th answer; with 512 bytes ahead, none of 250.
	maxAhead = 512
)

// Dial connects to an endpoint. Commands on the connection reach the worker of the endpoint and no other one. ctx bounds only
// Dial.
func Dial(ctx context.Context, to Endpoint) (*Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", to.Path)
	if err != nil {
		return nil, err
	}
	c := &Conn{conn: conn, prompt: "> "}
	if to.Worker == 0 {
		_, err = c.Do(ctx, "prompt")
	} else {
		c.prompt = strconv.Itoa(to.Worker) + "> "
		err = c.switchTo(ctx, to.Worker)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// switchTo makes the master pass commands to the worker. The master's own prompt comes first, without a line end, and varies:
// after a failed reload it is "master[ReloadFailed]> ".
func (c *Conn) switchTo(ctx context.Context, worker int) error {
	release := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer release()
	if _, err := fmt.Fprintf(c.conn, "prompt\n@!%d\n", worker); err != nil {
		return c.failed(ctx, err)
	}
	for !bytes.HasSuffix(c.unread, []byte(c.prompt)) {
		if err := c.more(); err != nil {
			return c.failed(ctx, err)
		}
	}
	c.unread = c.unread[:0]
	return nil
}

// Close closes the connection. It changes nothing in HAProxy.
func (c *Conn) Close() { _ = c.conn.Close() }

// Do sends commands and returns their answers, without surrounding white space. On an error some commands may have been executed
// and others not.
func (c *Conn) Do(ctx context.Context, commands ...string) ([]string, error) {
	release := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer release()
	answers := make([]string, 0, len(commands))
	c.sent = 0
	for len(commands) > 0 {
		n := ahead(commands)
		for _, command := range commands[:n] {
			if strings.ContainsAny(command, "\n\r\x00") || strings.Contains(command, "<<") {
				return answers, fmt.Errorf("%q is not a single command", command)
			}
		}
		c.sent += n
		if _, err := c.conn.Write([]byte(strings.Join(commands[:n], "\n") + "\n")); err != nil {
			return answers, c.failed(ctx, err)
		}
		for range n {
			answer, err := c.read()
			if err != nil {
				return answers, c.failed(ctx, err)
			}
			answers = append(answers, strings.TrimSpace(answer))
		}
		commands = commands[n:]
	}
	return answers, nil
}

// ahead returns how many of the commands are sent at once.
func ahead(commands []string) int {
	size := 0
	for i, command := range commands {
		if size += len(command) + 1; size > maxAhead && i > 0 {
			return i
		}
	}
	return len(commands)
}

// read returns the answer before the next prompt, which is at the beginning of a line.
func (c *Conn) read() (string, error) {
	looked := 0
	for {
		if end, after := c.promptAt(looked); end >= 0 {
			answer := string(c.unread[:end])
			c.unread = append(c.unread[:0], c.unread[after:]...)
			return answer, nil
		}
		looked = max(0, len(c.unread)-len(c.prompt))
		if len(c.unread) > maxAnswer {
			return "", fmt.Errorf("the answer exceeds %d MiB", maxAnswer>>20)
		}
		if err := c.more(); err != nil {
			return "", err
		}
	}
}

func (c *Conn) more() error {
	n, err := c.conn.Read(c.chunk[:])
	c.unread = append(c.unread, c.chunk[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// promptAt returns the range of the first prompt after from, and -1 if there is none.
func (c *Conn) promptAt(from int) (begin, end int) {
	if bytes.HasPrefix(c.unread, []byte(c.prompt)) {
		return 0, len(c.prompt)
	}
	i := bytes.Index(c.unread[from:], []byte("\n"+c.prompt))
	if i < 0 {
		return -1, -1
	}
	return from + i, from + i + 1 + len(c.prompt)
}

// failed returns the cause of ctx if it is done, and err otherwise.
func (c *Conn) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("connection to HAProxy's socket: %w", err)
}
