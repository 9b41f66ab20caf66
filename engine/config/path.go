package config

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// delimiter joins the parts of a path for koanf. It is not a dot, because names of files and services contain dots. No key
// contains a NUL: see normalizer.
const delimiter = "\x00"

// A path is the position of a key or a table in the configuration.
type path []string

func (p path) key() string { return strings.Join(p, delimiter) }

func (p path) with(name string) path { return append(slices.Clone(p), name) }

// String returns p in TOML's syntax, with quotes around parts that need them.
func (p path) String() string {
	parts := make([]string, len(p))
	for i, part := range p {
		parts[i] = part
		if !barePart.MatchString(part) {
			parts[i] = strconv.Quote(part)
		}
	}
	return strings.Join(parts, ".")
}

var (
	barePart   = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	quotedPart = regexp.MustCompile(`^"(?:[^"\\]|\\.)*"`)
)

// parsePath is the inverse of [path.String]. A part without quotes may contain any character but dots.
func parsePath(text string) (path, error) {
	var p path
	for {
		part, rest, err := cutPart(text)
		if err != nil {
			return nil, err
		}
		p = append(p, part)
		if rest == "" {
			return p, nil
		}
		text = rest[1:]
	}
}

// cutPart returns the first part of text and the rest, which is empty or begins with a dot.
func cutPart(text string) (part, rest string, err error) {
	if strings.HasPrefix(text, `"`) {
		quoted := quotedPart.FindString(text)
		part, err = strconv.Unquote(quoted)
		rest = text[len(quoted):]
	} else {
		end := strings.IndexByte(text+".", '.')
		part, rest = text[:end], text[end:]
	}
	if err != nil || part == "" || strings.Contains(part, delimiter) || (rest != "" && rest[0] != '.') {
		return "", "", errors.New("is not a key: write table.key, with quotes around parts that contain dots")
	}
	return part, rest, nil
}

// put stores v in tree at p. It replaces the previous value, and any value on the way that is not a table.
func put(tree map[string]any, p path, v any) {
	for _, name := range p[:len(p)-1] {
		next, ok := tree[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[name] = next
		}
		tree = next
	}
	tree[p[len(p)-1]] = v
}

// get returns the value in tree at p.
func get(tree map[string]any, p path) (v any, found bool) {
	v = tree
	for _, name := range p {
		table, _ := v.(map[string]any)
		if v, found = table[name]; !found {
			return nil, false
		}
	}
	return v, true
}
