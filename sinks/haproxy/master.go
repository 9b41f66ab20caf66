package haproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A masterSocket is the command line interface of HAProxy's master process. Each question takes a connection of its
// own, about 0.3 ms.
type masterSocket struct{ path string }

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 4 << 20

// ask sends one command and returns the whole answer. It waits until the master has closed the connection, without any
// limit but ctx: a reload is answered when it is over on HAProxy 2.7 and later, however long that takes.
func (m masterSocket) ask(ctx context.Context, command string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", m.path)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	release := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer release()
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", err
	}
	// HAProxy 2.6 keeps the connection open for a second command until it sees that there is none.
	if half, ok := conn.(*net.UnixConn); ok {
		_ = half.CloseWrite()
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	return string(answer), err
}

// procs asks for the processes.
func (m masterSocket) procs(ctx context.Context) (procs, error) {
	answer, err := m.ask(ctx, "show proc")
	if err != nil {
		return procs{}, err
	}
	p, ok := parseProcs(answer)
	if !ok {
		return procs{}, fmt.Errorf("the master socket %s does not list a master process", m.path)
	}
	return p, nil
}

// info asks the worker with that process id, and no other one, about itself; 0 stands for the process that has the socket.
func (m masterSocket) info(ctx context.Context, worker int) (info, error) {
	command := "show info"
	if worker != 0 {
		command = "@!" + strconv.Itoa(worker) + " " + command
	}
	answer, err := m.ask(ctx, command)
	if err != nil {
		return nil, err
	}
	return parseInfo(answer), nil
}

// serves reports whether that very worker answers and means to stay.
func (m masterSocket) serves(ctx context.Context, worker int) bool {
	if worker == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	i, err := m.info(ctx, worker)
	return err == nil && i.servedBy(worker)
}

// A verdict is what a master says about a reload.
type verdict int

const (
	unsaid     verdict = iota // 2.6 and older: the connection just ends
	succeeded                 // 2.7 and newer, as "Success=1"
	refused                   // 2.7 and newer, as "Success=0"
	inProgress                // 3.1 and newer, as "Success=0" with a sentence: the master is loading already
)

// parseReload reads the answer to "reload": the verdict, and the lines that HAProxy logged while it loaded.
func parseReload(answer string) (verdict, []string) {
	first, log, _ := strings.Cut(answer, "\n")
	log = strings.TrimPrefix(log, "--\n")
	switch strings.TrimSpace(first) {
	case "Success=1":
		return succeeded, logLines(log)
	case "Success=0":
		if strings.HasPrefix(log, "Another reload is still in progress") {
			return inProgress, nil
		}
		return refused, logLines(log)
	default:
		return unsaid, nil
	}
}

// requestReload has the master load the files on disk, and returns what it says. One that is loading already is asked until that
// is over: what it loads may be older.
func (m masterSocket) requestReload(ctx context.Context) (said verdict, log []string, err error) {
	err = poll(ctx, func() (bool, error) {
		// An error here is no answer: the connection may break because the master is executing itself again.
		answer, _ := m.ask(ctx, "reload")
		said, log = parseReload(answer)
		return said != inProgress, nil
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return said, log, err
}
