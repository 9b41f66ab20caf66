// Package haproxyapi_test keeps the house in order: see docs/architecture.md.
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

// rooms says which packages of ours a package may import. The first pattern that matches a package decides.
var rooms = []struct {
	pattern string
	may     []string
}{
	{"plugins/internal/wire", nil},
	{"plugins/sdk", []string{"plugins/internal/wire"}},
	{"plugins/sdk/sdktest", []string{"plugins/sdk", "plugins/host"}},
	{"internal/mounttest", nil},
	{"internal/replace", nil},
	{"internal/logdedup", nil},
	{"internal/fingerprint", nil},
	{"internal/filewatch", []string{"internal/fingerprint"}},
	{"internal/trust", nil},
	{"plugins/host", []string{"plugins/sdk", "plugins/internal/wire", "internal/logdedup", "internal/trust"}},
	{"sources/internal/*", []string{"plugins/sdk"}},
	{"sources/sidecar/sidecartest", []string{"plugins/sdk", "sources/internal/*"}},
	{"sources/*", []string{"plugins/sdk", "sources/internal/*", "internal/filewatch", "internal/logdedup"}},
	{"sinks/internal/*", []string{"plugins/sdk", "internal/logdedup", "internal/replace"}},
	{"sinks/haproxy/internal/listen", []string{"sinks/haproxy/internal/syntax"}},
	{"sinks/haproxy/internal/runtimeapi", []string{"sinks/haproxy/internal/syntax", "sinks/haproxy/internal/hostnames"}},
	{"sinks/haproxy/internal/*", nil},
	{"sinks/*", []string{"plugins/sdk", "sinks/internal/*", "sinks/*/internal/*", "internal/logdedup", "internal/fingerprint",
		"internal/replace"}},
	{"templates/internal/parsetree", nil},
	{"templates/internal/*", []string{"plugins/sdk", "templates/internal/parsetree"}},
	{"templates", []string{"plugins/sdk", "internal/filewatch", "templates/internal/*"}},
	{"engine", []string{"plugins/sdk", "internal/logdedup"}},
	{"engine/config", nil},
	{"engine/statestore", []string{"engine", "plugins/sdk", "internal/logdedup", "internal/trust"}},
	{"engine/server", []string{"engine", "plugins/sdk", "internal/logdedup"}},
	{"cmd/*", []string{"*", "*/*", "*/*/*", "*/*/*/*"}},
}

// keepers says which packages of others only one room may import.
var keepers = map[string]string{
	"github.com/Masterminds/sprig": "templates",
	"github.com/knadh/koanf":       "engine/config",
	"github.com/spf13/cobra":       "cmd/*",
	"google.golang.org/grpc":       "plugins/*",
	"github.com/hashicorp":         "plugins/*",
}

type listed struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestNobodyReachesOverTheWall(t *testing.T) {
	for _, p := range list(t) {
		name, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if !ours {
			continue // the root, which holds only this test
		}
		may, known := room(name)
		if !known {
			t.Errorf("%s has no place in the house: give it one here and in docs/architecture.md", name)
			continue
		}
		for _, imported := range p.Imports {
			if other, ours := strings.CutPrefix(imported, module+"/"); ours && !matchesAny(may, other) {
				t.Errorf("%s imports %s; it may import %q", name, other, may)
			}
			for theirs, keeper := range keepers {
				if strings.HasPrefix(imported, theirs) && !matchesAny([]string{keeper, keeper + "/*"}, name) {
					t.Errorf("%s imports %s, which only %s may", name, imported, keeper)
				}
			}
		}
	}
}

// TestAuthorsGetLittleBaggage keeps what a plugin's author has to download short.
func TestAuthorsGetLittleBaggage(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./plugins/sdk").Output()
	if err != nil {
		t.Fatal(err)
	}
	var sdk listed
	if err := json.Unmarshal(out, &sdk); err != nil {
		t.Fatal(err)
	}
	baggage := []string{
		module + "/plugins/internal/wire", "google.golang.org/grpc", "google.golang.org/protobuf",
		"github.com/hashicorp/go-plugin", "github.com/hashicorp/go-hclog", // which is go-plugin's own
	}
	for _, imported := range sdk.Imports {
		domain, _, _ := strings.Cut(imported, "/")
		if !strings.Contains(domain, ".") {
			continue // the standard library
		}
		if !slices.ContainsFunc(baggage, func(b string) bool { return imported == b || strings.HasPrefix(imported, b+"/") }) {
			t.Errorf("plugins/sdk imports %s", imported)
		}
	}
}

func room(name string) ([]string, bool) {
	for _, r := range rooms {
		if matchesAny([]string{r.pattern}, name) {
			return r.may, true
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
