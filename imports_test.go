// Package haproxyapi_test checks which packages of the module import which others, as described in docs/architecture.md.
package haproxyapi_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/haproxy-api/haproxy-api"

// importRules lists which packages of this module a package may import. The first rule whose pattern matches a package applies.
var importRules = []struct {
	pattern string
	allowed []string
}{
	{"test/*", nil},
	{"plugins/sdk", nil},
	{"plugins/internal/wire", []string{"plugins/sdk"}},
	{"plugins/sdk/serve", []string{"plugins/sdk", "plugins/internal/wire"}},
	{"internal/snapshots", []string{"plugins/sdk"}},
	{"plugins/conformance", []string{"plugins/sdk", "plugins/host", "internal/snapshots"}},
	{"plugins/sdk/sdktest", []string{"plugins/sdk", "plugins/conformance"}},
	{"internal/mounttest", nil},
	{"internal/debiantest", nil},
	{"internal/otlptest", nil},
	{"internal/replace", nil},
	{"internal/logdedup", nil},
	{"internal/fingerprint", nil},
	{"internal/filelock", nil},
	{"internal/filewatch", []string{"internal/fingerprint"}},
	{"internal/notices", nil},
	{"internal/suggest", nil},
	{"internal/trust", nil},
	{"plugins/host", []string{"plugins/sdk", "plugins/internal/wire", "internal/logdedup", "internal/trust"}},
	{"sources/internal/*", []string{"plugins/sdk", "internal/snapshots"}},
	{"sources/sidecar/sidecartest", []string{"plugins/sdk", "sources/internal/*"}},
	{"sources/*", []string{"plugins/sdk", "sources/internal/*", "internal/filewatch", "internal/logdedup", "internal/snapshots"}},
	{"sinks/internal/*", []string{"plugins/sdk", "internal/filelock", "internal/logdedup", "internal/replace"}},
	{"sinks/haproxy/internal/listen", []string{"sinks/haproxy/internal/syntax"}},
	{"sinks/haproxy/internal/runtimeapi", []string{"plugins/sdk", "sinks/haproxy/internal/syntax",
		"sinks/haproxy/internal/hostnames"}},
	{"sinks/haproxy/internal/messages", []string{"plugins/sdk", "sinks/haproxy/internal/syntax", "sinks/internal/*"}},
	{"sinks/haproxy/internal/procinfo", []string{"sinks/haproxy/internal/listen"}},
	{"sinks/haproxy/internal/process", []string{"plugins/sdk", "internal/logdedup", "internal/replace",
		"sinks/haproxy/internal/*", "sinks/internal/*"}},
	{"sinks/haproxy/internal/*", nil},
	{"sinks/*", []string{"plugins/sdk", "sinks/internal/*", "sinks/*/internal/*", "internal/logdedup", "internal/fingerprint",
		"internal/replace"}},
	{"templates/internal/parsetree", nil},
	{"templates/internal/*", []string{"plugins/sdk", "internal/suggest", "templates/internal/parsetree"}},
	{"templates", []string{"plugins/sdk", "internal/filewatch", "internal/snapshots", "templates/internal/*"}},
	{"engine/exclude", []string{"plugins/sdk", "internal/snapshots"}},
	{"engine/history", []string{"plugins/sdk", "internal/logdedup", "internal/snapshots"}},
	{"engine", []string{"engine/exclude", "engine/history", "plugins/sdk", "internal/logdedup", "internal/snapshots"}},
	{"engine/config", []string{"internal/suggest"}},
	{"engine/statestore", []string{"engine", "engine/exclude", "engine/history", "plugins/sdk", "internal/filelock",
		"internal/logdedup", "internal/trust"}},
	{"engine/server/ui", nil},
	{"engine/server", []string{"engine", "engine/exclude", "engine/history", "engine/server/ui", "plugins/sdk",
		"internal/fingerprint", "internal/logdedup"}},
	{"cmd/haproxy-api/internal/terminal", nil},
	{"cmd/haproxy-api/internal/scaffold", nil},
	{"cmd/haproxy-api/internal/migrate", []string{"engine", "engine/config", "sinks/haproxy", "templates",
		"cmd/haproxy-api/internal/daemon", "cmd/haproxy-api/internal/states"}},
	{"cmd/haproxy-api/internal/apiclient", []string{"plugins/sdk", "engine/config", "engine/history", "engine/server",
		"sources/sidecar"}},
	{"cmd/haproxy-api/internal/display", []string{"plugins/sdk", "engine", "engine/history", "engine/server",
		"cmd/haproxy-api/internal/logging", "cmd/haproxy-api/internal/terminal"}},
	{"cmd/haproxy-api/internal/states", []string{"plugins/sdk", "engine", "engine/config", "sources/*"}},
	{"cmd/haproxy-api/internal/templatetest", []string{"plugins/sdk", "engine", "engine/config", "templates", "internal/replace",
		"cmd/haproxy-api/internal/states", "cmd/haproxy-api/internal/terminal"}},
	{"cmd/haproxy-api/internal/logging", []string{"engine", "internal/logdedup"}},
	{"cmd/haproxy-api/internal/tracing", []string{"plugins/sdk", "engine", "engine/config", "engine/history",
		"internal/logdedup"}},
	{"cmd/haproxy-api/internal/systemd", []string{"engine", "engine/server", "internal/logdedup"}},
	{"cmd/haproxy-api/internal/daemon", []string{"plugins/sdk", "plugins/host", "engine", "engine/*", "sources/*", "sinks/*",
		"templates", "internal/filewatch", "cmd/haproxy-api/internal/apiclient", "cmd/haproxy-api/internal/logging",
		"cmd/haproxy-api/internal/states", "cmd/haproxy-api/internal/systemd", "cmd/haproxy-api/internal/tracing"}},
	{"cmd/haproxy-api/internal/demo", []string{"plugins/sdk", "engine/config", "engine/server", "sources/sidecar",
		"cmd/haproxy-api/internal/daemon"}},
	{"cmd/haproxy-api", []string{"*", "*/*", "*/*/*", "*/*/*/*"}},
}

// exclusiveImports lists the dependencies that only the packages of one pattern may import.
var exclusiveImports = map[string]string{
	"github.com/Masterminds/sprig":    "templates",
	"github.com/charmbracelet/x/ansi": "cmd/haproxy-api/internal/terminal",
	"github.com/agnivade/levenshtein": "internal/suggest",
	"github.com/fsnotify/fsnotify":    "internal/filewatch",
	"github.com/knadh/koanf":          "engine/config",
	"github.com/spf13/cobra":          "cmd/haproxy-api",
	"github.com/coreos/go-systemd":    "cmd/haproxy-api/internal/systemd",
	"google.golang.org/grpc":          "plugins/*",
	"github.com/hashicorp":            "plugins/*",
	"go.opentelemetry.io/otel":        "cmd/haproxy-api/internal/tracing",
	"go.opentelemetry.io/proto":       "internal/otlptest",
	"github.com/prometheus":           "engine/server",
}

// testPackages are the packages with code for tests.
var testPackages = []string{"plugins/sdk/sdktest", "sources/sidecar/sidecartest", "internal/mounttest", "internal/otlptest"}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// listPackages returns the packages that go list prints for the arguments.
func listPackages(t *testing.T, args ...string) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportRules(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		name, found := strings.CutPrefix(p.ImportPath, module+"/")
		if !found {
			continue // the root package has only this test
		}
		allowed, known := allowedImports(name)
		if !known {
			t.Errorf("%s matches no import rule: add one here and in docs/architecture.md", name)
			continue
		}
		for _, imported := range p.Imports {
			if other, ours := strings.CutPrefix(imported, module+"/"); ours && !matchesAny(allowed, other) {
				t.Errorf("%s imports %s; it may import %q", name, other, allowed)
			}
			for dependency, pattern := range exclusiveImports {
				if strings.HasPrefix(imported, dependency) && !matchesAny([]string{pattern, pattern + "/*"}, name) {
					t.Errorf("%s imports %s, which only %s may import", name, imported, pattern)
				}
			}
		}
	}
}

// TestSDKImportsOnlyTheStandardLibrary keeps the contract free of the transport.
func TestSDKImportsOnlyTheStandardLibrary(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		if p.ImportPath != module+"/plugins/sdk" {
			continue
		}
		for _, imported := range p.Imports {
			if domain, _, _ := strings.Cut(imported, "/"); strings.Contains(domain, ".") {
				t.Errorf("plugins/sdk imports %s", imported)
			}
		}
		return
	}
	t.Error("there is no package plugins/sdk")
}

// TestBinaryLinksNoTestCode keeps packages for tests out of the binary. Only go-plugin itself imports testing.
func TestBinaryLinksNoTestCode(t *testing.T) {
	for _, p := range listPackages(t, "-deps", "./cmd/haproxy-api") {
		name, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if ours && slices.Contains(p.Imports, "testing") {
			t.Errorf("the binary links %s, which imports testing", name)
		}
		if matchesAny(testPackages, name) {
			t.Errorf("the binary links %s", name)
		}
	}
}

// allowedImports returns which packages of the module the named package may import, and false if no rule matches it.
func allowedImports(name string) ([]string, bool) {
	for _, r := range importRules {
		if matchesAny([]string{r.pattern}, name) {
			return r.allowed, true
		}
	}
	return nil, false
}

func matchesAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}
