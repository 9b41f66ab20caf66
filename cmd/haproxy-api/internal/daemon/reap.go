package daemon

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// reapInterval is the time between two searches for processes that ended. The code that starts a process waits for it and reaps
// it as soon as it ends, so a process that is still there at the next search is an orphan.
const reapInterval = 2 * time.Second

// ReapOrphans reaps the ended processes that other processes left behind, until ctx is done. Process 1 of a container must do
// this.
func ReapOrphans(ctx context.Context) { reap(ctx, zombies) }

// reap is ReapOrphans with a function that finds the processes that ended.
func reap(ctx context.Context, search func() map[zombie]bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var before map[zombie]bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := search()
		for z := range now {
			if before[z] {
				_, _ = syscall.Wait4(z.pid, nil, syscall.WNOHANG, nil) // another goroutine may have reaped it
			}
		}
		before = now
		timer.Reset(reapInterval) // after the search, which may take longer than that on a busy machine
	}
}

// A zombie is a child process that ended and was not reaped. Its start time distinguishes it from a later process with its pid.
type zombie struct {
	pid     int
	started string
}

func zombies() map[zombie]bool {
	all := map[zombie]bool{}
	self := strconv.Itoa(os.Getpid())
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // only a malformed pattern is an error
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The process name is in parentheses and can contain any character.
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
