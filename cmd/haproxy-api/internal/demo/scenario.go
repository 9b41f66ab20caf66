package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A scenario is what happens in the demo: instances of a service are added, drained and removed.
type scenario struct {
	out        io.Writer
	pace       time.Duration
	port       int // at which HAProxy offers the service
	sidecar    *fakeSidecar
	running    map[string]*http.Server // the instances, by name
	generation func() uint64           // returns the generation of the applied document
}

// newScenario starts a Sidecar, which pushes to listener, and the first instances. The scenario must be closed.
func newScenario(ctx context.Context, out io.Writer, opts Options, listener string) (*scenario, error) {
	port, err := freePort(ctx, opts.Port)
	if err != nil {
		return nil, err
	}
	sidecar, err := startSidecar(listener)
	if err != nil {
		return nil, err
	}
	s := &scenario{out: out, pace: opts.Pace, port: port, sidecar: sidecar, running: map[string]*http.Server{}}
	for _, number := range []int{1, 2} {
		if err := s.startInstance(ctx, number); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// freePort returns wanted if nobody listens on it, and otherwise a free port.
func freePort(ctx context.Context, wanted int) (int, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", wanted))
	if err != nil {
		if listener, err = config.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return 0, fmt.Errorf("the demo finds no free port on 127.0.0.1: %w", err)
		}
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (s *scenario) close() {
	s.sidecar.close()
	for _, server := range s.running {
		_ = server.Close()
	}
}

// An event is one change to the service.
type event struct {
	name string
	do   func(context.Context) error
}

func (s *scenario) events() []event {
	setStatus := func(name string, status sdk.Status) func(context.Context) error {
		return func(context.Context) error { s.sidecar.setStatus(name, status); return nil }
	}
	return []event{
		{"web-3 added", func(ctx context.Context) error { return s.startInstance(ctx, 3) }},
		{"web-1 draining", setStatus("web-1", sdk.Draining)},
		{"web-1 removed", func(context.Context) error { s.removeInstance("web-1"); return nil }},
		{"web-2 unhealthy", setStatus("web-2", sdk.Unhealthy)},
		{"web-2 alive again", setStatus("web-2", sdk.Alive)},
		{"web-1 added, web-3 removed", func(ctx context.Context) error {
			s.removeInstance("web-3")
			return s.startInstance(ctx, 1)
		}},
	}
}

// run repeats the events until ctx is done, and prints after each one which instances answer.
func (s *scenario) run(ctx context.Context) {
	fmt.Fprintf(s.out, "Try:  curl http://127.0.0.1:%d/     Ctrl-C ends.\n\n", s.port)
	if !sleep(ctx, s.pace) {
		return
	}
	s.printAnswers(ctx, "web-1 and web-2 started")
	for {
		for _, event := range s.events() {
			if !sleep(ctx, s.pace) {
				return
			}
			before := s.generation()
			if err := event.do(ctx); err != nil {
				fmt.Fprintln(s.out, err)
				continue
			}
			s.waitForApply(ctx, before)
			s.printAnswers(ctx, event.name)
		}
	}
}

// startInstance starts a web server that answers with its name, and adds it to the catalogue.
func (s *scenario) startInstance(ctx context.Context, number int) error {
	name, host := fmt.Sprintf("web-%d", number), fmt.Sprintf("node-%d", number)
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("the demo cannot start %s: %w", name, err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "%s on %s\n", name, host)
		}),
	}
	go func() { _ = server.Serve(listener) }() // until the server is closed
	s.running[name] = server
	port := int64(listener.Addr().(*net.TCPAddr).Port)
	s.sidecar.add(sdk.Instance{
		ID: name, Name: "web", Image: "web:1", Hostname: host, ProxyMode: "http", Status: sdk.Alive,
		Ports: []sdk.Port{{Type: "tcp", Port: port, ServicePort: int64(s.port), IP: "127.0.0.1"}},
	})
	return nil
}

// removeInstance makes an instance a tombstone and stops its server later, so that no request fails.
func (s *scenario) removeInstance(name string) {
	server, ok := s.running[name]
	if !ok {
		return
	}
	delete(s.running, name)
	s.sidecar.setStatus(name, sdk.Tombstone)
	time.AfterFunc(s.pace, func() { _ = server.Close() })
}

// waitForApply waits until a document is applied after the generation before, at most for the time of the pace.
func (s *scenario) waitForApply(ctx context.Context, before uint64) {
	for range 100 {
		if s.generation() != before || !sleep(ctx, s.pace/100) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// printAnswers prints what happened and which instances answer ten requests through HAProxy.
func (s *scenario) printAnswers(ctx context.Context, what string) {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var names []string
	failed := 0
	for range 10 {
		name, err := get(ctx, client, fmt.Sprintf("http://127.0.0.1:%d/", s.port))
		if err != nil {
			failed++
		} else if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	answer := "answered by " + strings.Join(names, ", ")
	if failed > 0 {
		answer += fmt.Sprintf(" (%d of 10 requests failed)", failed)
	}
	fmt.Fprintf(s.out, "%s  %-30s → %s\n", time.Now().Format(time.TimeOnly), what, answer)
}

// get returns the first word of the response.
func get(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("answered %s", resp.Status)
	}
	var name string
	_, err = fmt.Fscan(io.LimitReader(resp.Body, 1<<10), &name)
	return name, err
}
