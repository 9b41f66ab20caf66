package config

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// delimiter joins the parts of a path for koanf. Names of files and services contain dots, so a dot would tear them
// apart; a NUL is refused in every key (see plain).
const delimiter = "\x00"

// A path leads to a key, or to a table.
type path []string

func (p path) key() string { return strings.Join(p, delimiter) }

func (p path) with(name string) path { return append(slices.Clone(p), name) }

// String returns p as TOML writes it, with quotes around parts that need them.
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

// parsePath is the inverse of [path.String]; a part without quotes may hold anything but dots.
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

// cutPart returns the first part of text, and what follows it: nothing, or a dot and the next part.
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
		return "", "", errors.New("is not a key: write table.key, with quotes around a part that has dots in it")
	}
	return part, rest, nil
}

// put stores v in tree under p. What stood there, or stood in the way, is gone.
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

// get returns what tree has under p.
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
