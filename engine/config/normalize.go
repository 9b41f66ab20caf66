package config

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
)

const (
	maxDepth  = 64
	maxValues = 100_000 // far above any real configuration, and far below what YAML's aliases can blow up to
)

// A plainer brings what the parsers return down to what TOML, YAML and JSON have in common: string, bool, int64,
// float64, []any and map[string]any. Dates become strings, and a key without a value (YAML's and JSON's null) is not
// there.
type plainer struct {
	wholeFloats bool // whole float64 are meant as int64: koanf's JSON parser knows no other numbers
	left        int
}

func newPlainer(wholeFloats bool) *plainer {
	return &plainer{wholeFloats: wholeFloats, left: maxValues}
}

func (p *plainer) value(v any, depth int) (any, error) {
	p.left--
	if p.left < 0 {
		return nil, fmt.Errorf("holds more than %d values", maxValues)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("is nested more than %d levels deep", maxDepth)
	}
	switch v := v.(type) {
	case []any:
		return p.list(v, depth)
	case map[string]any:
		return p.table(v, depth)
	case map[any]any:
		return p.table(stringKeys(v), depth)
	default:
		return p.scalar(v)
	}
}

func (p *plainer) scalar(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int64:
		return v, nil
	case int:
		return int64(v), nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case float64:
		// From 2^53 on a float64 no longer knows which whole number was written.
		if p.wholeFloats && v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v), nil
		}
		return v, nil
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		return string(text), err
	default:
		return nil, fmt.Errorf("holds %v, which is out of range", v)
	}
}

func (p *plainer) list(items []any, depth int) (any, error) {
	plain := make([]any, len(items))
	for i, item := range items {
		var err error
		if plain[i], err = p.value(item, depth+1); err != nil {
			return nil, err
		}
	}
	return plain, nil
}

func (p *plainer) table(content map[string]any, depth int) (any, error) {
	plain := make(map[string]any, len(content))
	for name, v := range content {
		if strings.ContainsFunc(name, unicode.IsControl) {
			return nil, fmt.Errorf("has a control character in the key %q", name)
		}
		v, err := p.value(v, depth+1)
		if err != nil {
			return nil, err
		}
		if v != nil {
			plain[name] = v
		}
	}
	return plain, nil
}

func stringKeys(content map[any]any) map[string]any {
	out := make(map[string]any, len(content))
	for k, v := range content {
		out[fmt.Sprint(k)] = v
	}
	return out
}

// tree returns content as a plain tree.
func (p *plainer) tree(content map[string]any) (map[string]any, error) {
	v, err := p.value(content, 0)
	if err != nil {
		return nil, err
	}
	tree, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("is not made of tables")
	}
	return tree, nil
}
