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
	Key    string `json:"key"`    // in TOML's syntax
	Value  any    `json:"value"`  // string, bool, int64, float64, []any or map[string]any; secrets are masked
	Origin string `json:"origin"` // "default", the file, "environment NAME", "flag --NAME", or "file NAME" for a secret in a file
}

// Text returns the value in JSON, which is also valid TOML for all types but tables.
func (v Value) Text() string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v.Value); err != nil {
		return fmt.Sprint(v.Value) // an infinite number, which JSON does not have
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Values returns the effective configuration, sorted by key. Secrets are masked as "***": values that were read from files of
// their own; values whose keys contain token, password, secret, credential or key and are not paths of files; the environment of
// plugins; the user part of URLs; and, within commands and URLs, the values that follow such a name.
//
// A key that a pipeline inherits from the table haproxy has the origin of the value there. The sources, sinks and pipelines that
// the tables sidecar and haproxy define are not listed again in the general form.
func (c *Config) Values() []Value { return slices.Clone(c.values) }

func (l *loader) values() []Value {
	var values []Value
	for key, at := range l.effective.KeyMap() {
		v := l.effective.Get(key)
		if m, isTable := v.(map[string]any); isTable && len(m) > 0 {
			continue
		}
		v = masked(at, v)
		if slices.ContainsFunc(l.secrets, func(p path) bool { return slices.Equal(p, at) }) {
			v = mask
		}
		values = append(values, Value{Key: path(at).String(), Value: v, Origin: l.origin(at)})
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

// isSecret reports whether the value at that path is a secret. Names that the user chooses do not count.
func isSecret(at path) bool {
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
		if v == "" || !isSecret(at) {
			return assignment.ReplaceAllString(userPart.ReplaceAllString(v, "${1}"+mask+"@"), "${1}"+mask)
		}
		return mask
	default:
		if isSecret(at) {
			return mask
		}
		return v
	}
}

const maxShown = 80

// quoteValue returns the value at that path for a message: shortened, on one line, and with secrets masked.
func quoteValue(at path, v any) string {
	switch v := masked(at, v).(type) {
	case string:
		return strconv.Quote(shorten(v))
	case []any:
		return shorten(Value{Value: v}.Text())
	case map[string]any:
		return "a table"
	default:
		return fmt.Sprint(v)
	}
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > maxShown {
		return string(runes[:maxShown]) + "…"
	}
	return text
}
