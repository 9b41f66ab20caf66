package templates

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is what the function now returns in tests.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func atNoon() time.Time { return noon }

// readState decodes a recorded Sidecar state.
func readState(t testing.TB, path string) sdk.Snapshot {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Servers map[string]struct {
			Services map[string]sdk.Instance
		}
		ClusterName string
		LastChanged time.Time
	}
	if err := json.Unmarshal(data, &state); err != nil {
		t.Fatal(err)
	}
	var all []sdk.Instance
	for _, host := range state.Servers {
		for _, inst := range host.Services {
			all = append(all, inst)
		}
	}
	return sdk.Snapshot{
		Source: "sidecar", Cluster: state.ClusterName, Changed: state.LastChanged, Services: sdk.GroupByName(all),
	}
}

// states yields the recorded states by name.
func states(t testing.TB) map[string]sdk.Snapshot {
	t.Helper()
	paths, err := filepath.Glob("testdata/states/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recorded states: %v", err)
	}
	all := map[string]sdk.Snapshot{}
	for _, path := range paths {
		name := filepath.Base(path)
		all[name[:len(name)-len(".json")]] = readState(t, path)
	}
	return all
}

// instance returns a living instance of a service, with one TCP port for each of the service ports.
func instance(service, hostname, id string, servicePorts ...int64) sdk.Instance {
	inst := sdk.Instance{
		ID: id, Name: service, Hostname: hostname, Image: service + ":1", ProxyMode: "http", Created: noon.Add(-time.Hour),
	}
	for i, sp := range servicePorts {
		port := sdk.Port{Type: "tcp", Port: 30000 + int64(i), ServicePort: sp, IP: "10.0.0.1"}
		inst.Ports = append(inst.Ports, port)
	}
	return inst
}

func snapshot(instances ...sdk.Instance) sdk.Snapshot {
	return sdk.Snapshot{Source: "sidecar", Cluster: "demo", Services: sdk.GroupByName(instances)}
}

// write puts files into a new directory and returns it.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		save(t, filepath.Join(dir, name), text)
	}
	return dir
}

func save(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// setOf returns a set with that text as its main file.
func setOf(t testing.TB, text string) *Set {
	t.Helper()
	return New(Config{Path: filepath.Join(write(t, map[string]string{"main.cfg": text}), "main.cfg"), Now: atNoon})
}

func mustLoad(t testing.TB, s *Set) *Template {
	t.Helper()
	tmpl, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	tmpl.bounds.time = never // tests must not depend on the speed of the machine
	return tmpl
}

func mustRender(t testing.TB, tmpl *Template, snap sdk.Snapshot) (string, []string) {
	t.Helper()
	files, notes, err := tmpl.Render(t.Context(), snap)
	if err != nil {
		t.Fatal(err)
	}
	out := string(files[0].Content)
	if !strings.HasSuffix(tmpl.sources[0].text, "\n") { // the renderer added the newline
		out = strings.TrimSuffix(out, "\n")
	}
	return out, notes
}

// rendered returns what text renders for snap.
func rendered(t testing.TB, text string, snap sdk.Snapshot) string {
	t.Helper()
	return renderedBy(t, setOf(t, text), snap)
}

func renderedBy(t testing.TB, set *Set, snap sdk.Snapshot) string {
	t.Helper()
	out, _ := mustRender(t, mustLoad(t, set), snap)
	return out
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		save(t, path, got)
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", path, diff)
	}
}

// haproxyProgram returns the HAProxy in TEST_HAPROXY, or else that of the system.
func haproxyProgram() string {
	if program := os.Getenv("TEST_HAPROXY"); program != "" {
		return program
	}
	return "haproxy"
}

// checkHAProxy checks a configuration and returns HAProxy's warnings.
func checkHAProxy(t *testing.T, config string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	save(t, path, config)
	out, err := exec.CommandContext(t.Context(), haproxyProgram(), "-c", "-f", path).CombinedOutput()
	if err != nil {
		t.Errorf("haproxy -c: %v\n%s\n%s", err, out, numbered(config))
	}
	return strings.TrimSuffix(string(out), "Configuration file is valid\n")
}

func numbered(text string) string {
	var out strings.Builder
	for i, line := range strings.Split(text, "\n") {
		fmt.Fprintf(&out, "%4d %s\n", i+1, line)
	}
	return out.String()
}
