package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// get sends a request to HAProxy on that port over a new connection.
func (env *testEnv) get(servicePort int) (string, error) {
	return get(fmt.Sprintf("http://%s:%d/", env.ip, servicePort))
}

// oneRequestPerConnection is a client that opens a connection for each request.
var oneRequestPerConnection = &http.Client{Timeout: waitLimit, Transport: &http.Transport{DisableKeepAlives: true}}

func get(url string) (string, error) { return getBy(oneRequestPerConnection, url) }

func getBy(client *http.Client, url string) (string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

// load is a number of clients that send requests until they are stopped.
type load struct {
	requests, failed atomic.Int64
	lastFailure      atomic.Value
	stop             func()
}

// startLoad starts clients that open a connection for each request.
func (env *testEnv) startLoad(servicePort int) *load {
	return env.startLoadFunc(4, func() error {
		_, err := env.get(servicePort)
		return err
	})
}

// startKeepAliveLoad starts clients that keep their connections.
func (env *testEnv) startKeepAliveLoad(servicePort int) *load {
	transport := &http.Transport{MaxIdleConnsPerHost: 2}
	env.t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Timeout: waitLimit, Transport: transport}
	return env.startLoadFunc(2, func() error {
		_, err := getBy(client, fmt.Sprintf("http://%s:%d/", env.ip, servicePort))
		return err
	})
}

// startLoadFunc starts clients that call ask, with a pause after each call.
func (env *testEnv) startLoadFunc(clients int, ask func() error) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.requests.Add(1)
				if err := ask(); err != nil {
					l.failed.Add(1)
					l.lastFailure.Store(err)
				}
				time.Sleep(5 * time.Millisecond) // bounds the load
			}
		})
	}
	l.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	env.t.Cleanup(l.stop)
	return l
}

// wantNoFailures stops the load and fails the test if a request failed.
func (l *load) wantNoFailures(t testing.TB) {
	t.Helper()
	l.stop()
	t.Logf("%d requests, %d failed", l.requests.Load(), l.failed.Load())
	if l.failed.Load() > 0 || l.requests.Load() == 0 {
		t.Errorf("%d of %d requests failed, the last with: %v", l.failed.Load(), l.requests.Load(), l.lastFailure.Load())
	}
}
