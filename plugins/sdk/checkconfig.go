package sdk

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// CheckConfig returns an error that names every field in the type of cfg that [Decode] cannot set. Package serve panics with
// it: the author of a plugin can correct such a field, and its users cannot.
//
// A configuration is a struct. Its fields with a json tag may be strings, booleans, numbers, [time.Duration], slices, arrays,
// maps with string keys, structs, pointers to these, any, and types that implement [encoding.TextUnmarshaler] or
// [json.Unmarshaler]. The keys of an embedded struct without a tag are keys of the struct itself. Fields without a tag are
// not set.
func CheckConfig(cfg any) error {
	t := reflect.TypeOf(cfg)
	if t == nil || t.Kind() != reflect.Struct {
		return fmt.Errorf("a configuration of type %T cannot be decoded: it must be a struct", cfg)
	}
	c := typeChecker{seen: map[reflect.Type]bool{t: true}}
	c.fields("", t, map[string]bool{})
	if len(c.problems) == 0 {
		return nil
	}
	return fmt.Errorf("a configuration of type %s cannot be decoded: %s", t, strings.Join(c.problems, "; "))
}

type typeChecker struct {
	problems []string
	seen     map[reflect.Type]bool // the types around the present one, which may be recursive
}

func (c *typeChecker) addf(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// fields checks the fields of the struct type t, and adds their keys to keys.
func (c *typeChecker) fields(at string, t reflect.Type, keys map[string]bool) {
	for i := range t.NumField() {
		field := t.Field(i)
		name := at + field.Name
		tag, tagged := field.Tag.Lookup("json")
		key := keyOf(field)
		switch {
		case isInlined(field):
			c.fields(name+".", field.Type, keys)
		case field.Anonymous && !tagged && field.Type.Kind() == reflect.Pointer:
			c.addf("the pointer %s is embedded: embed the struct itself, or give it a json tag", name)
		case !tagged || tag == "-":
		case key == "":
			c.addf("the json tag of %s has no key", name)
		case !field.IsExported():
			c.addf("%s has a json tag and is not exported", name)
		case keys[key]:
			c.addf("%s has the key %q, which another field has as well", name, key)
		default:
			keys[key] = true
			c.value(name, field.Type)
		}
	}
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

func unmarshalsItself(t reflect.Type) bool {
	pointer := reflect.PointerTo(t)
	return pointer.Implements(textUnmarshaler) || pointer.Implements(jsonUnmarshaler)
}

func (c *typeChecker) value(name string, t reflect.Type) {
	if c.seen[t] || unmarshalsItself(t) {
		return
	}
	c.seen[t] = true
	defer delete(c.seen, t)
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
	case reflect.Pointer, reflect.Array:
		c.value(name, t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			c.addf("%s is of type %s: use a string", name, t)
			return
		}
		c.value(name, t.Elem())
	case reflect.Map:
		if t.Key().Kind() != reflect.String && !reflect.PointerTo(t.Key()).Implements(textUnmarshaler) {
			c.addf("%s is of type %s: the keys of a map must be strings", name, t)
		}
		c.value(name, t.Elem())
	case reflect.Struct:
		keys := map[string]bool{}
		c.fields(name+".", t, keys)
		if len(keys) == 0 {
			c.addf("%s is of type %s, which has no field with a json tag", name, t)
		}
	case reflect.Interface:
		if t.NumMethod() > 0 {
			c.addf("%s is of type %s: use any or a type without methods", name, t)
		}
	default:
		c.addf("%s is of type %s, which no configuration can hold", name, t)
	}
}
