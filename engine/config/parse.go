package config

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
)

// The functions in this file convert text from the environment or --set to a value as a file would have it. They return the text
// itself if it is not of their kind, so that decode reports it.

func parseString(text string) any { return text }

func parseNumber(text string) any {
	trimmed := strings.TrimSpace(text)
	if n, err := strconv.ParseInt(trimmed, 10, 64); err == nil {
		return n
	}
	if x, err := strconv.ParseFloat(trimmed, 64); err == nil {
		return x
	}
	return text
}

func parseBool(text string) any {
	if b, err := strconv.ParseBool(strings.TrimSpace(text)); err == nil {
		return b
	}
	return text
}

// parseList accepts a JSON list, or items separated by commas.
func parseList(text string) any {
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		return parseJSON(text)
	}
	items := []any{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// parseListOrTable accepts a JSON list or object. A number remains a string, because only the owner of the key knows its type.
func parseListOrTable(text string) any {
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "[") || strings.HasPrefix(trimmed, "{") {
		return parseJSON(text)
	}
	return text
}

// parseJSON accepts any JSON value but null.
func parseJSON(text string) any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return text
	}
	if _, err := decoder.Token(); err != io.EOF {
		return text
	}
	if normalized, err := newNormalizer(false).value(v, 0); err == nil && normalized != nil {
		return normalized
	}
	return text
}
