package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

type recorder struct {
	*testing.T
	source    *source
	snapshots chan sdk.Snapshot
	log       logBuffer
}

// watchConsul calls Watch until the test ends, and checks that Watch returns then.
func watchConsul(t *testing.T, c *fakeConsul, cfg config) *recorder {
	t.Helper()
	a := &recorder{T: t, snapshots: make(chan sdk.Snapshot, 100)}
	cfg.Address = c.address
	if cfg.Timeout == 0 {
		cfg.Timeout = defaults().Timeout
	}
	opened, err := open(t.Context(), sdk.Env{Name: "catalogue", Log: slog.New(slog.NewTextHandler(&a.log, nil))}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.source = opened.(*source)
	a.source.wait = time.Second
	a.source.minRetry, a.source.maxRetry = 20*time.Millisecond, 50*time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- a.source.Watch(ctx, func(snap sdk.Snapshot) { a.snapshots <- snap }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Watch returned %v", err)
		}
		if t.Failed() {
			t.Logf("the source's log:\n%s", a.log.String())
		}
	})
	return a
}

// next waits for the next snapshot and expects these instances in it, as "name/node/id:port" with the status if it is not alive.
func (a *recorder) next(want ...string) sdk.Snapshot {
	a.Helper()
	select {
	case snap := <-a.snapshots:
		if diff := cmp.Diff(want, instancesOf(snap)); diff != "" {
			a.Fatalf("(-want +got)\n%s", diff)
		}
		return snap
	case <-time.After(time.Minute):
		a.Fatalf("nothing came; the source's log:\n%s", a.log.String())
		return sdk.Snapshot{}
	}
}

func instancesOf(snap sdk.Snapshot) []string {
	var all []string
	for _, service := range snap.Services {
		for _, i := range service.Instances {
			text := fmt.Sprintf("%s/%s/%s:%d", i.Name, i.Hostname, i.ID, i.Ports[0].Port)
			if !i.IsAlive() {
				text += " " + i.StatusString()
			}
			all = append(all, text)
		}
	}
	return all
}

// silence expects that no further snapshot was emitted.
func (a *recorder) silence() {
	a.Helper()
	select {
	case snap := <-a.snapshots:
		a.Errorf("unasked for came %q", instancesOf(snap))
	default:
	}
}

func (a *recorder) logs(line string) {
	a.Helper()
	eventually(a.T, "the log has "+line, func() bool { return strings.Contains(a.log.String(), line) })
}

func (a *recorder) problems() []string {
	a.Helper()
	health, err := a.source.Health(a.Context())
	if err != nil {
		a.Fatal(err)
	}
	return health.Problems
}

// fails waits until Health reports a single problem with that text.
func (a *recorder) fails(text string) {
	a.Helper()
	eventually(a.T, "one problem is "+text, func() bool {
		problems := a.problems()
		return len(problems) == 1 && strings.Contains(problems[0], text)
	})
}

func (a *recorder) recovers() {
	a.Helper()
	eventually(a.T, "no problem", func() bool { return len(a.problems()) == 0 })
	a.logs("Consul responds again")
}

// logBuffer is a log for concurrent use.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
