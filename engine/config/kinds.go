package config

import (
	"maps"
	"regexp"
	"slices"
)

// A kind says which values a key may have. It holds a pointer to the field of the [Config] that decode sets.
type kind interface {
	// decode stores v, the value at that path, or reports to the collector what is wrong with it.
	decode(at path, v any, to *collector)
	// child returns the kind of the key with that name in this table, or nil if there can be no such key.
	child(name string) kind
	// parse converts text from the environment or --set to a value. Invalid text is returned as it is, so that decode reports it.
	parse(text string) any
}

// A field is one key of a [table].
type field struct {
	name         string
	defaultValue any // as a file would have it; nil for none
	kind         kind
	description  string // sentences for the reference, in Markdown
}

// A table has fixed keys.
type table []field

func (t table) decode(at path, v any, to *collector) {
	content, ok := to.table(at, v, "a table")
	if !ok {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		if k := t.child(name); k != nil {
			k.decode(at.with(name), content[name], to)
		} else {
			to.unknown(at.with(name), t.names())
		}
	}
}

func (t table) child(name string) kind {
	for _, f := range t {
		if f.name == name {
			return f.kind
		}
	}
	return nil
}

func (t table) parse(text string) any { return parseJSON(text) }

func (t table) names() []string {
	names := make([]string, len(t))
	for i, f := range t {
		names[i] = f.name
	}
	return names
}

// knownPaths returns the paths of the keys of t and its tables.
func (t table) knownPaths(at path) []path {
	var known []path
	for _, f := range t {
		if inner, ok := f.kind.(table); ok {
			known = append(known, inner.knownPaths(at.with(f.name))...)
		} else {
			known = append(known, at.with(f.name))
		}
	}
	return known
}

// defaults returns the default values of the keys of t and its tables.
func (t table) defaults() map[string]any {
	values := map[string]any{}
	for _, f := range t {
		if inner, ok := f.kind.(table); ok {
			values[f.name] = inner.defaults()
		} else if f.defaultValue != nil {
			values[f.name] = f.defaultValue
		}
	}
	return values
}

// A namedTable contains elements whose names the user chooses.
type namedTable[T any] struct {
	into    map[string]T
	element func(*T) kind
}

func (n namedTable[T]) decode(at path, v any, to *collector) {
	content, ok := to.table(at, v, "a table of named tables")
	if !ok {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		if !isValidName(name) {
			to.add(at.with(name), "is not "+validName)
			continue
		}
		var element T
		n.element(&element).decode(at.with(name), content[name], to)
		n.into[name] = element
	}
}

func (n namedTable[T]) child(string) kind { return n.element(new(T)) }

func (n namedTable[T]) parse(text string) any { return parseJSON(text) }

// Names appear in URLs, file names and metrics; types appear in the names of programs that are started.
const validName = "a valid name: 1 to 64 letters, digits, dots, dashes and underscores, starting with a letter or a digit"

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func isValidName(name string) bool { return namePattern.MatchString(name) }

// A block is the table of one source or sink: the keys that every type has, and keys that only the type knows.
type block struct {
	into   *Component
	common table // without "type"
}

func (b block) decode(at path, v any, to *collector) {
	content, ok := to.table(at, v, "a table")
	if !ok {
		return
	}
	b.into.Block = maps.Clone(content)
	for _, f := range b.commonFields() {
		if value, ok := content[f.name]; ok {
			f.kind.decode(at.with(f.name), value, to)
		}
		delete(b.into.Block, f.name)
	}
}

func (b block) commonFields() table {
	return append(table{{"type", nil, stringLike(&b.into.Type, validName, isValidName),
		"What the component is: a built-in type, or the type of a plugin. It is required."}}, b.common...)
}

func (b block) child(name string) kind {
	if k := b.commonFields().child(name); k != nil {
		return k
	}
	return anything{parseText: parseListOrTable}
}

func (b block) parse(text string) any { return parseJSON(text) }

// anything is a value that is not validated.
type anything struct{ parseText func(text string) any }

func (a anything) decode(path, any, *collector) {}
func (a anything) child(string) kind            { return a }
func (a anything) parse(text string) any        { return a.parseText(text) }

// variables are the table of a template's variables. Their types are kept: text from the environment and --set that is valid JSON
// is decoded, and any other text is a string.
type variables struct{ into *map[string]any }

func (vs variables) decode(at path, v any, to *collector) {
	if content, ok := to.table(at, v, "a table"); ok {
		*vs.into = content
	}
}

func (vs variables) child(string) kind     { return anything{parseText: parseJSON} }
func (vs variables) parse(text string) any { return parseJSON(text) }

// A stringTable maps names that the user chooses, and that may contain dots, to strings.
type stringTable struct {
	into    *map[string]string
	valid   func(name, value string) bool
	want    string                      // completes "must be …" for the table
	item    string                      // and for each of its values
	fromEnv func(parts []string) string // returns the name for the rest of an environment variable's name
	use     PathUse                     // of the paths that the values are, or 0
}

func (t stringTable) decode(at path, v any, to *collector) {
	content, ok := to.table(at, v, t.want)
	if !ok {
		return
	}
	*t.into = make(map[string]string, len(content))
	for _, name := range slices.Sorted(maps.Keys(content)) {
		value, ok := content[name].(string)
		if !ok || !t.valid(name, value) {
			to.mismatch(at.with(name), t.item, content[name])
			continue
		}
		(*t.into)[name] = value
	}
}

func (t stringTable) child(string) kind     { return anyString(new(string)).used(t.use) }
func (t stringTable) parse(text string) any { return parseJSON(text) }
