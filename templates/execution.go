package templates

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"text/template"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates/internal/hints"
	"github.com/haproxy-api/haproxy-api/templates/internal/rendercache"
	"github.com/haproxy-api/haproxy-api/templates/internal/sourcemap"
)

// An execution renders documents with one Template, one after the other. Functions depend on the snapshot, so each execution
// has a function table of its own, which is made once. It is for one goroutine at a time.
type execution struct {
	t            *Template
	set          *template.Template // with the functions of this execution
	instrumented bool               // set reports to the recorder
	cache        *rendercache.Cache // nil where nothing is cached
	last         *services          // of the last rendering; nil where nothing is cached
	sizes        map[string]int     // of the files of the last rendering, in bytes
	rendering
}

// A rendering is the state of an execution that is about one document.
type rendering struct {
	*services
	*budget
	externalInputs
	cacheState
	attemptState
	recorder *sourcemap.Recorder
	out      *bytes.Buffer // the current file, without what is being included
}

// newExecution returns an execution of set, which is the one of t or an instrumented one.
func (t *Template) newExecution(set *template.Template) *execution {
	x := &execution{t: t, sizes: map[string]int{}, instrumented: set != t.set || t.isRandom()}
	x.set = template.Must(set.Clone()).Funcs(x.functions()) // the parsed templates are shared
	return x
}

// begin starts a rendering of s, which ends with ctx. The caller calls end when it is over.
func (x *execution) begin(ctx context.Context, s *services) (end func()) {
	b, cancel := newBudget(ctx, x.t.bounds)
	x.rendering = rendering{
		services: s, budget: b, recorder: sourcemap.NewRecorder(nil),
		externalInputs: externalInputs{
			at:          x.t.cfg.Now().UTC().Round(0), // without the monotonic reading, which templates would print
			lookup:      func(host string) ([]string, error) { return net.DefaultResolver.LookupHost(ctx, host) },
			randomCalls: map[string]int{},
		},
	}
	return func() {
		cancel()
		x.rendering = rendering{}
	}
}

// files renders the files of the document.
func (x *execution) files() ([]sdk.File, error) {
	var files []sdk.File
	for _, name := range x.t.outputs() {
		content, err := x.execute(name, root{
			Services: x.usable, User: x.t.cfg.User, Group: x.t.cfg.Group, Vars: copyVars(x.t.cfg.Vars),
			Cluster: x.snap.Cluster, Source: x.snap.Source,
		})
		if err != nil {
			return nil, err
		}
		files = append(files, sdk.File{Name: name, Content: x.endLastLine(content)})
		x.recorder.EndFile()
	}
	return files, nil
}

// endLastLine adds the newline that content lacks at its end: HAProxy takes a file without one for truncated. Empty content stays
// empty.
func (x *execution) endLastLine(content []byte) []byte {
	if len(content) == 0 || content[len(content)-1] == '\n' {
		return content
	}
	x.recorder.EndLine()
	return append(content, '\n')
}

func (x *execution) execute(name string, data any) (content []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("template %s panicked: %v", name, p)
		}
	}()
	x.out = bytes.NewBuffer(make([]byte, 0, x.sizes[name]+x.sizes[name]/64)) // a little more than the last time
	if err := x.set.ExecuteTemplate(&writer{x, x.out}, name, data); err != nil {
		return nil, err
	}
	x.sizes[name] = x.out.Len()
	return x.out.Bytes(), nil
}

// include renders the named template into a string.
func (x *execution) include(name string, data any) (string, error) {
	if x.set.Lookup(name) == nil {
		missing := failf("there is no template called %q", name)
		missing.hint = hints.ForTemplate(name, templateNames(x.set))
		return "", missing
	}
	if err := x.step(); err != nil {
		return "", err
	}
	if x.includes == maxInclude {
		return "", runawayf("include goes %d levels deep: does %q include itself?", maxInclude, name)
	}
	x.includes++
	defer func() { x.includes-- }()
	defer x.recorder.Include()()
	var out strings.Builder
	err := x.set.ExecuteTemplate(&writer{x, &out}, name, data)
	return out.String(), err
}

// descend is called at the start of a template that can call itself.
func (x *execution) descend() (string, error) {
	if x.depth == maxDepth {
		return "", runawayf("templates go %d levels deep: does this one call itself without an end?", maxDepth)
	}
	x.depth++
	return "", nil
}

// ascend is called at the end of a template that can call itself.
func (x *execution) ascend() string {
	x.depth--
	return ""
}

// A writer passes on what a template writes, while the execution is within its bounds.
type writer struct {
	x  *execution
	to io.Writer
}

var errNoValue = &failure{
	sentence: "a value that does not exist is printed", hint: "give one with default, or test for it with if",
}

// Write rejects what text/template prints for a missing map key, which is in no valid configuration. text/template drops the
// position of an error of the writer, so an instrumented template gets twice the bound: its own checks come first.
func (w *writer) Write(p []byte) (int, error) {
	if string(p) == "<no value>" {
		return 0, errNoValue
	}
	w.x.written += len(p)
	if err := w.x.step(); err != nil && (!w.x.instrumented || w.x.written > 2*w.x.output) {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	w.x.recorder.Wrote(p)
	return w.to.Write(p)
}
