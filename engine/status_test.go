package engine

import (
	"context"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// observedTemplate calls observe with the name of its method that is called.
type observedTemplate struct {
	fakeTemplate
	observe func(call string)
}

func (o observedTemplate) Render(ctx context.Context, snap sdk.Snapshot) ([]sdk.File, []string, error) {
	o.observe("Render")
	return o.fakeTemplate.Render(ctx, snap)
}

func (o observedTemplate) NondeterministicLines(context.Context, sdk.Snapshot) ([]string, error) {
	o.observe("NondeterministicLines")
	return nil, nil
}

// runObserved runs a test with a function that returns the status during the newest call of a method of an observedTemplate.
func runObserved(t *testing.T, test func(env *testEnv, during func(call string) PipelineStatus)) {
	runEngine(t, func(env *testEnv) {
		statuses := map[string]PipelineStatus{}
		env.templates.observe = func(call string) { statuses[call] = env.status() }
		test(env, func(call string) PipelineStatus {
			t.Helper()
			status, ok := statuses[call]
			if !ok {
				t.Fatalf("%s was not called", call)
			}
			return status
		})
	})
}

func TestStatus_WhileNondeterministicLinesAreSearched(t *testing.T) {
	runObserved(t, func(env *testEnv, during func(string) PipelineStatus) {
		env.emitServices("a")
		env.edit("broken")
		if env.status().TemplateError == nil {
			t.Fatal("no template error")
		}
		env.edit("observed")
		env.wantApplied("1 v1:a", "2 observed:a")
		if s := during("NondeterministicLines"); s.TemplateError != nil || s.Generation != 2 {
			t.Errorf("template error %v, generation %d", s.TemplateError, s.Generation)
		}
	})
}

func TestStatus_WhileRenderingAfterLoss(t *testing.T) {
	runObserved(t, func(env *testEnv, during func(string) PipelineStatus) {
		env.edit("observed")
		env.emitServices("a")
		env.emitServices("b")
		env.emitLost(sdk.Lost{Err: errNotLoaded, Generation: 1})
		if s := during("Render"); s.Generation != 1 || s.Digest != "" {
			t.Errorf("generation %d, digest %q", s.Generation, s.Digest)
		}
	})
}
