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

// everything prints every field of every instance, each on a line of its own, and quotes nothing.
const everything = `cluster <{{ .Cluster }}>
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

// hosts is a map file for HAProxy.
const hosts = `{{ range $name, $list := .Services }}{{ range $list }}{{ .Hostname }}/{{ .ID }} {{ $name }}
{{ end }}{{ end }}`

// A stage plays scenes: to a source that is told of them, with an engine behind it that renders three sets of templates.
type stage struct {
	t      *testing.T
	push   *sidecar.Push
	emit   func(sdk.Snapshot)
	engine *engine.Engine
	shown  map[string]*canvas
}

// Watch is the source's, and keeps the way in for what is not pushed.
func (s *stage) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	s.emit = emit
	return s.push.Watch(ctx, emit)
}

// A canvas is a sink that keeps what was shown last.
type canvas struct {
	mu  sync.Mutex
	doc sdk.Document
}

func (c *canvas) Apply(_ context.Context, doc sdk.Document) (sdk.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doc = doc
	return sdk.Result{Action: sdk.ActionReload}, nil
}

func (c *canvas) Health(context.Context) (sdk.Health, error) { return sdk.Health{}, nil }

// fixed is a set of templates that nobody edits.
type fixed struct{ *templates.Set }

func (f fixed) Load() (engine.Template, error) { return f.Set.Load() }
func (f fixed) Watch(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}

// play runs the scenes in a bubble of fake time.
func play(t *testing.T, scenes func(s *stage)) {
	folder := t.TempDir()
	for name, text := range map[string]string{"everything.txt": everything, "hosts.map": hosts} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := templates.Config{
		Path: filepath.Join(folder, "everything.txt"), Files: map[string]string{"hosts.map": filepath.Join(folder, "hosts.map")},
	}
	synctest.Test(t, func(t *testing.T) {
		now := func() time.Time { return time.Unix(0, 0).UTC() }
		push, err := sidecar.NewPush(sdk.Env{Name: "sidecar"}, sidecar.PushConfig{MaxBody: sidecar.MaxState})
		if err != nil {
			t.Fatal(err)
		}
		s := &stage{t: t, push: push, shown: map[string]*canvas{}}
		cfg := engine.Config{Sources: map[string]engine.SourceConfig{"sidecar": {Source: s}}, Log: slog.New(slog.DiscardHandler)}
		for name, set := range map[string]templates.Config{
			"built-in": {}, "older": {Path: "../../templates/testdata/older-default.cfg"}, "own": own,
		} {
			set.Now, set.BindIP = now, "127.0.0.1"
			s.shown[name] = &canvas{}
			cfg.Pipelines = append(cfg.Pipelines, engine.PipelineConfig{
				Name: name, Source: "sidecar", Templates: fixed{templates.New(set)}, Sink: s.shown[name],
			})
		}
		if s.engine, err = engine.New(cfg); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.engine.Run(ctx) }()
		scenes(s)
		cancel()
		<-done
	})
}

// play shows a scene, or nobody but the healthy ones, and returns the lines of all documents by name, and the answer's code.
func (s *stage) play(sc *scene) (lines map[string][]string, code int) {
	s.t.Helper()
	code = 200
	if sc != nil && sc.byService != "" {
		snap, err := sidecar.DecodeState(sc.services(s.t), "sidecar")
		if err != nil {
			s.t.Fatal(err)
		}
		s.emit(snap)
	} else {
		w := httptest.NewRecorder()
		s.push.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/update", strings.NewReader(string(sc.body(s.t)))))
		code = w.Code
	}
	synctest.Wait()
	lines = map[string][]string{}
	for name, c := range s.shown {
		for _, f := range c.doc.Files {
			lines[name+" "+f.Name] = strings.Split(string(f.Content), "\n")
		}
	}
	for _, status := range s.engine.Status() {
		if status.ApplyError != nil || status.TemplateError != nil {
			s.t.Errorf("%s: %v %v", status.Name, status.ApplyError, status.TemplateError)
		}
	}
	return lines, code
}
