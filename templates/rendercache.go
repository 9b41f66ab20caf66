package templates

import (
	"bytes"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates/internal/rendercache"
)

// modifiers are the functions that modify their arguments, even .Vars, and the methods, even on the times of a snapshot. A set
// that uses one has no render cache: a replayed iteration modifies nothing.
var modifiers = []string{
	"set", "unset", "merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite",
	".UnmarshalText", ".UnmarshalJSON", ".UnmarshalBinary", ".GobDecode", ".Scan",
}

// A recording is an iteration that is executed and then kept.
type recording struct {
	rendercache.Iteration
	loop           int
	service        string
	start          int // of its output
	written, steps int // of the execution before it
}

// A cacheState is the state of a rendering that is about the render cache.
type cacheState struct {
	iterations int        // instrumented ranges that are being executed, one inside another
	recording  *recording // of the outermost one; nil if it is not to be cached
	replayed   []any      // the variables that the last replayed iteration assigned to
}

// beginIteration is [rendercache.FuncBegin]. It writes what a kept iteration wrote and returns false, or it starts recording and
// returns true. An iteration in an included template or one that calls itself is not kept: there it has other bounds.
func (x *execution) beginIteration(loop int, top, dot any, variables ...any) (execute bool, err error) {
	_, ofRoot := top.(root)
	instances, _ := dot.([]sdk.Instance)
	if x.cache == nil || !ofRoot || len(instances) == 0 || x.iterations+x.includes+x.depth > 0 ||
		!rendercache.AreScalars(variables) {
		x.iterations++
		return true, nil
	}
	service := instances[0].Name
	if kept := x.cache.Lookup(loop, service, variables, x.facts); kept != nil {
		x.replayed = kept.Assigned
		x.written += kept.Bytes
		x.stepped += kept.Steps
		_, _ = x.out.Write(kept.Output) // a buffer
		return false, x.exceeded()
	}
	x.iterations++
	x.recording = &recording{loop: loop, service: service, start: x.out.Len(), written: x.written, steps: x.stepped}
	x.recording.Variables, x.recording.Services = variables, map[string]rendercache.Service{service: x.facts(service)}
	return true, nil
}

// endIteration is [rendercache.FuncEnd]. It keeps the iteration that was recorded, if any.
func (x *execution) endIteration(assigned ...any) string {
	x.iterations--
	if rec := x.recording; rec != nil && x.iterations == 0 {
		x.recording = nil
		if rendercache.AreScalars(assigned) {
			rec.Output, rec.Assigned = bytes.Clone(x.out.Bytes()[rec.start:]), assigned
			rec.Bytes, rec.Steps = x.written-rec.written, x.stepped-rec.steps+1 // the result of this function is written, too
			x.cache.Store(rec.loop, rec.service, rec.Iteration)
		}
	}
	return ""
}

// dependOn records that the current iteration depends on what functions say of the service, and returns the service.
func (x *execution) dependOn(service string) string {
	if x.recording != nil {
		if _, known := x.recording.Services[service]; !known {
			x.recording.Services[service] = x.facts(service)
		}
	}
	return service
}

// facts returns all that functions say of the service. Templates may print the cluster and the source anywhere.
func (x *execution) facts(service string) rendercache.Service {
	return rendercache.Service{
		Instances: x.all[service],
		Facts:     [...]string{x.sanitizeName(service), x.ownedPorts[service], x.snap.Cluster, x.snap.Source},
	}
}

// isDeterministic reports whether the result of the function follows from its arguments and from what [execution.facts] returns.
func isDeterministic(function string) bool {
	const withoutTime = "date dateInZone date_in_zone htmlDate htmlDateInZone" // which take now for an argument that is no time
	return !isNondeterministic(function) && function != "source" && function != "call" &&
		!slices.Contains(strings.Fields(withoutTime), function)
}
