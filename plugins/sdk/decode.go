package sdk

import (
	"encoding"
	"encoding/json"
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

type decoder struct{ faults Faults }

func (d *decoder) addf(key, format string, args ...any) {
	d.faults = append(d.faults, Fault{Key: key, Problem: fmt.Sprintf(format, args...)})
}

func (d *decoder) fill(prefix string, block map[string]any, target reflect.Value) {
	fields := fieldsByKey(target)
	for _, key := range slices.Sorted(maps.Keys(block)) {
		field, ok := fields[key]
		if !ok {
			d.addf(prefix+key, "is not a known key%s", suggestion(prefix, key, slices.Sorted(maps.Keys(fields))))
			continue
		}
		d.set(prefix+key, block[key], field)
	}
}

// fieldsByKey returns the fields that a block can fill. Those of an embedded struct without a tag are among them.
func fieldsByKey(target reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range target.NumField() {
		switch field := target.Type().Field(i); {
		case embeds(field):
			maps.Copy(fields, fieldsByKey(target.Field(i)))
		case keyOf(field) != "":
			fields[keyOf(field)] = target.Field(i)
		}
	}
	return fields
}

// keyOf returns the key that fills field, and "" where there is none.
func keyOf(field reflect.StructField) string {
	key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	if key == "-" {
		return ""
	}
	return key
}

// embeds reports whether the keys of field's own fields are the struct's.
func embeds(field reflect.StructField) bool {
	_, tagged := field.Tag.Lookup("json")
	return field.Anonymous && !tagged && field.Type.Kind() == reflect.Struct
}

// suggestion names the known key that takes the fewest edits, or all of them where none is near.
func suggestion(prefix, key string, known []string) string {
	best, least := "", len(key)/2+1
	for _, k := range known {
		if n := edits(key, k); n < least {
			best, least = k, n
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %s?", prefix+best)
	case len(known) == 0:
		return "; there are none here"
	default:
		return "; known are " + strings.Join(known, ", ")
	}
}

// edits is the Levenshtein distance between a and b, in bytes.
func edits(a, b string) int {
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

func (d *decoder) set(key string, value any, target reflect.Value) {
	switch u := target.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		d.setText(key, value, u)
		return
	case json.Unmarshaler:
		d.setJSON(key, value, u)
		return
	}
	if target.Type() == durationType {
		d.setDuration(key, value, target)
		return
	}
	switch target.Kind() {
	case reflect.String:
		d.setString(key, value, target)
	case reflect.Bool:
		d.setBool(key, value, target)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.setInt(key, value, target)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.setUint(key, value, target)
	case reflect.Float32, reflect.Float64:
		d.setFloat(key, value, target)
	case reflect.Slice:
		d.setSlice(key, value, target)
	case reflect.Array:
		d.setArray(key, value, target)
	case reflect.Map:
		d.setMap(key, value, target)
	case reflect.Struct:
		d.setStruct(key, value, target)
	case reflect.Pointer:
		d.setPointer(key, value, target)
	case reflect.Interface:
		if value != nil {
			target.Set(reflect.ValueOf(plain(value)))
		}
	default: // see CheckConfig
		d.addf(key, "has a type that no configuration can hold: %s", target.Type())
	}
}

// plain returns value with the numbers that TOML and YAML would have given.
func plain(value any) any {
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
			list[i] = plain(element)
		}
		return list
	case map[string]any:
		table := make(map[string]any, len(v))
		for name, element := range v {
			table[name] = plain(element)
		}
		return table
	}
	return value
}

// setPointer makes the pointer one to a value of its own, which begins as what the default points to. Nothing makes it nil.
func (d *decoder) setPointer(key string, value any, target reflect.Value) {
	if value == nil {
		target.SetZero()
		return
	}
	pointed := reflect.New(target.Type().Elem())
	if !target.IsNil() {
		pointed.Elem().Set(target.Elem())
	}
	d.set(key, value, pointed.Elem())
	target.Set(pointed)
}

func (d *decoder) setJSON(key string, value any, target json.Unmarshaler) {
	content, err := json.Marshal(value)
	if err == nil {
		err = target.UnmarshalJSON(content)
	}
	if err != nil {
		d.addf(key, "cannot be used: %v", err)
	}
}

func (d *decoder) setText(key string, value any, target encoding.TextUnmarshaler) {
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

func (d *decoder) setDuration(key string, value any, target reflect.Value) {
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

func (d *decoder) setString(key string, value any, target reflect.Value) {
	text, ok := value.(string)
	if !ok {
		d.addf(key, "must be text, not %s", describe(key, value))
		return
	}
	target.SetString(text)
}

func (d *decoder) setBool(key string, value any, target reflect.Value) {
	switch v := value.(type) {
	case bool:
		target.SetBool(v)
		return
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			target.SetBool(b)
			return
		}
	}
	d.addf(key, "must be true or false, not %s", describe(key, value))
}

func (d *decoder) setInt(key string, value any, target reflect.Value) {
	n, ok := wholeNumber(value)
	switch {
	case !ok:
		d.addf(key, "must be a whole number, not %s", describe(key, value))
	case target.OverflowInt(n):
		d.addf(key, "is out of range: %d", n)
	default:
		target.SetInt(n)
	}
}

func wholeNumber(value any) (int64, bool) {
	switch v := value.(type) {
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	}
	switch v := reflect.ValueOf(value); {
	case v.CanInt():
		return v.Int(), true
	case v.CanUint() && v.Uint() <= math.MaxInt64:
		return int64(v.Uint()), true //nolint:gosec // bounded in the case above
	case v.CanFloat() && v.Float() == math.Trunc(v.Float()) && math.Abs(v.Float()) < 1<<53:
		return int64(v.Float()), true
	}
	return 0, false
}

func (d *decoder) setUint(key string, value any, target reflect.Value) {
	if n, ok := wholeNumber(value); ok && n < 0 {
		d.addf(key, "is out of range: %d", n)
		return
	}
	n, ok := unsigned(value)
	switch {
	case !ok:
		d.addf(key, "must be a whole number, not %s", describe(key, value))
	case target.OverflowUint(n):
		d.addf(key, "is out of range: %d", n)
	default:
		target.SetUint(n)
	}
}

func unsigned(value any) (uint64, bool) {
	switch v := value.(type) {
	case string:
		n, err := strconv.ParseUint(v, 10, 64)
		return n, err == nil
	case json.Number:
		n, err := strconv.ParseUint(v.String(), 10, 64)
		if err == nil {
			return n, true
		}
	}
	if v := reflect.ValueOf(value); v.CanUint() {
		return v.Uint(), true
	}
	n, ok := wholeNumber(value)
	return uint64(n), ok && n >= 0 //nolint:gosec // checked beside it
}

func (d *decoder) setFloat(key string, value any, target reflect.Value) {
	n, ok := number(value)
	switch {
	case !ok || math.IsNaN(n) || math.IsInf(n, 0):
		d.addf(key, "must be a number, not %s", describe(key, value))
	case target.OverflowFloat(n):
		d.addf(key, "is out of range: %v", n)
	default:
		target.SetFloat(n)
	}
}

func number(value any) (float64, bool) {
	switch v := value.(type) {
	case string:
		n, err := strconv.ParseFloat(v, 64)
		return n, err == nil
	case json.Number:
		n, err := v.Float64()
		return n, err == nil
	}
	switch v := reflect.ValueOf(value); {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}

func (d *decoder) setSlice(key string, value any, target reflect.Value) {
	source, ok := d.list(key, value)
	if !ok {
		return
	}
	list := reflect.MakeSlice(target.Type(), source.Len(), source.Len())
	d.setElements(key, source, list)
	target.Set(list)
}

func (d *decoder) setArray(key string, value any, target reflect.Value) {
	source, ok := d.list(key, value)
	switch {
	case !ok:
	case source.Len() != target.Len():
		d.addf(key, "must be a list of %d, not of %d", target.Len(), source.Len())
	default:
		d.setElements(key, source, target)
	}
}

func (d *decoder) list(key string, value any) (reflect.Value, bool) {
	source := reflect.ValueOf(value)
	if text, ok := value.(string); ok { // an environment variable
		source = reflect.ValueOf(strings.Split(text, ","))
	}
	if source.Kind() != reflect.Slice {
		d.addf(key, "must be a list, not %s", describe(key, value))
		return source, false
	}
	return source, true
}

func (d *decoder) setElements(key string, source, target reflect.Value) {
	for i := range source.Len() {
		d.set(key+"["+strconv.Itoa(i)+"]", source.Index(i).Interface(), target.Index(i))
	}
}

func (d *decoder) setMap(key string, value any, target reflect.Value) {
	source, ok := value.(map[string]any)
	if !ok {
		d.addf(key, "must be a table, not %s", describe(key, value))
		return
	}
	table := reflect.MakeMapWithSize(target.Type(), len(source))
	for _, name := range slices.Sorted(maps.Keys(source)) {
		at := reflect.New(target.Type().Key()).Elem()
		d.set(key+"."+name, name, at)
		element := reflect.New(target.Type().Elem()).Elem()
		d.set(key+"."+name, source[name], element)
		if at.Comparable() {
			table.SetMapIndex(at, element)
		}
	}
	target.Set(table)
}

func (d *decoder) setStruct(key string, value any, target reflect.Value) {
	block, ok := value.(map[string]any)
	if !ok {
		d.addf(key, "must be a table, not %s", describe(key, value))
		return
	}
	d.fill(key+".", block, target)
}

// secretName is the name of a key whose value no sentence may repeat.
var secretName = regexp.MustCompile(`(?i)passw|secret|token|credential|key`)

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
