package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// reapEvery is the time between two looks for processes that ended. What this program started itself is collected by who started
// it as soon as it ends, so what is still there at the next look is nobody's.
const reapEvery = 2 * time.Second

// reapOrphans collects ended processes that others left behind, as process 1 of a container has to, until ctx is done.
func reapOrphans(ctx context.Context) {
	var before map[zombie]bool
	for {
		now := zombies()
		for z := range now {
			if before[z] {
				_, _ = syscall.Wait4(z.pid, nil, syscall.WNOHANG, nil) // another goroutine may have collected it
			}
		}
		before = now
		if !sleep(ctx, reapEvery) {
			return
		}
	}
}

// A zombie is a child that ended and was not collected. The time of its start tells it from a later one with its pid.
type zombie struct {
	pid     int
	started string
}

func zombies() map[zombie]bool {
	all := map[zombie]bool{}
	self := strconv.Itoa(os.Getpid())
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // only a wrong pattern is an error
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name, in brackets, may have anything in it.
		name := bytes.LastIndexByte(content, ')')
		const state, parent, start = 0, 1, 19
		fields := bytes.Fields(content[name+1:])
		if name < 0 || len(fields) <= start || string(fields[state]) != "Z" || string(fields[parent]) != self {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			all[zombie{pid, string(fields[start])}] = true
		}
	}
	return all
}
