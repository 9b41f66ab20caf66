package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is the GOGC of the daemon and of the HAProxy plugin, unless the environment has another one. Go's default is 100.
// docs/performance.md says what this saves and costs.
const gcPercent = 75

// setGCPercent makes the garbage collector of this process run when the heap has grown by gcPercent.
func setGCPercent() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
