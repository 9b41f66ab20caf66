package haproxy

import (
	"fmt"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// repairQuietAfter is how long no other program has to change anything until it counts as having stopped.
const repairQuietAfter = 5 * time.Minute

// errRepairedAgain is the error of a program that changes the same again and again.
var errRepairedAgain = fmt.Errorf("it was changed again within %v", repairQuietAfter)

// repairs are what the sink has set back of one kind. Of a program that changes the same again and again, the sink logs the first
// change, that others follow, and when these have stopped. It is safe for concurrent use.
type repairs struct {
	repeated logdedup.Fault

	mu   sync.Mutex
	last time.Time
}

// add adds a repair. It reports whether it follows another one.
func (r *repairs) add() (again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	again = time.Since(r.last) < repairQuietAfter
	r.last = time.Now()
	return again
}

// stopped reports whether no repair was needed lately.
func (r *repairs) stopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.last) >= repairQuietAfter
}

// logRepairedServers logs that servers were set back, and with which error if not all of them were.
func (s *Sink) logRepairedServers(commands []sdk.Command, err error) {
	if s.serverRepairs.add() {
		s.serverRepairs.repeated.Warn(s.log, "another program changes servers in HAProxy again and again", errRepairedAgain,
			"commands", texts(commands))
		return
	}
	args := []any{"commands", texts(commands)}
	if err != nil {
		args = append(args, "error", err)
	}
	s.log.Warn("corrected servers that another program changed in HAProxy", args...)
}

// logRepairedFile logs that a file was restored.
func (s *Sink) logRepairedFile(path string) {
	if s.fileRepairs.add() {
		s.fileRepairs.repeated.Warn(s.log, "another program changes files again and again", errRepairedAgain, "file", path)
		return
	}
	s.log.Warn("restored files that were changed on disk", "file", path)
}

// logNoRepairs logs which repairs are no longer needed.
func (s *Sink) logNoRepairs() {
	if s.serverRepairs.stopped() {
		s.serverRepairs.repeated.Resolve(s.log, "no other program changes servers in HAProxy any more")
	}
	if s.fileRepairs.stopped() {
		s.fileRepairs.repeated.Resolve(s.log, "no other program changes the files any more")
	}
}
