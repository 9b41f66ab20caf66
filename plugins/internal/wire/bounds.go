package host

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The bounds of what a plugin can tell. A faulty one must neither fill the daemon's memory, log and status, nor pass for
// something else. What is longer is cut, and what is more is left out; a message that is too large is an error of its call.
const (
	maxName       = 64        // bytes of the name and the version of a plugin, and of the name of a fact
	maxSentence   = 2 << 10   // bytes of a reason, a detail, a problem, a fact, a fault, and of a problem at a place
	maxError      = 8 << 10   // bytes of an error
	maxDetails    = 100       // of a result
	maxProblems   = 50        // of health
	maxFacts      = 64        // of health
	maxFaults     = 100       // of a configuration block
	maxPlaces     = 20_000    // of a rejection
	maxRetryAfter = time.Hour // that a plugin may put a document off for at a time

	maxAnswer   = 16 << 20  // bytes of an answer on the wire
	maxSnapshot = 32 << 20  // bytes of a snapshot on the wire
	maxDecoded  = 128 << 20 // bytes that one message takes in memory, about

	// lostEvery is the least time between two documents that a sink reports as lost.
	lostEvery = time.Second

	maxLogLine  = 8 << 10   // bytes of a line of a plugin's log; a longer one arrives in pieces
	maxLogLines = 500       // lines in logWindow
	maxLogBytes = 256 << 10 // bytes in logWindow
	logWindow   = 10 * time.Second
)

// clip returns text, or its beginning where it is longer than limit bytes.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// clipAll returns list with what is longer or more than its bounds left out; the last element says how much that is.
func clipAll(list []string, limit int) []string {
	var all []string
	for _, text := range list[:min(len(list), limit)] {
		all = append(all, clip(text, maxSentence))
	}
	if more := len(list) - limit; more > 0 {
		all = append(all, strconv.Itoa(more)+" more")
	}
	return all
}

func infoFromWire(resp *wire.ConfigureResponse) sdk.Info {
	return sdk.Info{Name: clip(resp.GetName(), maxName), Version: clip(resp.GetVersion(), maxName)}
}

func faultsFromWire(list []*wire.Fault) sdk.Faults {
	var all sdk.Faults
	for _, f := range list[:min(len(list), maxFaults)] {
		all = append(all, sdk.Fault{Key: clip(f.GetKey(), maxSentence), Problem: clip(f.GetProblem(), maxSentence)})
	}
	if more := len(list) - maxFaults; more > 0 {
		all = append(all, sdk.Fault{Problem: strconv.Itoa(more) + " more"})
	}
	return all
}

// resultFromWire returns what the sink did in a call that took that long.
func resultFromWire(r *wire.Result, took time.Duration) sdk.Result {
	return sdk.Result{
		Action: actionFromWire(r.GetAction()), Reason: clip(r.GetReason(), maxSentence),
		Took: min(max(r.GetTook().AsDuration(), 0), took), Details: clipAll(r.GetDetails(), maxDetails),
	}
}

func actionFromWire(action string) string {
	switch action {
	case "", sdk.ActionUnchanged, sdk.ActionRuntime, sdk.ActionReload, sdk.ActionRestart, sdk.ActionWritten:
		return action
	}
	return sdk.ActionOther
}

func healthFromWire(resp *wire.HealthResponse) sdk.Health {
	return sdk.Health{Problems: clipAll(resp.GetProblems(), maxProblems), Facts: factsFromWire(resp.GetFacts())}
}

// factsFromWire leaves out those that the host itself tells about the program.
func factsFromWire(table map[string]string) map[string]string {
	facts := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if len(facts) == maxFacts {
			break
		}
		if name == "plugin" || strings.HasPrefix(name, "plugin_") {
			continue
		}
		facts[clip(name, maxName)] = clip(table[name], maxSentence)
	}
	return facts
}

func retryAfter(f *wire.Failure) time.Duration {
	return min(max(f.GetRetryAfter().AsDuration(), 0), maxRetryAfter)
}

func placesFromWire(list []*wire.Place) []sdk.Place {
	var all []sdk.Place
	for _, p := range list[:min(len(list), maxPlaces)] {
		all = append(all, sdk.Place{
			File: clip(p.GetFile(), maxSentence), Path: clip(p.GetPath(), maxSentence), Line: int(max(p.GetLine(), 0)),
			Problem: clip(p.GetProblem(), maxSentence),
		})
	}
	return all
}
