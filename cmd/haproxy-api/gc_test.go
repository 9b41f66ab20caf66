package main

import (
	"runtime/debug"
	"testing"
)

// The environment has precedence.
func TestSetGCPercent(t *testing.T) {
	const other = 123
	for env, want := range map[string]int{"": gcPercent, "123": other} {
		t.Setenv("GOGC", env)
		before := debug.SetGCPercent(other)
		setGCPercent()
		if got := debug.SetGCPercent(before); got != want {
			t.Errorf("GOGC=%q: %d, want %d", env, got, want)
		}
	}
}
