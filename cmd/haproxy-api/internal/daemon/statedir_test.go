package daemon

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
)

// stateDirPluginEnv makes the test binary run serveStateDirPlugin instead of the tests.
const stateDirPluginEnv = "TEST_STATE_DIR_PLUGIN"

type stateDirConfig struct {
	File string `json:"file"`
}

type idleSink struct{}

func (idleSink) Apply(context.Context, sdk.Document) (sdk.Result, error) { return sdk.Result{}, nil }
func (idleSink) Health(context.Context) (sdk.Health, error)              { return sdk.Health{}, nil }

// serveStateDirPlugin serves a sink that writes the directory for its state to the file in its configuration.
func serveStateDirPlugin() {
	serve.Sink(sdk.Info{Name: "probe", Version: "1"}, stateDirConfig{},
		func(_ context.Context, env sdk.Env, cfg stateDirConfig) (sdk.Sink, error) {
			return idleSink{}, os.WriteFile(cfg.File, []byte(env.StateDir), 0o600)
		})
}

// Sinks keep their state below the directory that the daemon locked at its start. A check has none, since it writes nothing.
func TestStateDir_OfPlugins(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "state_dir")
	withStateDir := func(dir string) *config.Config {
		return &config.Config{
			API:     config.API{StateDir: dir},
			Sinks:   map[string]config.Component{"edge": {Type: "probe", Block: map[string]any{"file": file}}},
			Plugins: map[string]config.Plugin{"probe": {Path: self, Env: map[string]string{stateDirPluginEnv: "1"}}},
		}
	}
	want := func(when, want string) {
		t.Helper()
		got, err := os.ReadFile(file)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v; want %q", when, got, err, want)
		}
	}
	first, second := t.TempDir(), t.TempDir()
	d, err := New(t.Context(), Options{
		Config: withStateDir(first), Log: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.running.close()
		_ = d.store.Close()
	})
	want("start", filepath.Join(first, "plugins", "sink-edge"))

	for _, dir := range []string{second, ""} {
		sinks, err := d.newBuilder(withStateDir(dir)).openSinks(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		closeAll(sinks)
		want("reload", filepath.Join(first, "plugins", "sink-edge"))
	}

	checker := NewChecker(withStateDir(second), func(string) {}, func(string) {})
	defer checker.Close()
	if faults := checker.CheckComponents(t.Context()); len(faults) > 0 {
		t.Fatal(faults)
	}
	want("check", "")
}
