package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

//go:generate go test ../../test/docs -run "TestConfiguration(Reference|Schema)$" -update

// A TableReference documents one table of the configuration.
type TableReference struct {
	Path        string // such as haproxy_api or sinks.NAME; "" for the keys outside of any table
	Description string // sentences in Markdown
	Keys        []KeyReference
}

// A KeyReference documents one key.
type KeyReference struct {
	Path        string
	Name        string   // the last part of Path
	Description string   // sentences in Markdown
	Type        string   // what the value is in TOML, YAML and JSON
	Values      string   // which values of the type are accepted; "" for all
	Choices     []string // the accepted values, if they can be listed
	IsPath      bool     // whether relative values are resolved, see [Load]
	Default     string   // in JSON; "" for none, and for one that depends on other keys
	Environment []string // the variables that set the key, those with precedence first
	Flags       []string // the flags that set the key, without dashes
}

// Reference returns the documentation of all keys, in the order of the schema. The keys that only some type of sources or sinks
// has are not included.
func Reference() []TableReference {
	root := (&Config{}).schema()
	fixed := fixedNames(root)
	outside := TableReference{}
	var tables []TableReference
	for _, f := range root {
		at, fields := path{f.name}, fieldsOf(f.kind)
		if fields == nil {
			if fields = fieldsOf(f.kind.child(placeholderOf(f.name))); fields != nil {
				at = at.with(placeholderOf(f.name))
			}
		}
		if fields == nil {
			outside.Keys = append(outside.Keys, referenceOf(at, f, fixed))
			continue
		}
		reference := TableReference{Path: at.String(), Description: f.description}
		for _, inner := range fields {
			reference.Keys = append(reference.Keys, referenceOf(at.with(inner.name), inner, fixed))
		}
		tables = append(tables, reference)
	}
	return append(tables, outside)
}

// placeholderOf returns what stands for the names that the user chooses in a table of named tables.
func placeholderOf(table string) string {
	if table == "plugins" {
		return "TYPE"
	}
	return "NAME"
}

// fieldsOf returns the keys that are known of a table, and nil for other kinds.
func fieldsOf(k kind) table {
	switch k := k.(type) {
	case table:
		return k
	case block:
		return k.commonFields()
	default:
		return nil
	}
}

func referenceOf(at path, f field, fixed map[string]variable) KeyReference {
	reference := KeyReference{Path: at.String(), Name: f.name, Description: f.description, Type: "table"}
	switch k := f.kind.(type) {
	case scalar:
		reference.Type, reference.Choices, reference.IsPath = k.of.name, k.all, k.use != 0
		if reference.Values = usedAs[k.use]; k.want != k.of.anyValue {
			reference.Values = k.want
		}
	case stringTable:
		reference.Type, reference.Values, reference.IsPath = "table of strings", "each value is "+k.item, k.use != 0
	}
	if f.defaultValue != nil {
		reference.Default = Value{Value: f.defaultValue}.Text()
	}
	reference.Environment = variablesOf(at, fixed)
	for _, name := range slices.Sorted(maps.Keys(flagPaths)) {
		if slices.Equal(flagPaths[name], at) {
			reference.Flags = append(reference.Flags, name)
		}
	}
	return reference
}

// usedAs says what the strings are that any kind of path accepts.
var usedAs = map[PathUse]string{
	ReadsFile:       "the path of a file or a directory",
	ReadsPattern:    "a file pattern",
	ReadsProgram:    "the name or path of a program",
	WritesFile:      "the path of a file",
	WritesDirectory: "the path of a directory",
}

// variablesOf returns the names of the environment variables that set the key at that path.
func variablesOf(at path, fixed map[string]variable) []string {
	var found []variable
	for _, v := range fixed {
		if slices.Equal(v.at, at) {
			found = append(found, v)
		}
	}
	if len(at) > 1 {
		found = append(found, variable{name: envPrefix + strings.ToUpper(strings.Join(at, "__")), rank: rankPath})
	}
	slices.SortFunc(found, func(a, b variable) int { return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.name, b.name)) })
	names := make([]string, len(found))
	for i, v := range found {
		names[i] = v.name
	}
	return names
}
