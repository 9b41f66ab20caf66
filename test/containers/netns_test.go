//go:build linux

package containers_test

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A netns is a network namespace that consists of the loopback interface.
type netns struct{ fd int }

func newNetns(t *testing.T) netns {
	t.Helper()
	var ns netns
	err := inThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if ns.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		return loopbackUp()
	})
	if err != nil {
		t.Fatalf("creating a network namespace: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(ns.fd) })
	return ns
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// do calls f in the namespace.
func (ns netns) do(f func() error) error {
	return inThread(func() error {
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// inThread calls f in a thread of its own, which ends afterwards.
func inThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, so that no other goroutine gets the thread
		result <- f()
	}()
	return <-result
}

// listen returns a listener in the namespace. It is closed when the test ends.
func (ns netns) listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var l net.Listener
	if err := ns.do(func() (err error) { l, err = net.Listen("tcp", address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// client returns an HTTP client that connects in the namespace, with a connection for each request.
func (ns netns) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = ns.do(func() error { conn, err = new(net.Dialer).DialContext(ctx, network, address); return err })
			return conn, err
		},
	}}
}
