package templates

import (
	"context"
	"slices"
	"strconv"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A trace knows which elements the ranges of a running template are at, from the outermost in, and in a run for that purpose
// where the lines that it writes come from.
type trace struct {
	elements []any

	marks    []mark     // nil where lines are of no interest
	marked   int        // the node that writes
	lines    []line     // of what is being written
	included []line     // of what was included since the mark
	ended    [][]Origin // by file
}

func (t *trace) enter() string {
	t.elements = append(t.elements, nil)
	return ""
}

func (t *trace) at(element any) { t.elements[len(t.elements)-1] = element }

func (t *trace) leave() string {
	t.elements = t.elements[:len(t.elements)-1]
	return ""
}

// innermost names the service or instance that the template was at, "" where it was at none.
func (t *trace) innermost() string {
	if t == nil {
		return ""
	}
	for _, element := range slices.Backward(t.elements) {
		if name := elementName(element); name != "" {
			return name
		}
	}
	return ""
}

func elementName(element any) string {
	switch e := element.(type) {
	case sdk.Instance:
		return describe(e)
	case []sdk.Instance:
		if len(e) > 0 {
			return "service " + strconv.Quote(e[0].Name)
		}
	}
	return ""
}

// explain finds out where a rendering of v went wrong and with what, for every iteration that fails. It renders again, with a set
// that keeps track of that; doing so always would cost every rendering.
func (t *Template) explain(ctx context.Context, v *view, failure error) *Error {
	traced, err := compile(t.cfg, t.sources, true)
	if err != nil || ctx.Err() != nil { // it compiled before
		return t.locate(v, failure, "")
	}
	contain(traced)
	r, end := t.newRun(ctx, v, traced)
	defer end()
	r.trace = &trace{}
	var failed []*Error
	r.failed = func(err error) { failed = append(failed, t.locateTraced(r, err)) }
	if _, err := r.files(); err != nil {
		r.failed(err)
	}
	if len(failed) == 0 { // a template with the time in it may fail only sometimes
		return t.locate(v, failure, "")
	}
	first := failed[0]
	for _, other := range failed[1:] {
		if other.Service != "" {
			first.Further = append(first.Further, other)
		}
	}
	return first
}

// locateTraced is locate for a failure of a traced run at the moment.
func (t *Template) locateTraced(r *run, failure error) *Error {
	located := t.locate(r.view, failure, r.trace.innermost())
	located.Service, located.Instance = r.trace.owner()
	return located
}
