package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode"
)

const (
	maxDepth  = 64
	maxValues = 100_000 // far more than any real configuration has, and far fewer than YAML aliases can multiply to
)

// A normalizer converts what the parsers return to the types that TOML, YAML and JSON have in common: string, bool, int64,
// float64, []any and map[string]any. Dates become strings. Keys without a value (null in YAML and JSON) are removed.
type normalizer struct {
	wholeFloats bool // whether whole float64 are meant as int64, because koanf's JSON parser has no other numbers
	left        int  // how many more values are allowed
}

func newNormalizer(wholeFloats bool) *normalizer {
	return &normalizer{wholeFloats: wholeFloats, left: maxValues}
}

func (n *normalizer) value(v any, depth int) (any, error) {
	n.left--
	if n.left < 0 {
		return nil, fmt.Errorf("contains more than %d values", maxValues)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("is nested more than %d levels deep", maxDepth)
	}
	switch v := v.(type) {
	case []any:
		return n.list(v, depth)
	case map[string]any:
		return n.table(v, depth)
	case map[any]any:
		content := make(map[string]any, len(v))
		for key, inner := range v {
			content[fmt.Sprint(key)] = inner
		}
		return n.table(content, depth)
	default:
		return n.scalar(v)
	}
}

func (n *normalizer) scalar(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int64:
		return v, nil
	case int:
		return int64(v), nil
	case json.Number:
		if whole, err := v.Int64(); err == nil {
			return whole, nil
		}
		return v.Float64()
	case float64:
		// From 2^53 on a float64 does not represent every whole number.
		if n.wholeFloats && v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v), nil
		}
		return v, nil
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		return string(text), err
	default:
		return nil, fmt.Errorf("contains %v, which is out of range", v)
	}
}

func (n *normalizer) list(items []any, depth int) ([]any, error) {
	normalized := make([]any, len(items))
	for i, item := range items {
		var err error
		if normalized[i], err = n.value(item, depth+1); err != nil {
			return nil, err
		}
	}
	return normalized, nil
}

func (n *normalizer) table(content map[string]any, depth int) (map[string]any, error) {
	normalized := make(map[string]any, len(content))
	for name, v := range content {
		if strings.ContainsFunc(name, unicode.IsControl) {
			return nil, fmt.Errorf("contains a control character in the key %q", name)
		}
		v, err := n.value(v, depth+1)
		if err != nil {
			return nil, err
		}
		if v != nil {
			normalized[name] = v
		}
	}
	return normalized, nil
}
