package sdk

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder collects the faults of a block. Keys in faults have dots and indexes, such as servers[0].port.
type decoder struct{ faults Faults }

func (d *decoder) addf(key, format string, args ...any) {
	d.faults = append(d.faults, Fault{Key: key, Problem: fmt.Sprintf(format, args...)})
}

// decodeFields sets the fields of the struct target from block.
func (d *decoder) decodeFields(prefix string, block map[string]any, target reflect.Value) {
	fields := fieldsByKey(target)
	for _, key := range slices.Sorted(maps.Keys(block)) {
		field, ok := fields[key]
		if !ok {
			d.addf(prefix+key, "is not a known key%s", suggestion(prefix, key, slices.Sorted(maps.Keys(fields))))
			continue
		}
		d.decode(prefix+key, block[key], field)
	}
}

// fieldsByKey returns the fields that a block can set, with those of embedded structs.
func fieldsByKey(target reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range target.NumField() {
		switch field := target.Type().Field(i); {
		case isInlined(field):
			maps.Copy(fields, fieldsByKey(target.Field(i)))
		case keyOf(field) != "":
			fields[keyOf(field)] = target.Field(i)
		}
	}
	return fields
}

// keyOf returns the key of field in a block, and "" for none.
func keyOf(field reflect.StructField) string {
	key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	if key == "-" {
		return ""
	}
	return key
}

// isInlined reports whether the keys of the fields of field, an embedded struct without a tag, are keys of the struct itself.
func isInlined(field reflect.StructField) bool {
	_, tagged := field.Tag.Lookup("json")
	return field.Anonymous && !tagged && field.Type.Kind() == reflect.Struct
}

// suggestion names the known key that is most similar to key, or all known keys if none is similar.
func suggestion(prefix, key string, known []string) string {
	nearest, least := "", len(key)/2+1
	for _, k := range known {
		if n := distance(key, k); n < least {
			nearest, least = k, n
		}
	}
	switch {
	case nearest != "":
		return fmt.Sprintf("; did you mean %s?", prefix+nearest)
	case len(known) == 0:
		return "; there are none here"
	default:
		return "; known are " + strings.Join(known, ", ")
	}
}

// distance returns the Levenshtein distance between a and b, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

var durationType = reflect.TypeFor[time.Duration]()

// decode sets target, which must be addressable, from value.
func (d *decoder) decode(key string, value any, target reflect.Value) {
	switch u := target.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		d.decodeText(key, value, u)
		return
	case json.Unmarshaler:
		d.decodeJSON(key, value, u)
		return
	}
	if target.Type() == durationType {
		d.decodeDuration(key, value, target)
		return
	}
	switch target.Kind() {
	case reflect.String:
		d.decodeString(key, value, target)
	case reflect.Bool:
		d.decodeBool(key, value, target)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		d.decodeNumber(key, value, target)
	case reflect.Slice, reflect.Array:
		d.decodeList(key, value, target)
	case reflect.Map:
		d.decodeMap(key, value, target)
	case reflect.Struct:
		if table, ok := d.table(key, value); ok {
			d.decodeFields(key+".", table, target)
		}
	case reflect.Pointer:
		d.decodePointer(key, value, target)
	case reflect.Interface:
		if value != nil {
			target.Set(reflect.ValueOf(withoutJSONNumbers(value)))
		}
	default: // CheckConfig rejects these types
		d.addf(key, "has a type that no configuration can hold: %s", target.Type())
	}
}

// withoutJSONNumbers returns value with the numbers that a TOML or YAML parser returns.
func withoutJSONNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		n, _ := v.Float64()
		return n
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = withoutJSONNumbers(element)
		}
		return list
	case map[string]any:
		table := make(map[string]any, len(v))
		for name, element := range v {
			table[name] = withoutJSONNumbers(element)
		}
		return table
	}
	return value
}

// decodePointer sets target to a new value, which starts as a copy of the default that target points to. Null sets it to nil.
func (d *decoder) decodePointer(key string, value any, target reflect.Value) {
	if value == nil {
		target.SetZero()
		return
	}
	pointed := reflect.New(target.Type().Elem())
	if !target.IsNil() {
		pointed.Elem().Set(target.Elem())
	}
	d.decode(key, value, pointed.Elem())
	target.Set(pointed)
}

func (d *decoder) decodeJSON(key string, value any, target json.Unmarshaler) {
	content, err := json.Marshal(value)
	if err == nil {
		err = target.UnmarshalJSON(content)
	}
	if err != nil {
		d.addf(key, "cannot be used: %v", err)
	}
}

func (d *decoder) decodeText(key string, value any, target encoding.TextUnmarshaler) {
	if m, ok := value.(encoding.TextMarshaler); ok { // a time in TOML
		if content, err := m.MarshalText(); err == nil {
			value = string(content)
		}
	}
	text, ok := value.(string)
	if !ok {
		d.addf(key, "must be text, not %s", describe(key, value))
		return
	}
	if err := target.UnmarshalText([]byte(text)); err != nil {
		d.addf(key, "is %s: %v", describe(key, value), err)
	}
}

func (d *decoder) decodeDuration(key string, value any, target reflect.Value) {
	text, ok := value.(string)
	if !ok {
		d.addf(key, `must be a duration such as "30s", not %s`, describe(key, value))
		return
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		d.addf(key, `must be a duration such as "30s" or "1m30s", not %q`, text)
		return
	}
	target.SetInt(int64(duration))
}

func (d *decoder) decodeString(key string, value any, target reflect.Value) {
	text, ok := value.(string)
	if !ok {
		d.addf(key, "must be text, not %s", describe(key, value))
		return
	}
	target.SetString(text)
}

func (d *decoder) decodeBool(key string, value any, target reflect.Value) {
	b, ok := value.(bool)
	if text, isText := value.(string); isText {
		var err error
		b, err = strconv.ParseBool(text)
		ok = err == nil
	}
	if !ok {
		d.addf(key, "must be true or false, not %s", describe(key, value))
		return
	}
	target.SetBool(b)
}

// decodeNumber parses the decimal text of value, so that a number has the same meaning in TOML, YAML, JSON and an environment
// variable.
func (d *decoder) decodeNumber(key string, value any, target reflect.Value) {
	text, bits := decimal(value), target.Type().Bits()
	kind := "a whole number"
	var err error
	switch {
	case isInexact(value) && !target.CanFloat():
		err = strconv.ErrSyntax
	case target.CanInt():
		var n int64
		if n, err = strconv.ParseInt(text, 10, bits); err == nil {
			target.SetInt(n)
		}
	case target.CanUint():
		var n uint64
		if n, err = strconv.ParseUint(text, 10, bits); err == nil {
			target.SetUint(n)
		} else if _, negative := strconv.ParseInt(text, 10, 64); negative == nil {
			err = strconv.ErrRange
		}
	default:
		kind = "a number"
		var n float64
		if n, err = strconv.ParseFloat(text, bits); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
			target.SetFloat(n)
		} else if err == nil {
			err = strconv.ErrSyntax
		}
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		d.addf(key, "is out of range: %s", describe(key, value))
	case err != nil:
		d.addf(key, "must be %s, not %s", kind, describe(key, value))
	}
}

// isInexact reports whether value is a float that is too large to contain every whole number: it may not be what was written.
func isInexact(value any) bool {
	v := reflect.ValueOf(value)
	return v.CanFloat() && math.Abs(v.Float()) >= 1<<53
}

// decimal returns the text of a number, and "" for other values.
func decimal(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	switch v := reflect.ValueOf(value); {
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return ""
}

func (d *decoder) decodeList(key string, value any, target reflect.Value) {
	source := reflect.ValueOf(value)
	if text, ok := value.(string); ok { // an environment variable
		source = reflect.ValueOf(strings.Split(text, ","))
	}
	if source.Kind() != reflect.Slice {
		d.addf(key, "must be a list, not %s", describe(key, value))
		return
	}
	if target.Kind() == reflect.Slice {
		target.Set(reflect.MakeSlice(target.Type(), source.Len(), source.Len()))
	}
	if source.Len() != target.Len() {
		d.addf(key, "must be a list of %d, not of %d", target.Len(), source.Len())
		return
	}
	for i := range source.Len() {
		d.decode(key+"["+strconv.Itoa(i)+"]", source.Index(i).Interface(), target.Index(i))
	}
}

func (d *decoder) decodeMap(key string, value any, target reflect.Value) {
	source, ok := d.table(key, value)
	if !ok {
		return
	}
	table := reflect.MakeMapWithSize(target.Type(), len(source))
	for _, name := range slices.Sorted(maps.Keys(source)) {
		at := reflect.New(target.Type().Key()).Elem()
		d.decode(key+"."+name, name, at)
		element := reflect.New(target.Type().Elem()).Elem()
		d.decode(key+"."+name, source[name], element)
		if at.Comparable() {
			table.SetMapIndex(at, element)
		}
	}
	target.Set(table)
}

func (d *decoder) table(key string, value any) (map[string]any, bool) {
	table, ok := value.(map[string]any)
	if !ok {
		d.addf(key, "must be a table, not %s", describe(key, value))
	}
	return table, ok
}

// secretName matches the names of keys whose values no error may contain.
var secretName = regexp.MustCompile(`(?i)passw|secret|token|credential|key`)

// describe returns value for an error text.
func describe(key string, value any) string {
	switch value.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		return "a table"
	case []any:
		return "a list"
	}
	if secretName.MatchString(key) {
		return "what it is"
	}
	if text, ok := value.(string); ok {
		return strconv.Quote(text)
	}
	return fmt.Sprint(value)
}
