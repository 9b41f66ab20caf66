package templates

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Bounds for templates that have gone wild.
const (
	maxOutput  = 256 << 20 // bytes that all templates of a document write together, included ones counted each time
	maxInclude = 100       // include within include
	maxDepth   = 200       // templates that come back to themselves
)

// A Template is a compiled set. It never changes, and any number of goroutines may render with it.
type Template struct {
	cfg     Config
	sources []source
	set     *template.Template
	bound   int // of the output, in bytes
}

// root is what a template starts with as its dot.
type root struct {
	Services map[string][]sdk.Instance
	User     string
	Group    string
	Vars     map[string]any
	Cluster  string
	Source   string
}

// Render renders the document for snap: the main file, then the companions by name. It is a pure function of the set
// and the snapshot, as far as the template's own functions are. The order of instances in snap does not matter.
//
// notes are sentences about the data that a person should see, such as an instance that had to be left out; their order
// does not vary either. They are returned beside an error too, which is an [*Error].
func (t *Template) Render(snap sdk.Snapshot) (files []sdk.File, notes []string, err error) {
	v := newView(snap)
	r := t.newRun(v, t.set)
	if files, err = r.files(); err != nil {
		return nil, v.notes, t.explain(v, err)
	}
	return files, v.notes, nil
}

// A run is one rendering of one document. It belongs to one goroutine.
type run struct {
	*view
	cfg     Config
	bound   int
	at      time.Time // what now returns
	set     *template.Template
	outputs []string // names of the files to render, in order

	written  int
	includes int
	depth    int
	trace    *trace // nil but in a traced run
}

func (t *Template) newRun(v *view, set *template.Template) *run {
	// Rounding drops the monotonic reading, which templates would print.
	r := &run{view: v, cfg: t.cfg, bound: t.bound, at: t.cfg.Now().UTC().Round(0)}
	for _, src := range t.sources[:1+len(t.cfg.Files)] {
		r.outputs = append(r.outputs, src.name)
	}
	// Functions look at the snapshot, so every run binds its own. A clone shares the parsed templates.
	r.set = template.Must(set.Clone()).Funcs(r.functions())
	return r
}

func (r *run) files() ([]sdk.File, error) {
	var files []sdk.File
	for _, name := range r.outputs {
		content, err := r.execute(name, root{
			Services: r.live, User: r.cfg.User, Group: r.cfg.Group, Vars: copyVars(r.cfg.Vars),
			Cluster: r.snap.Cluster, Source: r.snap.Source,
		})
		if err != nil {
			return nil, err
		}
		files = append(files, sdk.File{Name: name, Content: content})
		r.trace.endFile()
	}
	return files, nil
}

func (r *run) execute(name string, data any) (content []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("template %s stopped with a fault: %v", name, p)
		}
	}()
	var out bytes.Buffer
	if err := r.set.ExecuteTemplate(&writer{run: r, to: &out}, name, data); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// include renders the named template into a string.
func (r *run) include(name string, data any) (string, error) {
	if r.set.Lookup(name) == nil {
		return "", failf("there is no template called %q; a file defines it with {{ define %q }}", name, name)
	}
	if r.includes == maxInclude {
		return "", failf("include goes %d levels deep: does %q include itself?", maxInclude, name)
	}
	r.includes++
	defer func() { r.includes-- }()
	defer r.trace.include()()
	var out strings.Builder
	err := r.set.ExecuteTemplate(&writer{run: r, to: &out}, name, data)
	return out.String(), err
}

func (r *run) descend() (string, error) {
	if r.depth == maxDepth {
		return "", failf("templates go %d levels deep: does this one call itself without an end?", maxDepth)
	}
	r.depth++
	return "", nil
}

func (r *run) ascend() string {
	r.depth--
	return ""
}

var errNoValue = failf("a value that does not exist is printed; give it with default, or test for it with if")

// tooLong returns an error once the output is.
func (r *run) tooLong() error {
	if r.written > r.bound {
		return failf("the output exceeds %d MiB: does a loop not end?", r.bound>>20)
	}
	return nil
}

// A writer passes on what a template writes, as long as that makes sense.
type writer struct {
	run *run
	to  io.Writer
}

// Write refuses what text/template prints for a missing map key: no configuration wants to contain that. text/template
// drops the place of an error that a writer returns, so in a traced run the hooks get the chance to be first.
func (w *writer) Write(p []byte) (int, error) {
	if string(p) == "<no value>" {
		return 0, errNoValue
	}
	w.run.written += len(p)
	if err := w.run.tooLong(); err != nil && (w.run.trace == nil || w.run.written > 2*w.run.bound) {
		return 0, err
	}
	w.run.trace.wrote(p)
	return w.to.Write(p)
}
