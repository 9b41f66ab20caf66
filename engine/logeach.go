package engine

import (
	"context"
	"log/slog"
)

// maxLogLines bounds the log lines of one kind about one snapshot: a source could make them endless.
const maxLogLines = 10

// logEach logs message for each element of list, up to maxLogLines, with the attributes that attrs returns.
func logEach[T any](log *slog.Logger, level slog.Level, message string, list []T, attrs func(T) []any) {
	for _, e := range list[:min(len(list), maxLogLines)] {
		log.Log(context.Background(), level, message, attrs(e)...)
	}
	if more := len(list) - maxLogLines; more > 0 {
		log.Log(context.Background(), level, message, "more", more)
	}
}

// added returns the elements of now with keys that no element of before has.
func added[T any, K comparable](before, now []T, key func(T) K) []T {
	if len(now) == 0 {
		return nil
	}
	known := make(map[K]bool, len(before))
	for _, e := range before {
		known[key(e)] = true
	}
	var list []T
	for _, e := range now {
		if !known[key(e)] {
			list = append(list, e)
		}
	}
	return list
}
