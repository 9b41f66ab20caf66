package docs_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

const configurationReference = "../../docs/configuration.md"

// TestConfigurationReference checks that docs/configuration.md is what the schema and the component types say. -update writes it.
func TestConfigurationReference(t *testing.T) {
	t.Parallel()
	want, err := renderReference()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(configurationReference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configurationReference)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/configuration.md is out of date; run go generate ./engine/config (-want +got)\n%s", diff)
	}
}

// TestConfigurationReference_HasEveryBuiltInType compares the types in the document with those that haproxy-api has.
func TestConfigurationReference_HasEveryBuiltInType(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs, "haproxy-api"), "plugin", "list", "--output", "json")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var listed []struct{ Kind, Type, Path string }
	if err := json.Unmarshal(out, &listed); err != nil {
		t.Fatal(err)
	}
	want, got := map[string]bool{}, map[string]bool{}
	for _, l := range listed {
		if l.Path == "built in" {
			want[l.Kind+"s "+l.Type] = true
		}
	}
	for _, c := range builtIn {
		got[strings.ToLower(c.Kind)+" "+c.Type] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the built-in types (-haproxy-api +document)\n%s", diff)
	}
}

// TestConfigurationReference_NamesEveryPath checks that the section about relative paths names the keys that are paths.
func TestConfigurationReference_NamesEveryPath(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(configurationReference)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(content), "\n## Relative paths\n")
	section, _, _ = strings.Cut(section, "\n## ")
	paths := 0
	for _, table := range config.Reference() {
		for _, key := range table.Keys {
			if !key.IsPath {
				continue
			}
			paths++
			if !strings.Contains(section, "`"+key.Name+"`") {
				t.Errorf("the section about relative paths does not name %s", key.Path)
			}
		}
	}
	if paths < 10 {
		t.Errorf("%d keys are paths", paths)
	}
}

// TestConfigurationReference_DefaultsOfTypes decodes the defaults in the tables of the built-in types. The result has to be the
// configuration that a type has by default, which is valid unless the document says that a key is required.
func TestConfigurationReference_DefaultsOfTypes(t *testing.T) {
	t.Parallel()
	for _, c := range builtIn {
		keys, err := c.Keys()
		if err != nil {
			t.Fatal(err)
		}
		block, required := sdk.Block{}, false
		for _, key := range keys {
			required = required || strings.HasSuffix(key.Description, "required.")
			if key.Default == "" {
				continue
			}
			var value any
			if err := json.Unmarshal([]byte(key.Default), &value); err != nil {
				t.Fatalf("%s: %v", key.Name, err)
			}
			block[key.Name] = value
		}
		decoded := reflect.New(reflect.TypeOf(c.defaults))
		// Decode also calls Validate.
		if err := sdk.Decode(block, decoded.Interface()); (err != nil) != required {
			t.Errorf("%s %s: required %v, %v", c.Kind, c.Type, required, err)
		}
		if diff := cmp.Diff(c.defaults, decoded.Elem().Interface()); diff != "" {
			t.Errorf("%s %s (-default +document)\n%s", c.Kind, c.Type, diff)
		}
	}
}

// TestConfigurationReference_ExamplesAreEquivalent loads each example in its three formats.
func TestConfigurationReference_ExamplesAreEquivalent(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(configurationReference)
	if err != nil {
		t.Fatal(err)
	}
	var first []config.Value
	loaded := 0
	for i, part := range strings.Split(string(content), "\n```") {
		if i%2 == 0 {
			continue
		}
		format, text, _ := strings.Cut(part, "\n")
		values := loadExample(t, format, text)
		switch loaded % 3 {
		case 0:
			first = values
		default:
			if diff := cmp.Diff(first, values); diff != "" {
				t.Errorf("the example in %s differs from the one in TOML (-toml +other)\n%s\n%s", format, text, diff)
			}
		}
		loaded++
	}
	if want := 3 * len(exampleNames(t)); loaded != want {
		t.Errorf("loaded %d blocks, want %d", loaded, want)
	}
}

// loadExample returns the effective values of a configuration, without their origins. At least one value is not a default.
func loadExample(t *testing.T, format, text string) []config.Value {
	t.Helper()
	file := filepath.Join(t.TempDir(), "example."+format)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Options{File: file, Named: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	values := cfg.Values()
	if !slices.ContainsFunc(values, func(v config.Value) bool { return v.Origin == file }) {
		t.Errorf("this example sets nothing:\n%s", text)
	}
	for i := range values {
		values[i].Origin = ""
	}
	return values
}

func exampleNames(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(referenceDirectory, "*.toml"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return names
}
