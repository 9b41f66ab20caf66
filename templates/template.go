package templates

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"text/template"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Template is a compiled set. It never changes, and any number of goroutines may render with it. What it remembers of its last
// rendering makes the next one faster, and nothing else.
type Template struct {
	cfg     Config
	sources []source
	set     *template.Template
	calls   map[string]bool // the functions that any of its templates calls
	chance  *chance
	memo    *memo
	bounds  bounds
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
// and the snapshot, as far as the template's own functions are; see [Template.Vary]. The order of instances in snap does not
// matter. It stops early when ctx is done, and by itself where a template would go on and on.
//
// notes are sentences about the data that a person should see, such as an instance that had to be left out; their order
// does not vary either. They are returned beside an error too, which is an [*Error].
func (t *Template) Render(ctx context.Context, snap sdk.Snapshot) (files []sdk.File, notes []string, err error) {
	known, giveBack := t.memo.take()
	defer giveBack()
	v := known.view(snap)
	r, end := t.newRun(ctx, v, t.set)
	defer end()
	defer t.chance.endRun()
	r.memo = known
	defer func() { known.forget(err != nil) }()
	if files, err = r.files(); err != nil {
		return nil, v.notes, t.explain(ctx, v, err)
	}
	return files, v.notes, nil
}

// A run is one rendering of one document. It belongs to one goroutine.
type run struct {
	*view
	*budget
	cfg      Config
	at       time.Time // what now returns
	set      *template.Template
	outputs  []string
	trace    *trace // nil where nobody asks
	chance   *chance
	drawn    map[string]int // how often each call was made whose result is kept
	varied   string         // the function that returns something else than usual
	out      *bytes.Buffer  // what is written of a file, but for what is included
	memo     *memo          // nil where every round is done
	captures []*capture     // of the rounds that are being done; nil for one that is not to be kept
	kept     []any
	attempts []*attempt  // that are under way, from the outermost in
	failed   func(error) // takes the failure of an attempt; nil where none is made
	lookup   func(host string) ([]string, error)
}

// newRun returns a run that ends with ctx. Call the function that it returns when it is over.
func (t *Template) newRun(ctx context.Context, v *view, set *template.Template) (*run, context.CancelFunc) {
	b, end := newBudget(ctx, t.bounds)
	// Rounding drops the monotonic reading, which templates would print.
	r := &run{
		view: v, budget: b, cfg: t.cfg, outputs: t.outputs(), at: t.cfg.Now().UTC().Round(0),
		chance: t.chance, drawn: map[string]int{},
		lookup: func(host string) ([]string, error) { return net.DefaultResolver.LookupHost(ctx, host) },
	}
	if t.isByChance() {
		r.trace = &trace{}
	}
	// Functions look at the snapshot, so every run binds its own. A clone shares the parsed templates.
	r.set = template.Must(set.Clone()).Funcs(r.bind(t.calls))
	return r, end
}

// outputs returns the names of the files to render, in order.
func (t *Template) outputs() []string {
	var names []string
	for _, src := range t.sources[:1+len(t.cfg.Files)] {
		names = append(names, src.name)
	}
	return names
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
		files = append(files, sdk.File{Name: name, Content: r.endLastLine(content)})
		r.trace.endFile()
	}
	return files, nil
}

// endLastLine adds the newline that content lacks at its end: HAProxy takes a file without one for cut off. What is empty stays
// empty.
func (r *run) endLastLine(content []byte) []byte {
	if len(content) == 0 || content[len(content)-1] == '\n' {
		return content
	}
	r.trace.endLine()
	return append(content, '\n')
}

func (r *run) execute(name string, data any) (content []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("template %s stopped with a fault: %v", name, p)
		}
	}()
	r.out = r.memo.buffer(name)
	if err := r.set.ExecuteTemplate(&writer{run: r, to: r.out}, name, data); err != nil {
		return nil, err
	}
	r.memo.noteLength(name, r.out.Len())
	return r.out.Bytes(), nil
}

// include renders the named template into a string.
func (r *run) include(name string, data any) (string, error) {
	if r.set.Lookup(name) == nil {
		missing := failf("there is no template called %q", name)
		missing.hint = hintTemplate(name, templateNames(r.set))
		return "", missing
	}
	if err := r.step(); err != nil {
		return "", err
	}
	if r.includes == maxInclude {
		return "", runawayf("include goes %d levels deep: does %q include itself?", maxInclude, name)
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
		return "", runawayf("templates go %d levels deep: does this one call itself without an end?", maxDepth)
	}
	r.depth++
	return "", nil
}

func (r *run) ascend() string {
	r.depth--
	return ""
}

var errNoValue = &failure{
	sentence: "a value that does not exist is printed", hint: "give one with default, or test for it with if",
}
