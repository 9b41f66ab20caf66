package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// An etcd is an etcd process with a directory of its own.
type etcd struct {
	*testing.T
	directory       string
	address, member string // for clients, and for other members, of which there are none
	client          *clientv3.Client
	cmd             *exec.Cmd
}

// newEtcd returns an etcd that is not started yet.
func newEtcd(t *testing.T) *etcd {
	t.Helper()
	e := &etcd{T: t, directory: t.TempDir(), address: freeAddress(t), member: freeAddress(t)}
	var err error
	e.client, err = clientv3.New(clientv3.Config{Endpoints: []string{e.address}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = e.client.Close()
		e.kill()
	})
	return e
}

func startEtcd(t *testing.T) *etcd {
	t.Helper()
	e := newEtcd(t)
	e.start()
	return e
}

// start starts etcd and waits until it responds.
func (e *etcd) start() {
	e.Helper()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		e.Fatal("these tests need etcd: install the package etcd-server")
	}
	e.cmd = exec.Command(binary, "--name", "one", "--data-dir", filepath.Join(e.directory, "data"),
		"--listen-client-urls", "http://"+e.address, "--advertise-client-urls", "http://"+e.address,
		"--listen-peer-urls", "http://"+e.member, "--initial-advertise-peer-urls", "http://"+e.member,
		"--initial-cluster", "one=http://"+e.member, "--heartbeat-interval", "50", "--election-timeout", "500",
		"--logger", "zap", "--log-level", "error")
	e.cmd.Stdout, e.cmd.Stderr = e.Output(), e.Output()
	e.cmd.WaitDelay = time.Second
	if err := e.cmd.Start(); err != nil {
		e.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(e.Context(), 2*time.Minute)
	defer cancel()
	if _, err := e.client.Get(ctx, "any", clientv3.WithSerializable()); err != nil {
		e.Fatalf("etcd does not come up: %v", err)
	}
	if _, err := e.client.Get(ctx, "any"); err != nil {
		e.Fatalf("etcd finds no leader: %v", err)
	}
}

// kill kills etcd.
func (e *etcd) kill() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Kill()
	_ = e.cmd.Wait()
	e.cmd = nil
}

// removeData removes the data of etcd.
func (e *etcd) removeData() {
	e.Helper()
	if err := os.RemoveAll(filepath.Join(e.directory, "data")); err != nil {
		e.Fatal(err)
	}
}

func (e *etcd) put(key, value string) int64 {
	e.Helper()
	resp, err := e.client.Put(e.Context(), key, value)
	if err != nil {
		e.Fatal(err)
	}
	return resp.Header.Revision
}

func (e *etcd) delete(key string) {
	e.Helper()
	if _, err := e.client.Delete(e.Context(), key); err != nil {
		e.Fatal(err)
	}
}

// instance returns a value with the required fields only.
func instance(port int) string {
	return fmt.Sprintf(`{"ports": [{"port": %d, "serviceport": 8080, "ip": "127.0.0.1"}]}`, port)
}

// freeAddress returns an unused address on a loopback address that other tests are unlikely to use.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// A proxy forwards connections to a server and can be interrupted.
type proxy struct {
	*testing.T
	address, target string
	listener        net.Listener // nil while it is interrupted
	carrying        sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func newCable(t *testing.T, target string) *proxy {
	t.Helper()
	c := &proxy{T: t, address: freeAddress(t), target: target}
	c.restore()
	t.Cleanup(c.interrupt)
	return c
}

func (c *proxy) restore() {
	c.Helper()
	listener, err := net.Listen("tcp", c.address)
	if err != nil {
		c.Fatal(err)
	}
	c.listener = listener
	c.carrying.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			c.carrying.Go(func() { c.carry(conn) })
		}
	})
}

func (c *proxy) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer far.Close()
	c.mu.Lock()
	c.conns = append(c.conns, near, far)
	c.mu.Unlock()
	c.carrying.Go(func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	})
	_, _ = io.Copy(near, far)
}

// interrupt closes all connections and accepts none until restore.
func (c *proxy) interrupt() {
	if c.listener == nil {
		return
	}
	_ = c.listener.Close()
	c.listener = nil
	c.mu.Lock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
	c.mu.Unlock()
	c.carrying.Wait()
}
