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

func init() { maps.Copy(chaosFaults, pluginFaults) }

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
	"the plugin cannot start at the moment": func(c *chaos) { c.createFaultFile("down", true) },
}

func (c *chaos) hang(call string, anew bool) { c.createFaultFile("hang-"+call, anew) }

func (c *chaos) createFaultFile(name string, anew bool) {
	if _, err := os.Stat(c.env.path(name)); err == nil {
		return
	}
	c.env.write(name, "")
	if anew && c.rejection == "" { // a plugin that is started anew knows nothing of it, and would try it once again
		c.signal(c.env.pluginPID(), syscall.SIGKILL)
	}
	c.addActiveFault(func() { _ = os.Remove(c.env.path(name)) })
}

// troubledPlugin makes the plugin of the HAProxy sink one that has the trouble of the files in the site's folder, and returns the
// tables of the configuration for that.
func (env *testEnv) faultyPluginConfig() string {
	env.t.Helper()
	path := env.path("faulty-plugin.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec faulty-plugin plugin haproxy\n"), 0o755); err != nil {
		env.t.Fatal(err)
	}
	return fmt.Sprintf("[plugins.haproxy]\npath = %q\nenv = { FAULT_DIR = %q }\n", path, env.folder)
}

// trouble is the folder that says what is wrong with a troubled plugin.
type faultDir string

// troubled is the main function of such a plugin.
func faultyPlugin() {
	d := faultDir(os.Getenv("FAULT_DIR"))
	d.waitWhileHanging("start")
	serve.Sink(sdk.Info{Name: "haproxy", Version: "1"}, haproxy.Defaults(),
		func(_ context.Context, env sdk.Env, cfg haproxy.Config) (sdk.Sink, error) {
			d.waitWhileHanging("Configure")
			if d.has("down") {
				return nil, fmt.Errorf("cannot reach the backend: %w", syscall.ECONNREFUSED)
			}
			sink, err := haproxy.New(env, cfg)
			return &faultySink{sink, d}, err
		})
}

func (d faultDir) has(name string) bool {
	_, err := os.Stat(filepath.Join(string(d), name))
	return err == nil
}

// hang returns when the fault is over, or ends the process when the daemon is gone.
func (d faultDir) waitWhileHanging(call string) {
	for daemon := os.Getppid(); d.has("hang-" + call); time.Sleep(10 * time.Millisecond) {
		if os.Getppid() != daemon {
			os.Exit(1)
		}
	}
}

type faultySink struct {
	*haproxy.Sink
	faults faultDir
}

func (s *faultySink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	s.faults.waitWhileHanging("Apply")
	return s.Sink.Apply(ctx, doc)
}

func (s *faultySink) Check(ctx context.Context, doc sdk.Document) error {
	s.faults.waitWhileHanging("Check")
	return s.Sink.Check(ctx, doc)
}

func (s *faultySink) Claim(ctx context.Context) error {
	s.faults.waitWhileHanging("Claim")
	return s.Sink.Claim(ctx)
}

func (s *faultySink) Health(ctx context.Context) (sdk.Health, error) {
	s.faults.waitWhileHanging("Health")
	return s.Sink.Health(ctx)
}

func (s *faultySink) Stop(ctx context.Context) error {
	s.faults.waitWhileHanging("Stop")
	return s.Sink.Stop(ctx)
}
