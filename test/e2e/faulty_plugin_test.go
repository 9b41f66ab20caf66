package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

// faultyPluginConfig returns configuration that replaces the plugin of the HAProxy sink by faulty-plugin, whose faults are files
// in the directory of the test environment.
func (env *testEnv) faultyPluginConfig() string {
	env.t.Helper()
	path := env.path("faulty-plugin.sh")
	writeProgram(env.t, path, "#!/bin/sh\nexec faulty-plugin plugin haproxy\n")
	return fmt.Sprintf("[plugins.haproxy]\npath = %q\nenv = { FAULT_DIR = %q }\n", path, env.directory)
}

// faultDir is the directory whose files name the faults of faulty-plugin.
type faultDir string

// faultyPlugin is the main function of faulty-plugin: the HAProxy sink with faults.
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

// waitWhileHanging returns when the fault is over, or ends the process when the daemon has ended.
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

// unresponsivePlugin is the main function of unresponsive-plugin, which ignores every call and cancellation.
func unresponsivePlugin() {
	type config struct{}
	info := sdk.Info{Name: "unresponsive"}
	if os.Getenv("UNRESPONSIVE") == "source" {
		serve.Source(info, config{}, func(context.Context, sdk.Env, config) (sdk.Source, error) { return unresponsive{}, nil })
	} else {
		serve.Sink(info, config{}, func(context.Context, sdk.Env, config) (sdk.Sink, error) { return unresponsive{}, nil })
	}
	select {}
}

type unresponsive struct{}

func (unresponsive) Watch(_ context.Context, emit func(sdk.Snapshot)) error {
	emit(sdk.Snapshot{})
	select {}
}

func (unresponsive) Apply(context.Context, sdk.Document) (sdk.Result, error) { select {} }
func (unresponsive) Health(context.Context) (sdk.Health, error)              { select {} }
func (unresponsive) Stop(context.Context) error                              { select {} }
