package engine

import (
	"log/slog"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// callRecorder records the names of the methods that are called.
type callRecorder struct {
	NoObserver
	calls []string
}

func (r *callRecorder) SnapshotReceived(sdk.Snapshot, bool) {
	r.calls = append(r.calls, "SnapshotReceived")
}
func (r *callRecorder) Held(string, bool)                     { r.calls = append(r.calls, "Held") }
func (r *callRecorder) Quarantined(string, int)               { r.calls = append(r.calls, "Quarantined") }
func (r *callRecorder) Rendered(string, time.Duration, error) { r.calls = append(r.calls, "Rendered") }
func (r *callRecorder) Applied(Attempt)                       { r.calls = append(r.calls, "Applied") }
func (r *callRecorder) Changed(string, history.Change)        { r.calls = append(r.calls, "Changed") }
func (r *callRecorder) TemplateRefused(string)                { r.calls = append(r.calls, "TemplateRefused") }
func (r *callRecorder) StatusChanged(string)                  { r.calls = append(r.calls, "StatusChanged") }

// Every method of Observers calls that of each observer.
func TestObservers(t *testing.T) {
	methods := reflect.TypeFor[Observer]()
	for m := range methods.Methods() {
		first, second := &callRecorder{}, &callRecorder{}
		method := reflect.ValueOf(Observers{first, second}).MethodByName(m.Name)
		var arguments []reflect.Value
		for parameter := range method.Type().Ins() {
			arguments = append(arguments, reflect.Zero(parameter))
		}
		method.Call(arguments)
		for i, recorder := range []*callRecorder{first, second} {
			if got := strings.Join(recorder.calls, " "); got != m.Name {
				t.Errorf("%s called %q of observer %d", m.Name, got, i)
			}
		}
	}
}

// statusObserver counts changes of the status.
type statusObserver struct {
	NoObserver
	count atomic.Int64
}

func (o *statusObserver) StatusChanged(string) { o.count.Add(1) }

// The observer is notified after everything that changes the status of a pipeline, so that a client that then asks for it sees
// the change.
func TestObserver_StatusChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observer := &statusObserver{}
		source, sink := &fakeSource{emit: make(chan func(func(sdk.Snapshot)))}, newFakeSink()
		templates := newFakeTemplates("v1")
		engine := startEngine(t, Config{
			Sources:   map[string]SourceConfig{"s": {Source: source, Guard: Guard{MaxDrop: 0.5, Hold: time.Hour}}},
			Pipelines: []PipelineConfig{{Name: "p", Source: "s", Templates: templates, Sink: sink}},
			Log:       slog.New(slog.DiscardHandler), Observer: observer,
		})
		emit := func(services ...string) {
			source.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf(services...)) }
		}
		for _, step := range []struct {
			what string
			do   func()
			is   func(PipelineStatus) bool
		}{
			{"applied", func() { emit("a", "b", "c", "d") }, func(s PipelineStatus) bool { return s.Generation > 0 }},
			{"broken", func() { templates.save("broken") }, func(s PipelineStatus) bool { return s.TemplateError != nil }},
			{"corrected", func() { templates.save("v2") }, func(s PipelineStatus) bool { return s.TemplateError == nil }},
			{"held", func() { emit("a") }, func(s PipelineStatus) bool { return s.Held != nil }},
			{"deferred", func() {
				sink.setError("v2:a", sdk.Deferred("later", time.Minute))
				if _, err := engine.Release("p", ""); err != nil {
					t.Error(err)
				}
			}, func(s PipelineStatus) bool { return s.Held == nil && s.Pending != nil }},
			{"failed", func() {
				sink.setError("v2:a", sdk.Rejectf("no"))
				_ = engine.Apply("p", "")
			}, func(s PipelineStatus) bool { return s.ApplyError != nil }},
		} {
			before := observer.count.Load()
			step.do()
			synctest.Wait()
			if status := engine.Status()[0]; !step.is(status) {
				t.Errorf("%s: the status is %+v", step.what, status)
			}
			if observer.count.Load() == before {
				t.Errorf("%s: the observer was not notified", step.what)
			}
		}
	})
}
