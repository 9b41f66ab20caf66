// Package sourcemap records where the lines of a document come from: from which line of a template, and from the range over which
// service or instance.
//
// It edits templates so that they report to a [Recorder] while they are executed. It knows parse trees, services and instances.
// It does not execute templates, and it does not know their functions, files and errors.
package sourcemap

import (
	"bytes"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// An Origin is where a line of a document comes from.
//
// Its position is that of the last node of a template that wrote something visible of the line. What an include returns keeps
// its own positions, unless lines are added or removed on the way.
//
// Its owner is what the line is about, according to the ranges: the instance, if one instance's iteration wrote a part of it;
// the service, if only its own iteration or those of several of its instances did; none, if several services did.
type Origin struct {
	Template string        // the template's path, as configured; empty for a line on which nothing is visible
	Line     int           // of the template, from 1
	Service  string        // empty for none
	Instance *sdk.Instance // of that service; nil for none
}

// A Recorder follows one execution of instrumented templates: it knows which elements their ranges are at and, if it was made
// with positions, the origins of the lines that they write. It is for one goroutine.
type Recorder struct {
	elements []any // of the ranges that are being executed, from the outermost; nil before the first iteration

	positions []Position // nil where lines are of no interest
	node      int        // the one that writes
	lines     []line     // of what is being written
	included  []line     // of what was included since the node started
	files     [][]Origin
}

// NewRecorder returns a Recorder for templates whose nodes are at positions, which [InstrumentNodes] returns. For nil it does not
// record origins.
func NewRecorder(positions []Position) *Recorder { return &Recorder{positions: positions} }

// EnterRange is called before a range, and returns an empty text for its action.
func (r *Recorder) EnterRange() string {
	r.elements = append(r.elements, nil)
	return ""
}

// Iterate is called at the start of an iteration of the innermost range.
func (r *Recorder) Iterate(element any) { r.elements[len(r.elements)-1] = element }

// LeaveRange is called after a range, and returns an empty text for its action.
func (r *Recorder) LeaveRange() string {
	r.elements = r.elements[:len(r.elements)-1]
	return ""
}

// Depth returns the number of ranges that are being executed.
func (r *Recorder) Depth() int { return len(r.elements) }

// Unwind is called after a failure in inner ranges: execution goes on where the depth was the given one.
func (r *Recorder) Unwind(depth int) { r.elements = r.elements[:depth] }

// Owner returns the service and the instance that the innermost range over either is at: an empty service for none, and no
// instance where that range is over the services.
func (r *Recorder) Owner() (service string, instance *sdk.Instance) {
	for i := len(r.elements) - 1; i >= 0; i-- {
		if service, instance, ok := OwnerOf(r.elements[i]); ok {
			return service, instance
		}
	}
	return "", nil
}

// OwnerOf returns the service and the instance that an element of a range is, and false if it is neither.
func OwnerOf(element any) (service string, instance *sdk.Instance, ok bool) {
	switch e := element.(type) {
	case sdk.Instance:
		return e.Name, &e, true
	case []sdk.Instance:
		if len(e) > 0 {
			return e[0].Name, nil, true
		}
	}
	return "", nil, false
}

// Node is called before the node with that number writes, and returns an empty text for its action.
func (r *Recorder) Node(number int) string {
	r.node, r.included = number, nil
	return ""
}

// A line is what is known so far of a line that is being written.
type line struct {
	Origin
	services, instances bool // there are several
}

// add records that o wrote something visible.
func (l *line) add(o Origin) {
	l.Template, l.Line = o.Template, o.Line
	switch {
	case o.Service == "" || l.services:
	case l.Service == "":
		l.Service, l.Instance = o.Service, o.Instance
	case l.Service != o.Service:
		l.services, l.Service, l.Instance = true, "", nil
	case o.Instance == nil || l.instances:
	case l.Instance == nil:
		l.Instance = o.Instance
	case l.Instance.Hostname != o.Instance.Hostname || l.Instance.ID != o.Instance.ID:
		l.instances, l.Instance = true, nil
	}
}

// Wrote records the lines of p, which the current node has written.
func (r *Recorder) Wrote(p []byte) {
	if r.positions == nil {
		return
	}
	segments := bytes.Split(p, []byte("\n"))
	for i, segment := range segments {
		if i > 0 || len(r.lines) == 0 {
			r.lines = append(r.lines, line{})
		}
		if len(bytes.TrimSpace(segment)) > 0 {
			r.lines[len(r.lines)-1].add(r.origin(i, len(segments)))
		}
	}
}

// origin returns the origin of one of the lines that the current node writes.
func (r *Recorder) origin(number, of int) Origin {
	p := r.positions[r.node]
	if !p.isText && len(r.included) == of && r.included[number].Template != "" {
		return r.included[number].Origin
	}
	o := Origin{Template: p.Path, Line: p.Line}
	if p.isText {
		o.Line += number
	}
	o.Service, o.Instance = r.Owner()
	return o
}

// Include records the lines of what is rendered into a string from here to the call of the function that it returns. The node
// that includes it is likely to write just that.
func (r *Recorder) Include() (end func()) {
	lines, node := r.lines, r.node
	r.lines = nil
	return func() { r.included, r.lines, r.node = r.lines, lines, node }
}

// EndLine records that a newline was written by no node.
func (r *Recorder) EndLine() {
	if r.positions != nil {
		r.lines = append(r.lines, line{})
	}
}

// EndFile records that a file is complete: the lines of the next one follow.
func (r *Recorder) EndFile() {
	var origins []Origin
	for _, l := range r.lines {
		origins = append(origins, l.Origin)
	}
	r.files, r.lines = append(r.files, origins), nil
}

// Files returns the origins of the lines of each file that is complete, also of the empty line after its last newline.
func (r *Recorder) Files() [][]Origin { return r.files }
