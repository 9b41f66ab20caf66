package engine

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// nondeterministicTemplate is nondeterministic in the words of its text that begin with "now".
type nondeterministicTemplate struct{ fakeTemplate }

func (v nondeterministicTemplate) NondeterministicLines(context.Context, sdk.Snapshot) ([]string, error) {
	var all []string
	for word := range strings.FieldsSeq(string(v.fakeTemplate)) {
		if strings.HasPrefix(word, "now") {
			all = append(all, word+" differs")
		}
	}
	return all, nil
}

// The nondeterministic lines are those of the active template.
func TestNondeterminism_OfActiveTemplate(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		want := func(lines ...string) {
			t.Helper()
			if diff := cmp.Diff(lines, env.status().Nondeterministic); diff != "" {
				t.Error(diff)
			}
		}
		env.emitServices("a")
		want()
		env.edit("nondeterministic now1 now2")
		want("now1 differs", "now2 differs")
		env.edit("bad now3")
		want("now1 differs", "now2 differs")
		env.edit("nondeterministic now2")
		want("now2 differs")
		env.edit("v3")
		want()
	})
}

// endlessTemplate counts how often it is rendered.
type endlessTemplate struct{ rendered *int }

type endlessError struct{}

func (endlessError) Error() string { return "haproxy.cfg:1:1: does a loop not end?" }
func (endlessError) Endless() bool { return true }

func (e endlessTemplate) Render(context.Context, sdk.Snapshot) ([]sdk.File, []string, error) {
	*e.rendered++
	return nil, nil, endlessError{}
}

// An endless candidate is not tried with each snapshot, because it would delay every one of them.
func TestEndlessTemplate_Candidate(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.edit("endless")
		if err := env.status().TemplateError; err == nil {
			t.Error("no template error")
		}
		env.emitServices("a", "b")
		env.emitServices("a", "b", "c")
		env.wantApplied("1 v1:a", "2 v1:a,b", "3 v1:a,b,c")
		if n := env.templates.endless; n != 1 {
			t.Errorf("rendered %d times", n)
		}
		if err := env.status().TemplateError; err == nil {
			t.Error("the template error is gone")
		}
		env.edit("v2")
		env.wantApplied("1 v1:a", "2 v1:a,b", "3 v1:a,b,c", "4 v2:a,b,c")
		if err := env.status().TemplateError; err != nil {
			t.Error(err)
		}
	})
}

// Without an active template, an endless one is tried with each snapshot.
func TestEndlessTemplate_First(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.edit("endless")
		env.emitServices("a")
		env.emitServices("a", "b")
		if n := env.templates.endless; n != 2 {
			t.Errorf("rendered %d times", n)
		}
	})
}
