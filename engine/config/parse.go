package config

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
)

// The functions here say what a text from the environment or --set means. Each returns the text itself where it is
// not of its kind.

func asIs(text string) any { return text }

func asNumber(text string) any {
	trimmed := strings.TrimSpace(text)
	if n, err := strconv.ParseInt(trimmed, 10, 64); err == nil {
		return n
	}
	if x, err := strconv.ParseFloat(trimmed, 64); err == nil {
		return x
	}
	return text
}

func asBool(text string) any {
	if b, err := strconv.ParseBool(strings.TrimSpace(text)); err == nil {
		return b
	}
	return text
}

// asList takes a JSON list, or items with commas between them.
func asList(text string) any {
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		return jsonOr(text)
	}
	items := []any{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// listOrMap takes a JSON list or object; a number stays a string, since its owner knows best whether it is one.
func listOrMap(text string) any {
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "[") || strings.HasPrefix(trimmed, "{") {
		return jsonOr(text)
	}
	return text
}

func jsonOr(text string) any {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return text
	}
	if _, err := decoder.Token(); err != io.EOF {
		return text
	}
	if plainValue, err := newPlainer(false).value(v, 0); err == nil && plainValue != nil {
		return plainValue
	}
	return text
}
