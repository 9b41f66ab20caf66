package main

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
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// story is what happens in the demo: a service whose instances come, drain and go.
type story struct {
	out     io.Writer
	pace    time.Duration
	port    int // where HAProxy offers the service
	sidecar *sidecartest.Sidecar
	running map[string]*sample // by name
	inForce func() uint64      // the generation that HAProxy runs
}

// sample is one instance of the service: a web server that says its name.
type sample struct {
	name, host string
	port       int
	server     *http.Server
}

func startSample(ctx context.Context, name, host string) (*sample, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the demo cannot start %s: %w", name, err)
	}
	s := &sample{name: name, host: host, port: listener.Addr().(*net.TCPAddr).Port}
	s.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "%s on %s\n", name, host)
		}),
	}
	go func() { _ = s.server.Serve(listener) }() // ends with close
	return s, nil
}

// tell goes through the story again and again until ctx is done, and says after each event who answers now.
func (s *story) tell(ctx context.Context) {
	fmt.Fprintf(s.out, "Try:  curl http://127.0.0.1:%d/     Ctrl-C ends.\n\n", s.port)
	if !s.pause(ctx) {
		return
	}
	s.say(ctx, "web-1 and web-2 are there")
	for {
		for _, event := range s.events() {
			if !s.pause(ctx) {
				return
			}
			before := s.inForce()
			if err := event.happen(ctx); err != nil {
				fmt.Fprintln(s.out, err)
				continue
			}
			s.settle(ctx, before)
			s.say(ctx, event.name)
		}
	}
}

type storyEvent struct {
	name   string
	happen func(context.Context) error
}

func (s *story) events() []storyEvent {
	return []storyEvent{
		{"web-3 comes", func(ctx context.Context) error { return s.come(ctx, 3) }},
		{"web-1 drains", func(context.Context) error { s.sidecar.Drain("node-1", "web-1"); return nil }},
		{"web-1 goes", func(context.Context) error { s.leave("web-1"); return nil }},
		{"web-2 turns unhealthy", func(context.Context) error {
			s.sidecar.SetStatus("node-2", "web-2", sdk.Unhealthy)
			return nil
		}},
		{"web-2 recovers", func(context.Context) error { s.sidecar.SetStatus("node-2", "web-2", sdk.Alive); return nil }},
		{"web-1 comes back, web-3 goes", func(ctx context.Context) error { s.leave("web-3"); return s.come(ctx, 1) }},
	}
}

func (s *story) come(ctx context.Context, number int) error {
	name, host := fmt.Sprintf("web-%d", number), fmt.Sprintf("node-%d", number)
	sample, err := startSample(ctx, name, host)
	if err != nil {
		return err
	}
	s.running[name] = sample
	s.sidecar.Add(sdk.Instance{
		ID: name, Name: "web", Image: "web:1", Hostname: host, ProxyMode: "http", Status: sdk.Alive,
		Ports: []sdk.Port{{Type: "tcp", Port: int64(sample.port), ServicePort: int64(s.port), IP: "127.0.0.1"}},
	})
	return nil
}

// leave tells the Sidecar first: a service that just stops would be a fault, not a departure.
func (s *story) leave(name string) {
	gone, ok := s.running[name]
	if !ok {
		return
	}
	delete(s.running, name)
	s.sidecar.Remove(gone.host, name)
	time.AfterFunc(s.pace, func() { _ = gone.server.Close() })
}

// settle waits until the change went through Sidecar and haproxy-api into HAProxy, but not for ever: say tells if it did.
func (s *story) settle(ctx context.Context, before uint64) {
	for range 100 {
		if s.inForce() != before || !sleep(ctx, s.pace/100) {
			return
		}
	}
}

func (s *story) pause(ctx context.Context) bool { return sleep(ctx, s.pace) }

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// say prints what happened and who answers ten requests through HAProxy.
func (s *story) say(ctx context.Context, what string) {
	fmt.Fprintf(s.out, "%s  %-30s → %s\n", time.Now().Format(time.TimeOnly), what, s.answers(ctx))
}

func (s *story) answers(ctx context.Context) string {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var names []string
	failed := 0
	for range 10 {
		name, err := ask(ctx, client, fmt.Sprintf("http://127.0.0.1:%d/", s.port))
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
	return answer
}

// ask returns the first word of the answer.
func ask(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("answered %s", resp.Status)
	}
	name, _, _ := strings.Cut(string(body), " ")
	return name, nil
}

func (s *story) close() {
	s.sidecar.Close()
	for _, sample := range s.running {
		_ = sample.server.Close()
	}
}
