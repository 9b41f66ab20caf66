package config

import (
	"maps"
	"regexp"
	"slices"
)

// A kind is what a key may hold. It knows the place in the [Config] where the value goes.
type kind interface {
	// read stores v, which was found at that path, or tells the collector what is wrong with it.
	read(at path, v any, to *collector)
	// below returns the kind of the key of that name under this one, or nil if there cannot be one.
	below(name string) kind
	// fromText returns what a person means by that text in the environment or after --set. Where it makes no sense the
	// text itself is returned, for read to complain about.
	fromText(text string) any
}

// A field is one key of a [table].
type field struct {
	name     string
	fallback any // the default, as a file would say it; nil if there is none
	kind     kind
}

// A table has fixed keys.
type table []field

func (t table) read(at path, v any, to *collector) {
	content, ok := v.(map[string]any)
	if !ok {
		to.mismatch(at, "a table", v)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		if k := t.below(name); k != nil {
			k.read(at.with(name), content[name], to)
		} else {
			to.unknown(at.with(name), t.names())
		}
	}
}

func (t table) below(name string) kind {
	for _, f := range t {
		if f.name == name {
			return f.kind
		}
	}
	return nil
}

func (t table) fromText(text string) any { return jsonOr(text) }

func (t table) names() []string {
	names := make([]string, len(t))
	for i, f := range t {
		names[i] = f.name
	}
	return names
}

// A named table's keys are chosen by the person.
type named[T any] struct {
	into    map[string]T
	element func(*T) kind
}

func (n named[T]) read(at path, v any, to *collector) {
	content, ok := v.(map[string]any)
	if !ok {
		to.mismatch(at, "a table of named tables", v)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		if !usableName(name) {
			to.wrong(at.with(name), "is not "+usable)
			continue
		}
		var element T
		n.element(&element).read(at.with(name), content[name], to)
		n.into[name] = element
	}
}

func (n named[T]) below(string) kind { return n.element(new(T)) }

func (n named[T]) fromText(text string) any { return jsonOr(text) }

// Names show up in addresses, file names and metrics, and types in the names of programs that are started.
const usable = "a usable name: it needs 1 to 64 letters, digits, dots, dashes and underscores, " +
	"with a letter or digit first"

var usablePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func usableName(name string) bool { return usablePattern.MatchString(name) }

// A block is one source or sink: its type, keys that are the same whatever the type, and keys that only its owner knows.
type block struct {
	into *Component
	ours table
}

func (b block) read(at path, v any, to *collector) {
	content, ok := v.(map[string]any)
	if !ok {
		to.mismatch(at, "a table", v)
		return
	}
	b.into.Block = maps.Clone(content)
	for _, f := range b.fixed() {
		if value, ok := content[f.name]; ok {
			f.kind.read(at.with(f.name), value, to)
		}
		delete(b.into.Block, f.name)
	}
}

func (b block) fixed() table {
	return append(table{{name: "type", kind: usableText(&b.into.Type)}}, b.ours...)
}

func (b block) below(name string) kind {
	if fixed := b.fixed().below(name); fixed != nil {
		return fixed
	}
	return anything{fromTextOr: listOrMap}
}

func (b block) fromText(text string) any { return jsonOr(text) }

// anything is a value that is not looked at.
type anything struct{ fromTextOr func(text string) any }

func (a anything) read(path, any, *collector) {}
func (a anything) below(string) kind          { return a }
func (a anything) fromText(text string) any   { return a.fromTextOr(text) }

// variables are what a template is given to use as it likes, so their types are kept: from environment and --set,
// what is valid JSON is taken as JSON, and all else as a string.
type variables struct{ into *map[string]any }

func (vs variables) read(at path, v any, to *collector) {
	content, ok := v.(map[string]any)
	if !ok {
		to.mismatch(at, "a table", v)
		return
	}
	*vs.into = content
}

func (vs variables) below(string) kind        { return anything{fromTextOr: jsonOr} }
func (vs variables) fromText(text string) any { return jsonOr(text) }

// A texts table maps names that the person chooses, and that may have dots in them, to strings.
type texts struct {
	into    *map[string]string
	valid   func(name, value string) bool
	want    string                      // completes "must be …" for the table
	item    string                      // and for each of its values
	fromEnv func(parts []string) string // the name that the rest of an environment variable's name stands for
}

func (t texts) read(at path, v any, to *collector) {
	content, ok := v.(map[string]any)
	if !ok {
		to.mismatch(at, t.want, v)
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

func (t texts) below(string) kind        { return text(new(string)) }
func (t texts) fromText(text string) any { return jsonOr(text) }
