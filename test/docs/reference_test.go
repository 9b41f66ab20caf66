package docs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/haproxy-api/haproxy-api/engine/config"
	filesink "github.com/haproxy-api/haproxy-api/sinks/file"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
	filesource "github.com/haproxy-api/haproxy-api/sources/file"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// referenceDirectory contains the template of docs/configuration.md, and an example in TOML for each table.
const referenceDirectory = "testdata/configuration"

// A component is a built-in type of sources or sinks.
type component struct {
	Kind        string // "Sources" or "Sinks"
	Type        string
	Description string
	defaults    any      // the struct that its block is decoded into
	source      string   // the file that declares the struct
	shorthand   []string // the tables that have the same keys
}

var builtIn = []component{
	{"Sources", "sidecar-push", "It receives the pushes of a Sidecar. `[sidecar]` is shorthand for it.",
		sidecar.PushDefaults(), "sources/sidecar/push.go", []string{"sidecar", "haproxy_api"}},
	{"Sources", "sidecar-follow", "It follows the changes of a Sidecar. `[sidecar]` with `follow` is shorthand for it.",
		sidecar.FollowDefaults(), "sources/sidecar/follow.go", []string{"sidecar"}},
	{"Sources", "file", "It reads a catalogue from a file: a state of Sidecar, or a list of instances.",
		filesource.Defaults(), "sources/file/file.go", nil},
	{"Sinks", "haproxy", "It manages an HAProxy. `[haproxy]` is shorthand for it.",
		haproxy.Defaults(), "sinks/haproxy/config.go", []string{"haproxy"}},
	{"Sinks", "file", "It writes files for any other program.",
		filesink.Defaults(), "sinks/file/file.go", nil},
}

// Keys returns the keys of the block, in the order of the struct. A key that is also in the shorthand refers to that.
func (c component) Keys() ([]config.KeyReference, error) {
	comments, err := fieldComments(filepath.Join("../..", c.source))
	if err != nil {
		return nil, err
	}
	value := reflect.ValueOf(c.defaults)
	var keys []config.KeyReference
	for i := range value.NumField() {
		field := value.Type().Field(i)
		name := field.Tag.Get("json")
		key := config.KeyReference{Name: name, Default: defaultText(value.Field(i))}
		if shorthand, ok := c.shorthandOf(name); ok {
			key.Description = fmt.Sprintf("See [`%s`](#%s).", shorthand.Path, anchor(shorthand.Path))
			if key.Default == "" && shorthand.Default != "[]" && shorthand.Default != `""` {
				key.Description += " It has no default and is required."
			}
		} else {
			key.Description = strings.Join(strings.Fields(comments[value.Type().Name()+"."+field.Name]), " ")
		}
		if key.Type = typeText(field.Type); key.Type == "" || !strings.HasSuffix(key.Description, ".") {
			return nil, fmt.Errorf("%s: %s has the type %q and the comment %q", c.source, field.Name, key.Type, key.Description)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// shorthandOf returns the key with the same meaning in the shorthand.
func (c component) shorthandOf(name string) (config.KeyReference, bool) {
	for _, table := range config.Reference() {
		for _, key := range table.Keys {
			for _, shorthand := range c.shorthand {
				if table.Path == shorthand && key.Name == name {
					return key, true
				}
			}
		}
	}
	return config.KeyReference{}, false
}

// fieldComments returns the comments of the fields of all structs in a file of Go, by struct and field.
func fieldComments(file string) (map[string]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	comments := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					comments[spec.Name.Name+"."+name.Name] = field.Doc.Text()
				}
			}
		}
		return false
	})
	return comments, nil
}

// typeText returns what values of the type are in TOML, YAML and JSON.
func typeText(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "string, a duration"
	case t == reflect.TypeFor[[]string]():
		return "list of strings"
	case t.Kind() == reflect.String:
		return "string"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return "whole number"
	default:
		return ""
	}
}

func defaultText(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		text := d.String()
		if minutes, whole := strings.CutSuffix(text, "m0s"); whole {
			text = minutes + "m"
		}
		return strconv.Quote(text)
	}
	if v.IsZero() && v.Kind() != reflect.Bool && v.Kind() != reflect.Int {
		return ""
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return ""
	}
	return string(text)
}

// renderReference returns the content of docs/configuration.md.
func renderReference() (string, error) {
	tables := config.Reference()
	// The keys outside of tables are the last ones.
	named, outside := tables[:len(tables)-1], tables[len(tables)-1]
	const name = "reference.md.tmpl"
	parsed, err := template.New(name).Funcs(template.FuncMap{
		"tables":     func() []config.TableReference { return named },
		"outside":    func() config.TableReference { return outside },
		"example":    renderExample,
		"components": componentsOf,
		"anchor":     anchor,
		"codes":      func(names []string) string { return codes("", names) },
		"flags":      func(names []string) string { return codes("--", names) },
	}).ParseFiles(filepath.Join(referenceDirectory, name))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = parsed.Execute(&b, nil)
	return b.String(), err
}

func componentsOf(table string) []component {
	var found []component
	for _, c := range builtIn {
		if table == strings.ToLower(c.Kind)+".NAME" {
			found = append(found, c)
		}
	}
	return found
}

func codes(prefix string, names []string) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = "`" + prefix + name + "`"
	}
	return strings.Join(all, ", ")
}

// renderExample returns the example of a table as three code blocks.
func renderExample(table string) (string, error) {
	name, _, _ := strings.Cut(table, ".")
	file := filepath.Join(referenceDirectory, name+".toml")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the table %s has no example: add %s", table, file)
	}
	if err != nil {
		return "", err
	}
	tree, err := config.ReadTable(file)
	if err != nil {
		return "", err
	}
	var inYAML strings.Builder
	encoder := yaml.NewEncoder(&inYAML)
	encoder.SetIndent(2)
	if err := encoder.Encode(tree); err != nil {
		return "", err
	}
	inJSON, err := json.MarshalIndent(tree, "", "  ")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("```toml\n%s```\n\n```yaml\n%s```\n\n```json\n%s\n```\n", text, &inYAML, inJSON), nil
}

// anchor returns the fragment with which GitHub links to a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
			return r
		default:
			return -1
		}
	}, strings.ToLower(heading))
}
