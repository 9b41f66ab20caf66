package haproxy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestResult_StepsAndCommands(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	result := r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	if got := stepsOf(result); got != "plan check plan write start verify" || len(result.Commands) > 0 {
		t.Errorf("a start has the steps %q and sent %q", got, result.Commands)
	}

	result = r.apply(s, r.lines("server a "+a.address, "server b "+b.address), sdk.ActionRuntime)
	want := []string{"add server app/b " + b.address, "set server app/b state ready"}
	if !slices.EqualFunc(result.Commands, want, func(c sdk.Command, w string) bool { return strings.HasPrefix(c.Sent, w) }) ||
		result.Commands[0].Answer != "New server registered." || result.Commands[1].Answer != "" {
		t.Errorf("the commands are %q", result.Commands)
	}

	doc := edited(r.lines("server a "+a.address, "server b "+b.address), "maxconn 100", "maxconn 200")
	result = r.apply(s, doc, sdk.ActionReload)
	steps := strings.TrimPrefix(stepsOf(result), "plan check persist") // the change before may be on disk already
	if steps != " plan write reload verify" && steps != "plan check plan write reload verify" || len(result.Commands) > 0 {
		t.Errorf("a reload has the steps %q and sent %q", stepsOf(result), result.Commands)
	}
	result = r.apply(s, doc, sdk.ActionUnchanged)
	if got := stepsOf(result); got != "plan" || len(result.Commands) > 0 {
		t.Errorf("nothing to do has the steps %q and sent %q", got, result.Commands)
	}
}

// The command that HAProxy refused is reported with its answer, also if the document is rejected afterwards.
func TestResult_RefusedCommands(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	doc := r.lines("server a "+a.address, "server b "+b.address+" ssl verify required ca-file "+r.path("missing.pem"))
	result, err := s.Apply(t.Context(), doc)
	if !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("the error is %v", err)
	}
	if !slices.ContainsFunc(result.Commands, func(c sdk.Command) bool {
		return strings.HasPrefix(c.Sent, "add server app/b ") && strings.Contains(c.Answer, "missing.pem")
	}) {
		t.Errorf("commands %q", result.Commands)
	}
	wantStepsInOrder(t, result)
}
