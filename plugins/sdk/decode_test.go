package sdk

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// holds decodes a value into a field of type T and returns the field as JSON.
func holds[T any](value any) (string, error) {
	var cfg struct {
		Value T `json:"value"`
	}
	if err := Decode(Block{"value": value}, &cfg); err != nil {
		return "", err
	}
	content, err := json.Marshal(cfg.Value)
	return string(content), err
}

type (
	named     string
	namedPort uint16
	inner     struct {
		Deep *int `json:"deep"`
	}
	tree struct {
		Name     string           `json:"name"`
		Children []*tree          `json:"children"`
		ByName   map[string]*tree `json:"by_name"`
	}
)

// Values in the daemon have the types of TOML and YAML parsers, and values in a plugin have those of the JSON parser.
func TestDecode_EveryKindOfField(t *testing.T) {
	for name, test := range map[string]struct {
		read  func(any) (string, error)
		value any
		want  string
	}{
		"string":          {holds[string], "a", `"a"`},
		"named string":    {holds[named], "a", `"a"`},
		"bool":            {holds[bool], true, `true`},
		"int":             {holds[int], int64(-5), `-5`},
		"int8":            {holds[int8], int64(-5), `-5`},
		"int64":           {holds[int64], json.Number("9007199254740993"), `9007199254740993`},
		"uint":            {holds[uint], int64(5), `5`},
		"uint8":           {holds[uint8], json.Number("255"), `255`},
		"uint16":          {holds[uint16], int64(65535), `65535`},
		"uint16 as text":  {holds[uint16], "8080", `8080`},
		"uint16 as float": {holds[uint16], float64(80), `80`},
		"named uint16":    {holds[namedPort], int64(443), `443`},
		"uint32":          {holds[uint32], int64(1), `1`},
		"uint64":          {holds[uint64], json.Number("18446744073709551615"), `18446744073709551615`},
		"float32":         {holds[float32], 0.5, `0.5`},
		"float64":         {holds[float64], json.Number("0.25"), `0.25`},
		"duration":        {holds[time.Duration], "1m", `60000000000`},
		"pointer":         {holds[*uint16], int64(80), `80`},
		"pointer to none": {holds[*uint16], nil, `null`},
		"two pointers":    {holds[**string], "a", `"a"`},
		"duration behind a pointer": {
			holds[*time.Duration], "1s", `1000000000`,
		},
		"slice":            {holds[[]int], []any{int64(1), int64(2)}, `[1,2]`},
		"slice as text":    {holds[[]string], "a,b", `["a","b"]`},
		"slice of structs": {holds[[]inner], []any{map[string]any{"deep": int64(1)}}, `[{"deep":1}]`},
		"array":            {holds[[2]uint16], []any{int64(1), int64(2)}, `[1,2]`},
		"map":              {holds[map[string]uint8], map[string]any{"a": int64(1)}, `{"a":1}`},
		"map of slices":    {holds[map[string][]string], map[string]any{"a": []any{"b"}}, `{"a":["b"]}`},
		"map of durations": {holds[map[string]time.Duration], map[string]any{"a": "1us"}, `{"a":1000}`},
		"named map keys":   {holds[map[named]int], map[string]any{"a": int64(1)}, `{"a":1}`},
		"map keys that read themselves": {
			holds[map[netip.Addr]int], map[string]any{"10.0.0.1": int64(1)}, `{"10.0.0.1":1}`,
		},
		"struct":              {holds[inner], map[string]any{"deep": int64(3)}, `{"deep":3}`},
		"struct by a pointer": {holds[*inner], map[string]any{"deep": int64(3)}, `{"deep":3}`},
		"recursive struct": {
			holds[*tree],
			map[string]any{"name": "a", "children": []any{map[string]any{"name": "b"}}},
			`{"name":"a","children":[{"name":"b","children":null,"by_name":null}],"by_name":null}`,
		},
		"any": {
			holds[any], map[string]any{"a": json.Number("1"), "b": []any{json.Number("0.5")}}, `{"a":1,"b":[0.5]}`,
		},
		"address":                   {holds[netip.AddrPort], "10.0.0.1:80", `"10.0.0.1:80"`},
		"expression by its pointer": {holds[*regexp.Regexp], "^a$", `"^a$"`},
		"level":                     {holds[slog.Level], "WARN", `"WARN"`},
		"time":                      {holds[time.Time], "2024-01-02T03:04:05Z", `"2024-01-02T03:04:05Z"`},
		"time in process": {
			holds[time.Time], time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), `"2024-01-02T03:04:05Z"`,
		},
		"exact float": {holds[int64], float64(1<<53 - 1), "9007199254740991"},
		"large float": {holds[float64], float64(1 << 60), "1152921504606847000"},
		"raw JSON":    {holds[json.RawMessage], map[string]any{"a": true}, `{"a":true}`},
	} {
		got, err := test.read(test.value)
		if err != nil || got != test.want {
			t.Errorf("%s: %v became %s, %v; want %s", name, test.value, got, err, test.want)
		}
	}
}

func TestDecode_UnsuitableValue(t *testing.T) {
	for name, test := range map[string]struct {
		read  func(any) (string, error)
		value any
	}{
		"too large for uint16":  {holds[uint16], int64(65536)},
		"negative for uint16":   {holds[uint16], int64(-1)},
		"negative text":         {holds[uint16], "-1"},
		"broken for uint":       {holds[uint], 1.5},
		"inexact float":         {holds[int64], float64(1 << 53)},
		"negative and inexact":  {holds[int64], -float64(1 << 53)},
		"inexact for uint":      {holds[uint64], float64(1 << 60)},
		"text for uint":         {holds[uint], "many"},
		"nothing for uint":      {holds[uint], nil},
		"too large for uint64":  {holds[uint64], json.Number("18446744073709551616")},
		"too large for int8":    {holds[int8], int64(128)},
		"too large for float32": {holds[float32], 1e300},
		"no number":             {holds[float64], "NaN"},
		"behind a pointer":      {holds[*uint8], int64(256)},
		"in a slice":            {holds[[]uint16], []any{int64(65536)}},
		"short array":           {holds[[2]int], []any{int64(1)}},
		"in a map":              {holds[map[string]uint8], map[string]any{"a": int64(256)}},
		"key of a map":          {holds[map[netip.Addr]int], map[string]any{"x": int64(1)}},
		"in a struct":           {holds[*inner], map[string]any{"deep": "x"}},
		"unknown in a struct":   {holds[[]*inner], []any{map[string]any{"dep": int64(1)}}},
		"table for a duration":  {holds[time.Duration], map[string]any{}},
		"expression":            {holds[*regexp.Regexp], "("},
	} {
		_, err := test.read(test.value)
		faults, ok := errors.AsType[Faults](err)
		if !ok || len(faults) != 1 || len(faults[0].Key) < len("value") {
			t.Errorf("%s: %v gives %v", name, test.value, err)
		}
	}
}

type common struct {
	Directory string `json:"directory"`
	Note      string
}

func TestDecode_EmbeddedStruct(t *testing.T) {
	var cfg struct {
		common
		Port uint16 `json:"port"`
	}
	if err := Decode(Block{"directory": "f", "port": int64(80)}, &cfg); err != nil || cfg.Directory != "f" || cfg.Port != 80 {
		t.Errorf("got %+v, %v", cfg, err)
	}
	err := Decode(Block{"directry": "f"}, &cfg)
	if want := (Faults{{"directry", "is not a known key; did you mean directory?"}}); !cmp.Equal(err, error(want)) {
		t.Errorf("got %v", err)
	}
}

// Decoding must not change a default behind a pointer, which the next configuration shares.
func TestDecode_DefaultsBehindPointers(t *testing.T) {
	type config struct {
		Nested *nestedPair `json:"nested"`
	}
	defaults := config{&nestedPair{A: "a", B: "b"}}
	cfg := defaults
	if err := Decode(Block{"nested": map[string]any{"a": "x"}}, &cfg); err != nil {
		t.Fatal(err)
	}
	if *cfg.Nested != (nestedPair{"x", "b"}) || *defaults.Nested != (nestedPair{"a", "b"}) {
		t.Errorf("got %+v; the default is %+v", *cfg.Nested, *defaults.Nested)
	}
}

type nestedPair struct {
	A string `json:"a"`
	B string `json:"b"`
}

func TestCheckConfig_UnusableTypes(t *testing.T) {
	for name, cfg := range map[string]any{
		"nothing": nil, "map": map[string]string{}, "pointer": &common{}, "number": 5,
		"channel": struct {
			C chan int `json:"c"`
		}{},
		"function": struct {
			F []func() `json:"f"`
		}{},
		"complex": struct {
			C complex128 `json:"c"`
		}{},
		"uintptr": struct {
			U *uintptr `json:"u"`
		}{},
		"interface": struct {
			E error `json:"e"`
		}{},
		"bytes": struct {
			B []byte `json:"b"`
		}{},
		"keys": struct {
			M map[int]string `json:"m"`
		}{},
		"struct without keys": struct {
			U url.URL `json:"u"`
		}{},
		"mutex": struct {
			M map[string]*sync.Mutex `json:"m"`
		}{},
		"not exported": reflect.Zero(reflect.StructOf([]reflect.StructField{
			{Name: "a", PkgPath: "p", Type: reflect.TypeFor[string](), Tag: `json:"a"`},
		})).Interface(),
		"no key": struct {
			A string `json:",omitempty"`
		}{},
		"one key twice": struct {
			common
			Other string `json:"directory"`
		}{},
		"embedded pointer": struct{ *common }{},
		"deep": struct {
			S []map[string]struct {
				C chan int `json:"c"`
			} `json:"s"`
		}{},
	} {
		if err := CheckConfig(cfg); err == nil {
			t.Errorf("%s: %T is taken", name, cfg)
		}
	}
	for _, cfg := range []any{struct{}{}, common{}, blockConfig{}, tree{}} {
		if err := CheckConfig(cfg); err != nil {
			t.Error(err)
		}
	}
}
