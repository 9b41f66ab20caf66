package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// linesTemplate renders "TEXT", then for each service "service NAME" and for each instance "server NAME/ID IMAGE", unless its
// image is "quiet". It fails for instances with "fail" in the image, or for all with "fails everywhere" in TEXT. With "one by
// one" in TEXT it reports only the first failure.
type linesTemplate string

func (l linesTemplate) Render(_ context.Context, snap sdk.Snapshot) ([]sdk.File, []string, error) {
	lines, _ := l.lines(snap)
	if strings.Contains(string(l), "needs web") && !slices.Contains(lines, "service web") {
		return nil, nil, errors.New("lines.tmpl:1:1: there is no web")
	}
	if failed := l.failed(snap); failed != nil {
		return nil, nil, failed
	}
	return []sdk.File{{Name: "main", Content: []byte(strings.Join(lines, "\n"))}}, nil, nil
}

func (l linesTemplate) failed(snap sdk.Snapshot) error {
	var all []*iterationError
	for _, s := range snap.Services {
		for _, i := range s.Instances {
			if strings.Contains(i.Image, "fail") || strings.Contains(string(l), "fails everywhere") {
				all = append(all, &iterationError{service: s.Name, instance: &i, endless: strings.Contains(i.Image, "endless")})
			}
		}
	}
	switch {
	case all == nil:
		return nil
	case strings.Contains(string(l), "one by one"):
		return all[0]
	}
	return &iterationError{all: all}
}

type iterationError struct {
	service  string
	instance *sdk.Instance
	all      []*iterationError
	endless  bool
}

func (e *iterationError) Error() string                  { return "lines.tmpl:3:7: no shard" }
func (e *iterationError) Owner() (string, *sdk.Instance) { return e.service, e.instance }
func (e *iterationError) Endless() bool                  { return e.endless }
func (e *iterationError) Failures() []error {
	if e.all == nil {
		return []error{e}
	}
	var all []error
	for _, each := range e.all {
		all = append(all, each)
	}
	return all
}

// testConflicts returns lines with the same word that begins with "claim".
func testConflicts(files []sdk.File) [][2]sdk.Position {
	var found [][2]sdk.Position
	first := map[string]sdk.Position{}
	for i, line := range strings.Split(string(files[0].Content), "\n") {
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '/' }) {
			if !strings.HasPrefix(word, "claim") {
				continue
			}
			position := sdk.Position{File: "main", Path: "/etc/main", Line: i + 1, Problem: word + " of " + line}
			if other, ok := first[word]; ok {
				found = append(found, [2]sdk.Position{other, position})
				continue
			}
			first[word] = position
		}
	}
	return found
}

func (l linesTemplate) SourceMap(_ context.Context, snap sdk.Snapshot) ([][]exclude.Origin, error) {
	_, origins := l.lines(snap)
	return [][]exclude.Origin{origins}, nil
}

func (l linesTemplate) lines(snap sdk.Snapshot) (lines []string, origins []exclude.Origin) {
	add := func(line int, service string, instance *sdk.Instance, text string) {
		lines = append(lines, text)
		origins = append(origins, exclude.Origin{Template: "lines.tmpl", Line: line, Service: service, Instance: instance})
	}
	add(1, "", nil, string(l))
	for _, s := range snap.Services {
		add(2, s.Name, nil, "service "+s.Name)
		for _, i := range s.Instances {
			if i.Image == "quiet" {
				continue
			}
			add(3, s.Name, &i, "server "+s.Name+"/"+i.ID+" "+i.Image)
		}
	}
	return lines, origins
}

// rejectWords returns a check that rejects every line with one of the words.
func rejectWords(words ...string) func(sdk.Document) error {
	return func(doc sdk.Document) error {
		var positions []sdk.Position
		for i, line := range strings.Split(string(doc.Files[0].Content), "\n") {
			for _, word := range words {
				if strings.Contains(line, word) {
					positions = append(positions, sdk.Position{File: "main", Path: "/etc/main", Line: i + 1, Problem: word})
				}
			}
		}
		if positions == nil {
			return nil
		}
		return &sdk.Rejection{Err: errors.New("the proxy says no"), Positions: positions}
	}
}

// firstOnly returns a check that reports only the first positions of another one.
func firstOnly(most int, check func(sdk.Document) error) func(sdk.Document) error {
	return func(doc sdk.Document) error {
		if r, ok := errors.AsType[*sdk.Rejection](check(doc)); ok {
			return &sdk.Rejection{Err: errors.New("the proxy says no"), Positions: r.Positions[:min(most, len(r.Positions))]}
		}
		return nil
	}
}

// inOrder returns a check that reports the first position that the first failing check rejects.
func inOrder(sinks ...func(sdk.Document) error) func(sdk.Document) error {
	return func(doc sdk.Document) error {
		for _, check := range sinks {
			if r, ok := errors.AsType[*sdk.Rejection](check(doc)); ok {
				return &sdk.Rejection{Err: errors.New("the proxy says no"), Positions: r.Positions[:1]}
			}
		}
		return nil
	}
}

// emitInstances emits a snapshot with instances that are written "SERVICE/ID IMAGE".
func (env *testEnv) emitInstances(instances ...string) {
	var all []sdk.Instance
	for _, text := range instances {
		name, rest, _ := strings.Cut(text, "/")
		id, image, _ := strings.Cut(rest, " ")
		all = append(all, sdk.Instance{ID: id, Name: name, Hostname: "h", Image: image, Updated: time.Now()})
	}
	env.emit(all)
}

func (env *testEnv) emit(all []sdk.Instance) {
	snap := sdk.Snapshot{Source: "s", Taken: time.Now(), Services: sdk.GroupByName(all)}
	env.source.emit <- func(emit func(sdk.Snapshot)) { emit(snap) }
	synctest.Wait()
}

// live returns the lines of the last document that the sink accepted, without the template's own line.
func (s *fakeSink) live() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, doc := range slices.Backward(s.docs) {
		if s.check(doc) == nil {
			return strings.Split(string(doc.Files[0].Content), "\n")[1:]
		}
	}
	return nil
}

func (s *fakeSink) applies() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.docs)
}

func (s *fakeSink) rejects(words ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check = rejectWords(words...)
}

// excluded returns the exclusions, "SERVICE" or "SERVICE/ID".
func (env *testEnv) excluded() string {
	var names []string
	for _, l := range env.status().Excluded {
		names = append(names, strings.TrimSuffix(l.Service+"/"+l.ID, "/"))
	}
	return strings.Join(names, " ")
}

func (env *testEnv) wantLive(excluded string, lines ...string) {
	env.t.Helper()
	if diff := cmp.Diff(lines, env.sink.live()); diff != "" {
		env.t.Errorf("live (-want +got)\n%s", diff)
	}
	if got := env.excluded(); got != excluded {
		env.t.Errorf("excluded: %q, want %q", got, excluded)
	}
	if s := env.status(); s.ApplyError != nil || !env.engine.Health(env.t.Context())[0].OK() {
		env.t.Errorf("unhealthy: %v", s.ApplyError)
	}
}

func (env *testEnv) wantApplies(times int) {
	env.t.Helper()
	if got := env.sink.applies(); got != times {
		env.t.Errorf("the sink was passed %d documents, want %d", got, times)
	}
}

// runLines is runEngine with a linesTemplate and a sink that rejects the word "bad".
func runLines(t *testing.T, test func(env *testEnv)) {
	runEngine(t, func(env *testEnv) {
		env.edit("lines")
		env.sink.rejects("bad")
		test(env)
	})
}

// temporary returns a check whose rejections are temporary.
func temporary(check func(sdk.Document) error) func(sdk.Document) error {
	return func(doc sdk.Document) error {
		if r, ok := errors.AsType[*sdk.Rejection](check(doc)); ok {
			err := &sdk.Rejection{Err: errors.New("the proxy says no for now"), Positions: r.Positions, Temporary: true}
			return sdk.RetryAfter(err, 10*time.Second)
		}
		return nil
	}
}
