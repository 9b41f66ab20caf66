//go:build linux

package debiantest

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Dial connects to an address in the network of a booted machine, such as 127.0.0.1:80. It can be the DialContext of an
// [http.Transport].
func (m *Machine) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	inside := m.inNetwork(func() error {
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, inside
}

// Listen listens on a TCP address in the network of a booted machine, whose processes then reach this process.
func (m *Machine) Listen(t testing.TB, address string) net.Listener {
	t.Helper()
	var listener net.Listener
	err := m.inNetwork(func() (err error) {
		var config net.ListenConfig
		listener, err = config.Listen(t.Context(), "tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// inNetwork calls f on a thread that is in the network namespace of the machine. A socket belongs to the namespace of the thread
// that creates it.
func (m *Machine) inNetwork(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.leader))
		if err != nil {
			result <- err
			return
		}
		defer namespace.Close()
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("entering the network of the machine: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}
