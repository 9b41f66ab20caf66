package server

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// secret is in everything that the components of an apiEnv return.
const secret = "hunter2X"

// secretLines are lines of HAProxy's configuration with the secret.
const secretLines = `global
    stats socket /run/haproxy.sock
    log-tag "api"
userlist admins
    user bob password ` + secret + `
    user eve insecure-password "` + secret + `"
frontend http
    stats auth admin:` + secret + `
    http-request set-header Authorization "Bearer ` + secret + `"
    http-request set-header X-Api-Key ` + secret + `
    dynamic-cookie-key ` + secret + `
backend web
    option httpchk
    server a http://bob:` + secret + `@192.0.2.1
`

// secretSentences are texts as programs write them, with the secret.
var secretSentences = []string{
	"cannot parse 'stats auth admin:" + secret + "' in line 3", "password=" + secret, "the token: \"token\": \"" + secret + "\"",
	"GET http://bob:" + secret + "@registry/ failed", "Authorization: Bearer " + secret,
}

// An apiEnv is a server with a running engine, whose components return secrets everywhere.
type apiEnv struct {
	*Server
	t      *testing.T
	engine *engine.Engine
	source *testSource
	sink   *secretSink
}

func newAPIEnv(t *testing.T, access AccessConfig) *apiEnv {
	t.Helper()
	env := &apiEnv{t: t, source: &testSource{snapshots: make(chan sdk.Snapshot)}, sink: &secretSink{}}
	metrics, events, series := NewMetrics("v1"), NewEvents(), NewSeries()
	var err error
	env.engine, err = engine.New(engine.Config{
		Sources: map[string]engine.SourceConfig{
			"sidecar": {
				Source: env.source, Type: "sidecar-push", Guard: engine.Guard{MaxDrop: 0.5, MinInstances: 2, Hold: time.Hour},
			},
		},
		Pipelines: []engine.PipelineConfig{{
			Name: "haproxy", Source: "sidecar", Templates: secretTemplates{}, Paths: []string{"haproxy.cfg.tmpl"},
			Sink: env.sink, SinkName: "haproxy", SinkType: "haproxy",
		}},
		Log: slog.New(slog.DiscardHandler), Observer: engine.Observers{metrics, events, series},
	})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := NewAccessPolicy(access)
	if err != nil {
		t.Fatal(err)
	}
	env.Server = New(Config{
		Engine: env.engine, Metrics: metrics, Events: events, Series: series,
		Front:       Front{Source: "sidecar", Receiver: env.source},
		EncodeState: func(w io.Writer, snap sdk.Snapshot) error { return json.NewEncoder(w).Encode(snap) },
		Access:      policy, Version: "v1", Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); env.engine.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return env
}

// emit emits a snapshot with that many instances of the service web.
func (env *apiEnv) emit(instances int) {
	var all []sdk.Instance
	for i := range instances {
		all = append(all, sdk.Instance{
			ID: fmt.Sprint(i), Name: "web", Hostname: "node", Updated: changed,
			Ports: []sdk.Port{{Type: "tcp", Port: int64(31000 + i), ServicePort: 80, IP: "192.0.2.1"}},
		})
	}
	env.source.snapshots <- sdk.Snapshot{
		Source: "sidecar", Cause: sdk.CausePush, Sender: "192.0.2.9", Taken: time.Now(), Changed: changed,
		Services: sdk.GroupByName(all), Last: &sdk.Change{Instance: all[0], Time: changed},
	}
}

// waitForChange waits until the history has an entry for which match returns true.
func (env *apiEnv) waitForChange(match func(*history.Change) bool) history.Change {
	env.t.Helper()
	log, err := env.engine.History("haproxy")
	if err != nil {
		env.t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if c, ok := log.Find(match); ok {
			return c
		}
	}
	env.t.Fatal("the history has no such change")
	return history.Change{}
}

// applied emits a snapshot and waits until its document is applied.
func (env *apiEnv) applied(instances int) history.Change {
	env.t.Helper()
	log, _ := env.engine.History("haproxy")
	before, _ := log.List(0, 1)
	env.emit(instances)
	return env.waitForChange(func(c *history.Change) bool {
		return c.Outcome == history.OutcomeApplied && (len(before) == 0 || c.Generation > before[0].Generation)
	})
}

// A request is what an apiEnv is asked.
type request struct {
	method, path string
	peer         string // the default is an address of another machine
	host         string
	header       map[string]string
}

func (env *apiEnv) do(r request) *http.Response {
	req := httptest.NewRequest(cmp.Or(r.method, http.MethodGet), r.path, nil)
	req.Host, req.RemoteAddr = cmp.Or(r.host, "localhost:7778"), cmp.Or(r.peer, "192.0.2.77:4000")
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	env.ServeHTTP(w, req)
	return w.Result()
}

// get returns the code and the body of the answer to a read.
func (env *apiEnv) get(path string) (int, string) {
	resp := env.do(request{path: path})
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// secretTemplates render one server line for each instance, beside secretLines.
type secretTemplates struct{}

func (secretTemplates) Load() (engine.Template, error) { return secretTemplates{}, nil }

func (secretTemplates) Watch(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return nil
}

func (secretTemplates) Render(_ context.Context, snap sdk.Snapshot) ([]sdk.File, []string, error) {
	var main strings.Builder
	main.WriteString(secretLines)
	for _, service := range snap.Services {
		for _, instance := range service.Instances {
			fmt.Fprintf(&main, "    server %s 192.0.2.1:80 # password %s%s\n", instance.ID, secret, instance.ID)
		}
	}
	pem := "-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n"
	return []sdk.File{{Name: "haproxy.cfg", Content: []byte(main.String())}, {Name: "site.pem", Content: []byte(pem)}},
		secretSentences, nil
}

// A secretSink applies every document unless it has a fault. All methods block while there is a gate.
type secretSink struct {
	mu    sync.Mutex
	fault error
	gate  chan struct{}
	calls int // of Health that have not returned
	ended int // calls of Health
}

func (s *secretSink) set(fault error, gate chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.gate = fault, gate
}

func (s *secretSink) Apply(context.Context, sdk.Document) (sdk.Result, error) {
	s.mu.Lock()
	fault, gate := s.fault, s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return sdk.Result{
		Action: sdk.ActionReload, Reason: secretSentences[0], Details: secretSentences,
		Commands: []sdk.Command{{Sent: "set server web/a addr; password " + secret, Answer: secretSentences[3]}},
		Steps: []sdk.Step{
			{Name: "check", Took: time.Millisecond}, {Name: "reload", Start: time.Millisecond, Took: time.Second},
		},
	}, fault
}

func (s *secretSink) Health(context.Context) (sdk.Health, error) {
	s.mu.Lock()
	gate := s.gate
	s.calls++
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	s.ended++
	return sdk.Health{Problems: secretSentences, Facts: map[string]string{"fact": secretSentences[1]}}, nil
}

// waitForStart waits until the call of Health with which the pipeline begins has ended. Calls of clients do not share it.
func (env *apiEnv) waitForStart() {
	env.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		env.sink.mu.Lock()
		ended := env.sink.ended
		env.sink.mu.Unlock()
		if ended > 0 {
			return
		}
	}
	env.t.Fatal("the pipeline does not call Health")
}

// openCalls returns how many calls of Health have not returned.
func (s *secretSink) openCalls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *secretSink) Servers(context.Context) ([]sdk.Server, error) {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return []sdk.Server{{
		Backend: "web", Name: "a", Address: "192.0.2.1:31000", Status: "UP", InStatus: time.Minute,
		Check: "L7STS: " + secretSentences[1], Weight: 1, Sessions: 2, Queue: 3,
	}}, nil
}

var _ sdk.ServerReporter = (*secretSink)(nil)

// addEvent adds an event of the sink to the history, with the secret, and a diff with it.
func (env *apiEnv) addEvent() history.Change {
	log, err := env.engine.History("haproxy")
	if err != nil {
		env.t.Fatal(err)
	}
	now := time.Now()
	c := history.Change{
		Generation: log.Next(), Document: 1, Trigger: history.Trigger{Kind: history.TriggerSink, Detail: secretSentences[1]},
		Event: sdk.EventDriftRepaired, Outcome: history.OutcomeEvent, Reason: secretSentences[0], Error: secretSentences[2],
		Received: now, Updated: now, Instances: secretSentences, Excluded: secretSentences, Notes: secretSentences,
		Details: secretSentences, Commands: []history.Command{{Sent: "set password " + secret, Answer: secretSentences[3]}},
		Steps: []history.Step{{Name: "repair", Seconds: 1}},
	}
	log.Put(c, "--- a\n+++ b\n@@ -1 +1 @@\n-    user bob password "+secret+"\n+    stats auth admin:"+secret+"\n")
	return c
}

// waitForStatus waits until match returns true for the status.
func (env *apiEnv) waitForStatus(match func(Status) bool) Status {
	env.t.Helper()
	var status Status
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		status = Status{}
		if _, body := env.get("/api/v1/status"); json.Unmarshal([]byte(body), &status) != nil {
			env.t.Fatal(body)
		}
		if match(status) {
			return status
		}
	}
	env.t.Fatalf("timed out: %+v", status)
	return status
}
