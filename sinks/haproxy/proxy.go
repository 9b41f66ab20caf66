package haproxy

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// A proxy is one HAProxy, however it is run. Its methods are called by one goroutine at a time, except for find and
// probe, which change nothing.
type proxy interface {
	// find says what runs now. It is an error when that cannot be known, not when nothing runs.
	find(ctx context.Context) (running, error)

	// renew makes HAProxy serve the files that are on disk: a running one is told to, a missing one is started. It
	// returns nil only when HAProxy was seen to serve them. It has no time limit but ctx, because loading a large
	// configuration may take long and giving up on it early would only start it over.
	renew(ctx context.Context) (renewal, error)

	// invocation says how HAProxy will load the files on disk, for the check.
	invocation(ctx context.Context) (invocation, error)

	// endpoint says where the HAProxy that was found takes commands that change it while it runs. It is an error where
	// there is no such place.
	endpoint(now running) (runtimeapi.Endpoint, error)

	// said returns what HAProxy has logged since it was last told to load something, as far as that can be known.
	said() []string

	// sharesNetwork reports whether the HAProxy that was found, or the one that renew starts, is known to be in our network
	// namespace, so that it can listen where we can.
	sharesNetwork(now running) bool

	// probe says what is wrong with the HAProxy that runs, within a second.
	probe(ctx context.Context) sdk.Health
}

// running is what is known of a running HAProxy; the zero value means that none runs.
type running struct {
	pids    []int // the processes that stand for it: the master, or those in the pid file
	worker  int   // the worker that serves, where there is a master that says so
	old     []int // workers that finish what they have
	version string
	unseen  bool // it runs where no process of it can be seen from here, and a command is trusted to reload it
}

func (r running) none() bool { return len(r.pids) == 0 && !r.unseen }

// pid returns the process that serves, and 0 where there is not just one.
func (r running) pid() int {
	if r.worker != 0 || len(r.pids) != 1 {
		return r.worker
	}
	return r.pids[0]
}

// stands reports, cheaply, whether the processes are still there. Their ids were verified when r was made.
func (r running) stands() bool {
	return r.unseen || slices.ContainsFunc(r.pids, procinfo.Exists) && (r.worker == 0 || procinfo.Exists(r.worker))
}

// same reports whether r and other are the same processes, so that they still serve what they served.
func (r running) same(other running) bool {
	return !r.none() && slices.Equal(r.pids, other.pids) && r.worker == other.worker && r.unseen == other.unseen
}

func (r running) facts() map[string]string {
	facts := map[string]string{}
	if !r.none() {
		facts["pid"] = joinPids(r.pids)
	}
	if r.worker != 0 {
		facts["worker"] = strconv.Itoa(r.worker)
	}
	if len(r.old) > 0 {
		facts["old_workers"] = joinPids(r.old)
	}
	if r.version != "" {
		facts["version"] = r.version
	}
	return facts
}

func joinPids(pids []int) string {
	words := make([]string, len(pids))
	for i, pid := range pids {
		words[i] = strconv.Itoa(pid)
	}
	return strings.Join(words, " ")
}

// A renewal is a successful renew.
type renewal struct {
	now    running
	action string // one of the sdk's
	why    string // why that action and not a lesser one; empty for a reload
	log    []string
}

// A refusal is HAProxy's answer that it did not take the files over, with what it logged.
type refusal struct {
	sentence string
	log      []string
}

func (r *refusal) Error() string {
	if words := messages.Causes(r.log); len(words) > 0 {
		return r.sentence + ": " + messages.Quote(words)
	}
	return r.sentence
}

// detailsOf returns what HAProxy logged when it refused.
func detailsOf(err error) []string {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.log
	}
	return nil
}
