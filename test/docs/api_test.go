package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestAPIReference compares the tables of docs/api.md with the OpenAPI description.
func TestAPIReference(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(repository, "docs/api.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	var description struct {
		Paths      map[string]any
		Components struct {
			Schemas struct {
				Reason struct {
					Properties struct{ Kind struct{ Enum []string } }
				} `yaml:"Reason"`
			}
		}
	}
	source, err := os.ReadFile(filepath.Join(repository, "engine/server/openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(source, &description); err != nil {
		t.Fatal(err)
	}
	templates := strings.NewReplacer("/NAME", "/{name}", "/N", "/{generation}")
	var named []string
	for _, match := range regexp.MustCompile("`(?:GET |POST )?(/api/v1/[^`?]*)`").FindAllStringSubmatch(page, -1) {
		path := templates.Replace(match[1])
		named = append(named, path)
		if description.Paths[path] == nil {
			t.Errorf("docs/api.md names %s, which is not described", path)
		}
	}
	for path := range description.Paths {
		if strings.HasPrefix(path, "/api/v1/") && !slices.Contains(named, path) {
			t.Errorf("docs/api.md lacks %s", path)
		}
	}
	kinds := description.Components.Schemas.Reason.Properties.Kind.Enum
	for _, kind := range kinds {
		if !strings.Contains(page, "\n| `"+kind+"` | ") {
			t.Errorf("docs/api.md lacks the reason %s", kind)
		}
	}
	if len(kinds) == 0 {
		t.Error("the description has no kinds of reasons")
	}
}
