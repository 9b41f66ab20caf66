package engine

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// volatileTemplate varies in the words of its text that begin with "now".
type volatileTemplate struct{ playedTemplate }

func (v volatileTemplate) NondeterministicLines(context.Context, sdk.Snapshot) ([]string, error) {
	var all []string
	for word := range strings.FieldsSeq(string(v.playedTemplate)) {
		if strings.HasPrefix(word, "now") {
			all = append(all, word+" varies")
		}
	}
	return all, nil
}

// Where a template varies is told from the moment on when it is active.
func TestVolatileTemplates(t *testing.T) {
	play(t, func(w *world) {
		want := func(sentences ...string) {
			t.Helper()
			if diff := cmp.Diff(sentences, w.status().Nondeterministic); diff != "" {
				t.Error(diff)
			}
		}
		w.say("a")
		want()
		w.edit("volatile now1 now2")
		want("now1 varies", "now2 varies")
		w.edit("bad now3")
		want("now1 varies", "now2 varies")
		w.edit("volatile now2")
		want("now2 varies")
		w.edit("v3")
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

// A template that goes on and on is not tried with each snapshot: the catalogue would wait for it every time.
func TestEndlessCandidate(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.edit("endless")
		if err := w.status().TemplateError; err == nil {
			t.Error("nothing is told")
		}
		w.say("a", "b")
		w.say("a", "b", "c")
		w.want("1 v1:a", "2 v1:a,b", "3 v1:a,b,c")
		if n := w.templates.endless; n != 1 {
			t.Errorf("rendered %d times", n)
		}
		if err := w.status().TemplateError; err == nil {
			t.Error("forgotten")
		}
		w.edit("v2")
		w.want("1 v1:a", "2 v1:a,b", "3 v1:a,b,c", "4 v2:a,b,c")
		if err := w.status().TemplateError; err != nil {
			t.Error(err)
		}
	})
}

// Without another template to hold on to, the next snapshot is all hope.
func TestEndlessFirstTemplate(t *testing.T) {
	play(t, func(w *world) {
		w.edit("endless")
		w.say("a")
		w.say("a", "b")
		if n := w.templates.endless; n != 2 {
			t.Errorf("rendered %d times", n)
		}
	})
}
