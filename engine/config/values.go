package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Value is one key of the effective configuration.
type Value struct {
	Key    string `json:"key"`    // as TOML writes it
	Value  any    `json:"value"`  // string, bool, int64, float64, []any or map[string]any; secrets are masked
	Origin string `json:"origin"` // "default", the file, "environment NAME", "flag --NAME", or "file NAME" for a secret's own
}

// Text returns the value in JSON, which is TOML as well for all but tables.
func (v Value) Text() string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v.Value); err != nil {
		return fmt.Sprint(v.Value) // TOML and YAML have infinite numbers, JSON does not
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Values returns the effective configuration, sorted by key, for people to read. Secrets are masked as "***": what was read
// from a file of its own; what has token, password, secret, credential or key in its name and is no path of a file; the
// environment of plugins; the user part of addresses; and in a command or an address what stands after such a name.
//
// A pipeline's key that falls back to the table haproxy has the origin of the value there. What the tables sidecar and
// haproxy stand for in the general form is not repeated.
func (c *Config) Values() []Value { return slices.Clone(c.values) }

func (l *loader) values() []Value {
	var values []Value
	for key, at := range l.effective.KeyMap() {
		v := l.effective.Get(key)
		if m, isTable := v.(map[string]any); isTable && len(m) > 0 {
			continue
		}
		shown := masked(at, v)
		if slices.ContainsFunc(l.secrets, func(p path) bool { return slices.Equal(p, at) }) {
			shown = mask
		}
		values = append(values, Value{Key: path(at).String(), Value: shown, Origin: l.origin(at)})
	}
	slices.SortFunc(values, func(a, b Value) int { return cmp.Compare(a.Key, b.Key) })
	return values
}

const mask = "***"

var (
	secretName = regexp.MustCompile(`(?i)passw|passphrase|secret|token|credential|key`)
	pathName   = regexp.MustCompile(`(?i)[_-](file|path|dir)s?$|^tls_key$`)
	userPart   = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s]*@`)
	assignment = regexp.MustCompile(`(?i)([\w.-]*(?:passw|passphrase|secret|token|credential|key)[\w.-]*` +
		`(?:=|:\s+|["']\s*:\s*)["']?|\b(?:bearer|basic)\s+)[^\s&"',}]+`)
)

// secret reports whether what stands at that path is nobody's business. Names that people choose say nothing of that.
func secret(at path) bool {
	for i, part := range at {
		chosen := i == 1 && slices.Contains([]string{"sources", "sinks", "plugins", "pipelines"}, at[0])
		if !chosen && secretName.MatchString(part) && !pathName.MatchString(part) {
			return true
		}
	}
	return len(at) > 2 && at[0] == "plugins" && at[2] == "env"
}

// masked returns v without its secrets.
func masked(at path, v any) any {
	switch v := v.(type) {
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = masked(at, item)
		}
		return items
	case map[string]any:
		content := make(map[string]any, len(v))
		for name, inner := range v {
			content[name] = masked(at.with(name), inner)
		}
		return content
	case string:
		if v == "" || !secret(at) {
			return assignment.ReplaceAllString(userPart.ReplaceAllString(v, "${1}"+mask+"@"), "${1}"+mask)
		}
		return mask
	default:
		if secret(at) {
			return mask
		}
		return v
	}
}

const maxShown = 80

// shown returns a value that was found at that path as part of a sentence: short, on one line, without secrets.
func shown(at path, v any) string {
	switch v := masked(at, v).(type) {
	case string:
		return strconv.Quote(clipped(v))
	case []any:
		return clipped(Value{Value: v}.Text())
	case map[string]any:
		return "a table"
	default:
		return fmt.Sprint(v)
	}
}

func clipped(text string) string {
	if runes := []rune(text); len(runes) > maxShown {
		return string(runes[:maxShown]) + "…"
	}
	return text
}
