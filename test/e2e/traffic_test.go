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

// get asks HAProxy on the service's port, over a new connection.
func (s *site) get(servicePort int) (string, error) {
	return get(fmt.Sprintf("http://%s:%d/", s.ip, servicePort))
}

func get(url string) (string, error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	return getBy(client, url)
}

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

// load asks HAProxy on a port again and again, each time over a new connection, until it is stopped.
type load struct {
	asked, failed atomic.Int64
	lastFailure   atomic.Value
	stop          func()
}

func (s *site) load(servicePort int) *load {
	return s.loadBy(4, func() error {
		_, err := s.get(servicePort)
		return err
	})
}

// keptLoad is the same over connections that are kept.
func (s *site) keptLoad(servicePort int) *load {
	transport := &http.Transport{MaxIdleConnsPerHost: 2}
	s.t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Timeout: patience, Transport: transport}
	return s.loadBy(2, func() error {
		_, err := getBy(client, fmt.Sprintf("http://%s:%d/", s.ip, servicePort))
		return err
	})
}

// loadBy asks from several goroutines.
func (s *site) loadBy(clients int, ask func() error) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.asked.Add(1)
				if err := ask(); err != nil {
					l.failed.Add(1)
					l.lastFailure.Store(err)
				}
				time.Sleep(5 * time.Millisecond) // so much load and no more
			}
		})
	}
	l.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	s.t.Cleanup(l.stop)
	return l
}

// unharmed stops the load and fails the test if a request failed.
func (l *load) unharmed(t testing.TB) {
	t.Helper()
	l.stop()
	t.Logf("%d requests, %d failed", l.asked.Load(), l.failed.Load())
	if l.failed.Load() > 0 || l.asked.Load() == 0 {
		t.Errorf("%d of %d requests failed, the last with: %v", l.failed.Load(), l.asked.Load(), l.lastFailure.Load())
	}
}
