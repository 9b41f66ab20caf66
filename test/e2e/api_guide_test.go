package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestGuide_API runs the commands in docs/api.md, and compares its tables with the OpenAPI description.
func TestGuide_API(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := string(content)
	env := newTestEnv(t)
	env.start()
	env.startInstance("web", "1", 8080)
	env.waitAnswer(8080, "1")
	run := func(script string) string {
		t.Helper()
		script = strings.ReplaceAll(script, "localhost:7778", env.apiAddress)
		out, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
		return string(out)
	}
	ran := 0
	for _, block := range fenced(guide) {
		if block.info != "sh" {
			continue
		}
		ran++
		if out := run(block.text); out == "" {
			t.Errorf("%s printed nothing", block.text)
		}
	}
	if ran < 6 {
		t.Errorf("ran %d blocks of the guide", ran)
	}
	var description struct {
		Paths      map[string]any
		Components struct {
			Schemas struct {
				Reason struct {
					Properties struct{ Kind struct{ Enum []string } }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(run("curl -fsS http://localhost:7778/api/v1/openapi.json")), &description); err != nil {
		t.Fatal(err)
	}
	templates := strings.NewReplacer("/NAME", "/{name}", "/N", "/{generation}")
	var named []string
	for _, match := range regexp.MustCompile("`(?:GET |POST )?(/api/v1/[^`?]*)`").FindAllStringSubmatch(guide, -1) {
		path := templates.Replace(match[1])
		named = append(named, path)
		if description.Paths[path] == nil {
			t.Errorf("the guide names %s, which is not described", path)
		}
	}
	for path := range description.Paths {
		if strings.HasPrefix(path, "/api/v1/") && !slices.Contains(named, path) {
			t.Errorf("the guide lacks %s", path)
		}
	}
	kinds := description.Components.Schemas.Reason.Properties.Kind.Enum
	for _, kind := range kinds {
		if !strings.Contains(guide, "\n| `"+kind+"` | ") {
			t.Errorf("the guide lacks the reason %s", kind)
		}
	}
	if len(kinds) == 0 {
		t.Error("the description has no kinds of reasons")
	}
}
