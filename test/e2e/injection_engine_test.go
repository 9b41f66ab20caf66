package e2e_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
	"github.com/haproxy-api/haproxy-api/templates"
)

// allFieldsTemplate renders each field of each instance on its own line, without quoting.
const allFieldsTemplate = `cluster <{{ .Cluster }}>
{{- range $name, $_ := .Services }}
service {{ $name }} {{ getMode $name }}
{{- range allInstances $name }}
instance
  id <{{ .ID }}>
  name <{{ .Name }}> {{ sanitizeName .Name }}
  image <{{ .Image }}> <{{ .Version }}>
  hostname <{{ .Hostname }}> {{ serverName . }}
  mode <{{ .ProxyMode }}>
  status <{{ .Status }}> {{ .StatusString }}
  times {{ .Created.Unix }} {{ .Updated.Unix }}
{{- range .Ports }}
  port <{{ .Type }}> {{ .Port }} {{ .ServicePort }} <{{ .IP }}>
{{- end }}
{{- range $key, $value := .Labels }}
  label <{{ $key }}> <{{ $value }}>
{{- end }}
{{- end }}
{{- end }}
`

// hostsTemplate renders a map file.
const hostsTemplate = `{{ range $name, $list := .Services }}{{ range $list }}{{ .Hostname }}/{{ .ID }} {{ $name }}
{{ end }}{{ end }}`

// An injectionEngine is an engine with a push source and three pipelines.
type injectionEngine struct {
	t      *testing.T
	push   *sidecar.Push
	emit   func(sdk.Snapshot)
	engine *engine.Engine
	sinks  map[string]*recordingSink
}

// Watch passes emit on to the push source and keeps it for snapshots that are not pushed.
func (e *injectionEngine) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	e.emit = emit
	return e.push.Watch(ctx, emit)
}

// A recordingSink keeps the last document.
type recordingSink struct {
	mu  sync.Mutex
	doc sdk.Document
}

func (r *recordingSink) Apply(_ context.Context, doc sdk.Document) (sdk.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doc = doc
	return sdk.Result{Action: sdk.ActionReload}, nil
}

func (r *recordingSink) Health(context.Context) (sdk.Health, error) { return sdk.Health{}, nil }

// staticTemplates are templates that never change.
type staticTemplates struct{ *templates.Set }

func (f staticTemplates) Load() (engine.Template, error) { return f.Set.Load() }
func (f staticTemplates) Watch(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return nil
}

// runInjectionEngine calls test with an engine in a bubble of fake time.
func runInjectionEngine(t *testing.T, test func(e *injectionEngine)) {
	directory := t.TempDir()
	for name, text := range map[string]string{"everything.txt": allFieldsTemplate, "hosts.map": hostsTemplate} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := templates.Config{
		Path:  filepath.Join(directory, "everything.txt"),
		Files: map[string]string{"hosts.map": filepath.Join(directory, "hosts.map")},
	}
	synctest.Test(t, func(t *testing.T) {
		now := func() time.Time { return time.Unix(0, 0).UTC() }
		push, err := sidecar.NewPush(sdk.Env{Name: "sidecar"}, sidecar.PushConfig{MaxBody: sidecar.MaxState})
		if err != nil {
			t.Fatal(err)
		}
		e := &injectionEngine{t: t, push: push, sinks: map[string]*recordingSink{}}
		cfg := engine.Config{Sources: map[string]engine.SourceConfig{"sidecar": {Source: e}}, Log: slog.New(slog.DiscardHandler)}
		for name, set := range map[string]templates.Config{
			"built-in": {}, "older": {Path: "../../templates/testdata/older-default.cfg"}, "own": own,
		} {
			set.Now, set.BindIP = now, "127.0.0.1"
			e.sinks[name] = &recordingSink{}
			cfg.Pipelines = append(cfg.Pipelines, engine.PipelineConfig{
				Name: name, Source: "sidecar", Templates: staticTemplates{templates.New(set)}, Sink: e.sinks[name],
			})
		}
		if e.engine, err = engine.New(cfg); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); e.engine.Run(ctx) }()
		test(e)
		cancel()
		<-done
	})
}

// send pushes p, or only the valid instances if p is nil, and returns the lines of all documents by name, and the status code.
func (e *injectionEngine) send(sc *injectionPush) (lines map[string][]string, code int) {
	e.t.Helper()
	code = 200
	if sc != nil && sc.byService != "" {
		snap, err := sidecar.DecodeState(sc.byServiceBody(e.t), "sidecar")
		if err != nil {
			e.t.Fatal(err)
		}
		e.emit(snap)
	} else {
		w := httptest.NewRecorder()
		e.push.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/update", strings.NewReader(string(sc.body(e.t)))))
		code = w.Code
	}
	synctest.Wait()
	lines = map[string][]string{}
	for name, r := range e.sinks {
		for _, f := range r.doc.Files {
			lines[name+" "+f.Name] = strings.Split(string(f.Content), "\n")
		}
	}
	for _, status := range e.engine.Status() {
		if status.ApplyError != nil || status.TemplateError != nil {
			e.t.Errorf("%s: %v %v", status.Name, status.ApplyError, status.TemplateError)
		}
	}
	return lines, code
}
