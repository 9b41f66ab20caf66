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

func fieldsByKey(target reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range target.NumField() {
		key, _, _ := strings.Cut(target.Type().Field(i).Tag.Get("json"), ",")
		if key != "" && key != "-" {
			fields[key] = target.Field(i)
		}
	}
	return fields
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
	if u, ok := target.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.setText(key, value, u)
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
	case reflect.Float32, reflect.Float64:
		d.setFloat(key, value, target)
	case reflect.Slice:
		d.setSlice(key, value, target)
	case reflect.Map:
		d.setMap(key, value, target)
	case reflect.Struct:
		d.setStruct(key, value, target)
	case reflect.Interface:
		if value != nil {
			target.Set(reflect.ValueOf(value))
		}
	default:
		d.addf(key, "has a type that no configuration can hold: %s", target.Type())
	}
}

func (d *decoder) setText(key string, value any, target encoding.TextUnmarshaler) {
	text, ok := value.(string)
	if !ok {
		d.addf(key, "must be text, not %s", describe(key, value))
		return
	}
	if err := target.UnmarshalText([]byte(text)); err != nil {
		d.addf(key, "is %q: %v", text, err)
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

func (d *decoder) setFloat(key string, value any, target reflect.Value) {
	if n, ok := number(value); ok {
		target.SetFloat(n)
		return
	}
	d.addf(key, "must be a number, not %s", describe(key, value))
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
	source := reflect.ValueOf(value)
	if text, ok := value.(string); ok { // an environment variable
		source = reflect.ValueOf(strings.Split(text, ","))
	}
	if source.Kind() != reflect.Slice {
		d.addf(key, "must be a list, not %s", describe(key, value))
		return
	}
	list := reflect.MakeSlice(target.Type(), source.Len(), source.Len())
	for i := range source.Len() {
		d.set(key+"["+strconv.Itoa(i)+"]", source.Index(i).Interface(), list.Index(i))
	}
	target.Set(list)
}

func (d *decoder) setMap(key string, value any, target reflect.Value) {
	source, ok := value.(map[string]any)
	if !ok || target.Type().Key().Kind() != reflect.String {
		d.addf(key, "must be a table, not %s", describe(key, value))
		return
	}
	table := reflect.MakeMapWithSize(target.Type(), len(source))
	for _, name := range slices.Sorted(maps.Keys(source)) {
		element := reflect.New(target.Type().Elem()).Elem()
		d.set(key+"."+name, source[name], element)
		table.SetMapIndex(reflect.ValueOf(name), element)
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
