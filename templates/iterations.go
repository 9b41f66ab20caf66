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

// beginIteration is [rendercache.FuncBegin]. It writes what a kept iteration wrote and returns false, or it starts recording and
// returns true. An iteration in an included template or one that calls itself is not kept: there it has other bounds.
func (r *run) beginIteration(loop int, top, dot any, variables ...any) (execute bool, err error) {
	_, ofRoot := top.(root)
	instances, _ := dot.([]sdk.Instance)
	if r.cache == nil || !ofRoot || len(instances) == 0 || r.iterations+r.includes+r.depth > 0 ||
		!rendercache.AreScalars(variables) {
		r.iterations++
		return true, nil
	}
	service := instances[0].Name
	if kept := r.cache.Lookup(loop, service, variables, r.facts); kept != nil {
		r.replayed = kept.Assigned
		r.written += kept.Bytes
		r.stepped += kept.Steps
		_, _ = r.out.Write(kept.Output) // a buffer
		return false, r.exceeded()
	}
	r.iterations++
	r.recording = &recording{loop: loop, service: service, start: r.out.Len(), written: r.written, steps: r.stepped}
	r.recording.Dependencies = rendercache.Dependencies{
		Variables: variables, Services: map[string]rendercache.Service{service: r.facts(service)},
	}
	return true, nil
}

// endIteration is [rendercache.FuncEnd]. It keeps the iteration that was recorded, if any.
func (r *run) endIteration(assigned ...any) string {
	r.iterations--
	if rec := r.recording; rec != nil && r.iterations == 0 {
		r.recording = nil
		if rendercache.AreScalars(assigned) {
			rec.Output, rec.Assigned = bytes.Clone(r.out.Bytes()[rec.start:]), assigned
			rec.Bytes, rec.Steps = r.written-rec.written, r.stepped-rec.steps+1 // the result of this function is written, too
			r.cache.Store(rec.loop, rec.service, rec.Iteration)
		}
	}
	return ""
}

// assigned is [rendercache.FuncAssigned], for the iteration that was replayed last.
func (r *run) assigned(number int) any { return r.replayed[number] }

// dependOn records that the current iteration depends on what functions say of the service, and returns the service.
func (r *run) dependOn(service string) string {
	if r.recording != nil {
		if _, known := r.recording.Dependencies.Services[service]; !known {
			r.recording.Dependencies.Services[service] = r.facts(service)
		}
	}
	return service
}

// facts returns all that functions say of the service. Templates may print the cluster and the source anywhere.
func (r *run) facts(service string) rendercache.Service {
	return rendercache.Service{
		Instances: r.all[service],
		Facts:     [...]string{r.sanitizeName(service), r.owns[service], r.snap.Cluster, r.snap.Source},
	}
}

// addCache gives t a render cache, unless it uses a modifier.
func (t *Template) addCache() {
	if !slices.ContainsFunc(modifiers, t.has) {
		rendercache.Instrument(t.set, t.outputs(), isDeterministic)
		t.cache = &rendercache.Cache{}
	}
}

// isDeterministic reports whether the result of the function follows from its arguments and from what [run.facts] returns.
func isDeterministic(function string) bool {
	const withoutTime = "date dateInZone date_in_zone htmlDate htmlDateInZone" // which take now for an argument that is no time
	return !isVolatile(function) && function != "source" && function != "call" &&
		!slices.Contains(strings.Fields(withoutTime), function)
}
