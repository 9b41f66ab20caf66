package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

func init() { maps.Copy(faults, pluginFaults) }

// pluginFaults are plugins that hang in each call, whatever their context says, until the fault is over. Those of the start hang
// the next time that the plugin is started, which is at once.
var pluginFaults = map[string]func(c *chaos){
	"the plugin hangs before its handshake": func(c *chaos) { c.hang("start", true) },
	"the plugin hangs in Configure":         func(c *chaos) { c.hang("Configure", true) },
	"the plugin hangs in Claim":             func(c *chaos) { c.hang("Claim", true) },
	"the plugin hangs in Health":            func(c *chaos) { c.hang("Health", false) },
	"the plugin hangs in Apply":             func(c *chaos) { c.hang("Apply", false) },
	"the plugin hangs in Check":             func(c *chaos) { c.hang("Check", false) },
	"the plugin hangs in Stop":              func(c *chaos) { c.hang("Stop", false) },
	"the plugin cannot start at the moment": func(c *chaos) { c.mark("down", true) },
}

func (c *chaos) hang(call string, anew bool) { c.mark("hang-"+call, anew) }

func (c *chaos) mark(name string, anew bool) {
	if _, err := os.Stat(c.s.path(name)); err == nil {
		return
	}
	c.s.write(name, "")
	if anew && c.failing == "" { // a plugin that is started anew knows nothing of it, and would try it once again
		c.signal(c.s.pluginPID(), syscall.SIGKILL)
	}
	c.lasts(func() { _ = os.Remove(c.s.path(name)) })
}

// troubledPlugin makes the plugin of the HAProxy sink one that has the trouble of the files in the site's folder, and returns the
// tables of the configuration for that.
func (s *site) troubledPlugin() string {
	s.t.Helper()
	path := s.path("troubled")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec troubled-plugin plugin haproxy\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("[plugins.haproxy]\npath = %q\nenv = { TROUBLE = %q }\n", path, s.folder)
}

// trouble is the folder that says what is wrong with a troubled plugin.
type trouble string

// troubled is the main function of such a plugin.
func troubled() {
	from := trouble(os.Getenv("TROUBLE"))
	from.hang("start")
	serve.Sink(sdk.Info{Name: "haproxy", Version: "1"}, haproxy.Defaults(),
		func(_ context.Context, env sdk.Env, cfg haproxy.Config) (sdk.Sink, error) {
			from.hang("Configure")
			if from.has("down") {
				return nil, fmt.Errorf("cannot reach the backend: %w", syscall.ECONNREFUSED)
			}
			sink, err := haproxy.New(env, cfg)
			return &troubledSink{sink, from}, err
		})
}

func (from trouble) has(name string) bool {
	_, err := os.Stat(filepath.Join(string(from), name))
	return err == nil
}

// hang returns when the fault is over, or ends the process when the daemon is gone.
func (from trouble) hang(call string) {
	for daemon := os.Getppid(); from.has("hang-" + call); time.Sleep(10 * time.Millisecond) {
		if os.Getppid() != daemon {
			os.Exit(1)
		}
	}
}

type troubledSink struct {
	*haproxy.Sink
	from trouble
}

func (s *troubledSink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	s.from.hang("Apply")
	return s.Sink.Apply(ctx, doc)
}

func (s *troubledSink) Check(ctx context.Context, doc sdk.Document) error {
	s.from.hang("Check")
	return s.Sink.Check(ctx, doc)
}

func (s *troubledSink) Claim(ctx context.Context) error {
	s.from.hang("Claim")
	return s.Sink.Claim(ctx)
}

func (s *troubledSink) Health(ctx context.Context) (sdk.Health, error) {
	s.from.hang("Health")
	return s.Sink.Health(ctx)
}

func (s *troubledSink) Stop(ctx context.Context) error {
	s.from.hang("Stop")
	return s.Sink.Stop(ctx)
}
