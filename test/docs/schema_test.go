package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// configurationSchema is the JSON Schema that haproxy-api config --schema prints.
const configurationSchema = "../../cmd/haproxy-api/configuration.schema.json"

// TestConfigurationSchema checks that the JSON Schema is what the schema in engine/config says. -update writes it.
func TestConfigurationSchema(t *testing.T) {
	t.Parallel()
	want, err := renderSchema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(configurationSchema, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configurationSchema)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the JSON Schema is out of date; run go generate ./engine/config (-want +got)\n%s", diff)
	}
}

// TestConfigurationSchema_IsPrinted compares the file with what haproxy-api prints.
func TestConfigurationSchema_IsPrinted(t *testing.T) {
	t.Parallel()
	if *update {
		t.Skip("the program was built before the update")
	}
	want, err := os.ReadFile(configurationSchema)
	if err != nil {
		t.Fatal(err)
	}
	got, err := exec.CommandContext(t.Context(), filepath.Join(programs, "haproxy-api"), "config", "--schema").Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("haproxy-api config --schema (-want +got)\n%s", diff)
	}
}

// TestConfigurationSchema_AcceptsConfigurations validates every complete configuration in the documents and in the tests.
func TestConfigurationSchema_AcceptsConfigurations(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	files, err := trackedFiles("*.toml")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range files {
		files[i] = filepath.Join(repository, name)
	}
	names, err := documents()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		blocks, err := blocksOf(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			if b.is("toml", "") || b.is("yaml", "") || b.is("json", "") {
				file := filepath.Join(t.TempDir(), "haproxy-api."+b.language)
				if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
					t.Fatal(err)
				}
				files = append(files, file)
			}
		}
	}
	valid := 0
	for _, file := range files {
		if _, err := config.Load(config.Options{File: file, Named: true}); err != nil {
			continue // a part of a configuration, or something else
		}
		valid++
		if err := validateFile(schema, file); err != nil {
			content, _ := os.ReadFile(file)
			t.Errorf("%v\n%s", err, content)
		}
	}
	if valid < 30 {
		t.Errorf("%d configurations are valid", valid)
	}
}

// TestConfigurationSchema_RejectsMistakes checks that each of these is invalid, and valid without the mistake.
func TestConfigurationSchema_RejectsMistakes(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	for right, wrong := range map[string]string{
		"[haproxy]\nreload_interval = \"5s\"\n":                        "[haproxy]\nrelaod_interval = \"5s\"\n",
		"[haproxy]\nruntime = true\n":                                  "[haproxy]\nruntime = \"yes\"\n",
		"[haproxy]\non_exit = \"stop\"\n":                              "[haproxy]\non_exit = \"dance\"\n",
		"[haproxy_api]\nbind_port = 7778\n":                            "[haproxy_api]\nbind_port = \"7778\"\n",
		"[haproxy_api]\nallow_from = [\"::1\"]\n":                      "[haproxy_api]\nallow_from = \"::1\"\n",
		"[haproxy_api]\nmax_body = \"1MiB\"\n":                         "[haproxy_api]\nmax_body = true\n",
		"[sinks.a]\ntype = \"file\"\npath = \"x\"\n":                   "[sinks.a]\ntype = \"file\"\npaht = \"x\"\n",
		"[sinks.a]\ntype = \"nginx\"\npaht = \"x\"\n":                  "[sinks.a]\npaht = \"x\"\n",
		"[sources.a]\ntype = \"file\"\nmax_drop = 0.5\n":               "[sources.a]\ntype = \"file\"\nmax_drop = \"half\"\n",
		"[pipelines.a]\nsource = \"a\"\nsink = \"b\"\n":                "[pipelines.a]\nsource = \"a\"\nsnik = \"b\"\n",
		"[pipelines.a.vars]\nanything = [1, { x = true }]\n":           "[pipelines.a.files]\nanything = [1]\n",
		"[plugins.nginx]\nenv = { A = \"b\" }\nargs = [\"-v\"]\n":      "[plugins.nginx]\nenv = { A = 1 }\n",
		"[tracing]\nsample = 1\n":                                      "[traces]\nsample = 1\n",
		"[sources.a]\ntype = \"sidecar-push\"\nmax_body=1\n":           "[sources.a]\ntype = \"sidecar-follow\"\nmax_body=1\n",
		"plugin_dir = \"x\"\n[haproxy]\nmax_old_workers = 3\n":         "plugin_dir = 3\n",
		"[sidecar]\nsubscriptions = [\"web\"]\nresync_interval=\"1m\"": "[sidecar]\nsubscriptions = [1]\n",
	} {
		for text, wantError := range map[string]bool{right: false, wrong: true} {
			file := filepath.Join(t.TempDir(), "haproxy-api.toml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := validateFile(schema, file); (err != nil) != wantError {
				t.Errorf("%v: want an error %v in\n%s", err, wantError, text)
			}
		}
	}
}

// TestConfigurationSchema_AcceptsWhatIsAccepted gives each key values of all kinds. The JSON Schema accepts those that the
// program does.
func TestConfigurationSchema_AcceptsWhatIsAccepted(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	values := []any{nil, "", "x", "true", "3", "+3", "1m", "64MiB", "a:1", "http://a", "command", "stop", "json", "info",
		"1.2.3.4", true, 0, 3, -1, 0.5, 3.0, []any{}, []any{"x"}, []any{"x", "y"}, []any{"::1"}, []any{3}, object{},
		object{"a": "b"}, object{"a": 3}}
	file := filepath.Join(t.TempDir(), "haproxy-api.json")
	accepted := 0
	try := func(at string, tree object) {
		content, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Options{File: file, Named: true})
		if err != nil || !decodesBlocks(cfg) {
			return
		}
		accepted++
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: %s: %v", at, content, err)
		}
	}
	keysOf := map[string][]config.KeyReference{}
	for _, c := range builtIn {
		keys, err := c.Keys()
		if err != nil {
			t.Fatal(err)
		}
		keysOf[c.Kind+c.Type] = keys
	}
	reference := config.Reference()
	for _, value := range values {
		for _, table := range reference {
			name, _, isNamed := strings.Cut(table.Path, ".")
			for _, key := range table.Keys {
				inner := object{key.Name: value}
				switch {
				case table.Path == "":
					try(key.Path, inner)
				case !isNamed:
					try(key.Path, object{name: inner})
				case len(componentsOf(table.Path)) > 0:
					inner["type"] = "other"
					try(key.Path, object{name: object{"a": inner}})
				case name == "pipelines":
					maps.Copy(inner, object{"source": "sidecar", "sink": "haproxy", key.Name: value})
					try(key.Path, object{name: object{"a": inner}})
				default:
					try(key.Path, object{name: object{"a": inner}})
				}
			}
			if name != "" {
				try(table.Path, object{name: value})
			}
			if isNamed {
				try(table.Path, object{name: object{"a": value}})
			}
		}
		for _, c := range builtIn {
			keys := keysOf[c.Kind+c.Type]
			for _, key := range keys {
				block := object{"type": c.Type, key.Name: value}
				for name, needed := range map[string]string{"address": "a:1", "path": "x", "config_file": "c", "pid_file": "p"} {
					if slices.ContainsFunc(keys, func(k config.KeyReference) bool { return k.Name == name && name != key.Name }) {
						block[name] = needed
					}
				}
				try(c.Type+" "+key.Name, object{strings.ToLower(c.Kind): object{"a": block}})
			}
		}
	}
	if accepted < 300 {
		t.Errorf("the program accepts %d configurations", accepted)
	}
}

// decodesBlocks reports whether the built-in sources and sinks accept their keys.
func decodesBlocks(cfg *config.Config) bool {
	decodes := func(kind string, of config.Component) bool {
		at := slices.IndexFunc(builtIn, func(c component) bool { return c.Kind == kind && c.Type == of.Type })
		if at < 0 {
			return true
		}
		into := reflect.New(reflect.TypeOf(builtIn[at].defaults))
		into.Elem().Set(reflect.ValueOf(builtIn[at].defaults))
		return sdk.Decode(of.Block, into.Interface()) == nil
	}
	for _, source := range cfg.Sources {
		if !decodes("Sources", source.Component) {
			return false
		}
	}
	for _, sink := range cfg.Sinks {
		if !decodes("Sinks", sink) {
			return false
		}
	}
	return true
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(configurationSchema)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validateFile(schema *jsonschema.Schema, file string) error {
	tree, err := config.ReadTable(file)
	if err != nil {
		return err
	}
	content, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

type object = map[string]any

// renderSchema returns the JSON Schema of the configuration.
func renderSchema() ([]byte, error) {
	properties := object{}
	for _, table := range config.Reference() {
		keys := schemaOf(table.Keys, schemaTypes)
		name, _, isNamed := strings.Cut(table.Path, ".")
		content := object{"type": orNull("object"), "properties": keys, "additionalProperties": false}
		if kind := strings.ToUpper(name[:min(1, len(name))]) + name[min(1, len(name)):]; len(componentsOf(table.Path)) > 0 {
			components, err := schemaOfComponents(kind, keys)
			if err != nil {
				return nil, err
			}
			content = components
		}
		switch {
		case table.Path == "":
			maps.Copy(properties, keys)
		case isNamed:
			properties[name] = object{
				"type": orNull("object"), "description": table.Description, "additionalProperties": content,
				"propertyNames": object{"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
			}
		default:
			content["description"] = table.Description
			properties[name] = content
		}
	}
	encoded, err := json.MarshalIndent(object{
		"$schema": "http://json-schema.org/draft-07/schema#", "title": "Configuration of haproxy-api", "type": orNull("object"),
		"properties": properties, "additionalProperties": false,
	}, "", "  ")
	return append(encoded, '\n'), err
}

// schemaOfComponents returns the schema of a source or a sink. The keys of a type that is not built in are not known.
func schemaOfComponents(kind string, common object) (object, error) {
	var types []any
	for _, c := range builtIn {
		if c.Kind != kind {
			continue
		}
		keys, err := c.Keys()
		if err != nil {
			return nil, err
		}
		properties := schemaOf(keys, blockTypes)
		maps.Copy(properties, common)
		types = append(types, object{
			"if":   object{"properties": object{"type": object{"const": c.Type}}},
			"then": object{"properties": properties, "additionalProperties": false},
		})
	}
	return object{"type": orNull("object"), "required": []string{"type"}, "properties": common, "allOf": types}, nil
}

func schemaOf(keys []config.KeyReference, types map[string]object) object {
	properties := object{}
	for _, key := range keys {
		property := object{"description": key.Description}
		if key.Values != "" {
			property["description"] = fmt.Sprintf("%s Accepted: %s.", key.Description, key.Values)
		}
		maps.Copy(property, types[key.Type])
		if key.Choices != nil {
			choices := []any{nil}
			for _, choice := range key.Choices {
				choices = append(choices, choice)
			}
			property["enum"] = choices
		}
		if key.Default != "" {
			property["default"] = json.RawMessage(key.Default)
		}
		properties[key.Name] = property
	}
	return properties
}

// orNull returns the types of a value that may be missing: a key with null is as one that is not there.
func orNull(types ...string) []string { return append(types, "null") }

// schemaTypes are the schemas of the types of keys that package config knows.
var schemaTypes = map[string]object{
	"string":                 {"type": orNull("string")},
	"string, a duration":     {"type": orNull("string")},
	"boolean":                {"type": orNull("boolean")},
	"number":                 {"type": orNull("number")},
	"whole number":           {"type": orNull("integer")},
	"whole number or string": {"type": orNull("integer", "string")},
	"list of strings":        {"type": orNull("array"), "items": object{"type": "string"}},
	"table":                  {"type": orNull("object")},
	"table of strings":       {"type": orNull("object"), "additionalProperties": object{"type": orNull("string")}},
}

// blockTypes are those of keys in the block of a source or a sink. Its owner accepts what an environment variable contains.
var blockTypes = map[string]object{
	"string":             {"type": orNull("string")},
	"string, a duration": {"type": orNull("string")},
	"boolean": {
		"type": orNull("boolean", "string"), "pattern": "^(1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$",
	},
	"whole number":    {"type": orNull("integer", "string"), "pattern": "^[+-]?[0-9]+$"},
	"list of strings": {"type": orNull("array", "string"), "items": object{"type": "string"}},
}
