package templates

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates/internal/parsetree"
	"github.com/haproxy-api/haproxy-api/templates/internal/rendercache"
)

type iterationCase struct {
	name   string
	ranges int // that are instrumented
	text   string
}

// iterationCases returns the cases of testdata/iterations.txt.
func iterationCases(t testing.TB) []iterationCase {
	t.Helper()
	content, err := os.ReadFile("testdata/iterations.txt")
	if err != nil {
		t.Fatal(err)
	}
	var cases []iterationCase
	for line := range strings.Lines(string(content)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), " | ", 3)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(parts) != 3 {
			t.Fatalf("%q is no case", line)
		}
		ranges, err := strconv.Atoi(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, iterationCase{parts[0], ranges, parts[2]})
	}
	return cases
}

// A template renders the same with and without a cache, whatever it rendered before.
func TestRender_CachedEqualsWhole(t *testing.T) {
	t.Parallel()
	for _, test := range iterationCases(t) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			set := setOf(t, test.text)
			set.cfg.Vars = map[string]any{"word": "w"}
			tmpl := mustLoad(t, set)
			for seed := range uint64(3) {
				snaps := newHistory(seed)
				for range 30 {
					checkRendering(t, tmpl, snaps.next())
				}
			}
		})
	}
}

func TestRender_CachedEqualsWholeForExamples(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]*Set{
		"builtin": New(Config{BindIP: "127.0.0.1", Now: atNoon}),
		"older":   New(Config{Path: "testdata/older-default.cfg", Now: atNoon}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmpl := mustLoad(t, set)
			snaps := newHistory(1)
			for range 150 {
				checkRendering(t, tmpl, snaps.next())
			}
		})
	}
}

func checkRendering(t *testing.T, tmpl *Template, snap sdk.Snapshot) {
	t.Helper()
	files, notes, err := tmpl.Render(t.Context(), snap)
	wantFiles, wantNotes, wantErr := tmpl.withoutCache().Render(t.Context(), snap)
	diff := cmp.Diff(wantFiles, files) + cmp.Diff(wantNotes, notes) + cmp.Diff(fmt.Sprint(wantErr), fmt.Sprint(err))
	if diff != "" {
		t.Fatalf("of %+v (-whole +cached):\n%s", snap, diff)
	}
}

// withoutCache returns a template like t that has never rendered.
func (t *Template) withoutCache() *Template {
	fresh := &Template{cfg: t.cfg, sources: t.sources, set: t.set, called: t.called, random: t.random, bounds: t.bounds}
	fresh.execution = fresh.newExecution(fresh.set)
	if t.execution.cache != nil {
		fresh.execution.cache = &rendercache.Cache{}
	}
	return fresh
}

// A history generates snapshots that differ a little from the previous one, and share the rest with it.
type history struct {
	random *rand.Rand
	snap   sdk.Snapshot
}

func newHistory(seed uint64) *history {
	return &history{rand.New(rand.NewPCG(seed, 2)), snapshot()}
}

func (h *history) next() sdk.Snapshot {
	snap := h.snap
	for range h.random.IntN(3) {
		snap = h.edit(snap)
	}
	h.snap = snap
	return snap
}

func (h *history) edit(snap sdk.Snapshot) sdk.Snapshot {
	name := string(rune('a' + h.random.IntN(5)))
	if h.random.IntN(4) == 0 {
		name += string("/-"[h.random.IntN(2)]) // the sanitized names are equal
	}
	switch h.random.IntN(12) {
	case 0:
		snap.Cluster = fmt.Sprint("cluster", h.random.IntN(2))
		return snap
	case 1: // equal copies
		var all []sdk.Instance
		for _, svc := range snap.Services {
			all = append(all, svc.Instances...)
		}
		snap.Services = sdk.GroupByName(all)
		return snap
	case 2: // heartbeats of a sixth of the instances, which the engine does not pass on to a template
		snap.Services = slices.Clone(snap.Services)
		for i := range snap.Services {
			instances := slices.Clone(snap.Services[i].Instances)
			for n := range instances {
				if h.random.IntN(6) == 0 {
					instances[n].Updated = instances[n].Updated.Add(time.Minute)
				}
			}
			snap.Services[i].Instances = instances
		}
		return snap
	}
	snap.Services = slices.Clone(snap.Services)
	i := slices.IndexFunc(snap.Services, func(svc sdk.Service) bool { return svc.Name == name })
	if i < 0 {
		snap.Services = append(snap.Services, sdk.Service{Name: name, Instances: []sdk.Instance{h.instance(name)}})
		slices.SortFunc(snap.Services, func(a, b sdk.Service) int { return strings.Compare(a.Name, b.Name) })
		return snap
	}
	if h.random.IntN(5) == 0 {
		snap.Services = slices.Delete(snap.Services, i, i+1)
		return snap
	}
	instances := slices.Clone(snap.Services[i].Instances)
	switch at := h.random.IntN(len(instances)); h.random.IntN(5) {
	case 0:
		instances = append(instances, h.instance(name))
	case 1:
		if len(instances) > 1 {
			instances = slices.Delete(instances, at, at+1)
		}
	case 2:
		instances[at].Status = sdk.Status(h.random.IntN(3))
	case 3:
		instances[at].Ports = slices.Clone(instances[at].Ports)
		instances[at].Ports[0].Port++
	case 4:
		instances[at].Updated = instances[at].Updated.Add(time.Second)
		if h.random.IntN(2) == 0 {
			instances[at] = h.instance(name)
		}
	}
	snap.Services[i].Instances = sdk.GroupByName(instances)[0].Instances
	return snap
}

func (h *history) instance(name string) sdk.Instance {
	n := h.random.IntN(10)
	inst := instance(name, fmt.Sprint("host-", n%3), fmt.Sprint(n), 8000, 8001+int64(h.random.IntN(8)))
	inst.Created = inst.Created.Add(time.Duration(n) * time.Minute)
	inst.ProxyMode = []string{"http", "tcp"}[h.random.IntN(2)]
	return inst
}

func TestAddCache_InstrumentsRangesOverServices(t *testing.T) {
	t.Parallel()
	for _, test := range iterationCases(t) {
		tmpl := mustLoad(t, setOf(t, test.text))
		ranges := 0
		for n := range parsetree.Nodes(tmpl.set.Lookup("main.cfg").Root) {
			if call, ok := n.(*parse.IdentifierNode); ok && call.Ident == rendercache.FuncBegin {
				ranges++
			}
		}
		if ranges != test.ranges {
			t.Errorf("%s: %d ranges are instrumented, want %d", test.name, ranges, test.ranges)
		}
	}
}

func TestRender_KeepsIterations(t *testing.T) {
	t.Parallel()
	snap := snapshot(instance("a", "h", "1", 8000), instance("b", "h", "2", 8001))
	for text, want := range map[string]int{
		`{{ range .Services }}x{{ end }}`:                                                                2,
		`{{ range .Services }}x{{ end }}{{ range $.Services }}y{{ end }}`:                                4,
		`{{ range .Services }}x{{ end }}{{ fail "never" }}`:                                              0,
		`{{ $x := list }}{{ range .Services }}{{ $x = append $x 1 }}{{ end }}`:                           0,
		`{{ $x := "" }}{{ range .Services }}{{ $x = printf "%s%0600d" $x 1 }}{{ end }}`:                  1,
		`{{ define "x" }}{{ range .Services }}x{{ end }}{{ end }}{{ template "x" . }}`:                   0,
		`{{ range .Services }}{{ sanitizeName "other" }}{{ len (allInstances "b") }}{{ end }}`:           2,
		`{{ range $n, $l := .Services }}{{ include "y" $n }}{{ end }}{{ define "y" }}y{{ end }}`:         2,
		`{{ range $n, $l := .Services }}{{ include "y" $n }}{{ end }}{{ define "y" }}{{ now }}{{ end }}`: 0,
	} {
		tmpl := mustLoad(t, setOf(t, text))
		for range 2 {
			_, _, _ = tmpl.Render(t.Context(), snap)
			if kept := tmpl.execution.cache.Len(); kept != want {
				t.Errorf("%s: %d iterations are kept, want %d", text, kept, want)
			}
		}
		_, _, _ = tmpl.Render(t.Context(), snapshot())
		if kept := tmpl.execution.cache.Len(); kept != 0 {
			t.Errorf("%s: %d iterations are kept without services", text, kept)
		}
	}
}

// A replayed iteration counts for the bounds as one that is executed, and a rendering that exceeds them does so again.
func TestRender_ReplayedIterationsCountForBounds(t *testing.T) {
	t.Parallel()
	set := setOf(t, `{{ range .Services }}{{ range until 10 }}{{ . }}{{ end }}{{ end }}`)
	snap := snapshot(instance("a", "h", "1", 8000))
	more := snapshot(instance("a", "h", "1", 8000), instance("b", "h", "2", 8001))
	for limit := range 60 {
		tmpl := mustLoad(t, set)
		tmpl.bounds.steps = limit
		for n, snap := range []sdk.Snapshot{snap, more, more, snap, more} {
			_, _, err := tmpl.Render(t.Context(), snap)
			if _, _, want := tmpl.withoutCache().Render(t.Context(), snap); fmt.Sprint(err) != fmt.Sprint(want) {
				t.Errorf("%d steps, run %d: %v, want %v", limit, n, err, want)
			}
		}
	}
}

// A file that another file of the document includes is executed with another root, or deeper, than by itself.
func TestRender_CachedEqualsWholeForIncludedFiles(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ main, other string }{
		"included": {`x{{ include "other.map" . | upper }}`, `{{ range $n, $l := .Services }}{{ $n }}{{ end }}`},
		"called":   {`x{{ template "other.map" . }}`, `{{ range $n, $l := .Services }}{{ $n }}{{ end }}`},
		"another root": {
			`{{ template "other.map" dict "Services" .Services "Cluster" (len .Services) }}`,
			`{{ range .Services }}{{ $.Cluster }}{{ end }}`,
		},
		"deeper down": {
			`{{ define "down" }}{{ if .n }}{{ template "down" dict "n" (rest .n) "root" .root }}` +
				`{{ else }}{{ template "other.map" .root }}{{ end }}{{ end }}` +
				`{{ template "down" dict "n" (until (mul 40 (len .Services) | int)) "root" . }}`,
			`{{ define "e" }}{{ if . }}{{ template "e" (rest .) }}{{ end }}{{ end }}` +
				`{{ range list 100 }}{{ template "e" (until .) }}{{ end }}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, map[string]string{"main.cfg": test.main, "other.map": test.other})
			set := New(Config{
				Path: filepath.Join(dir, "main.cfg"), Now: atNoon,
				Files: map[string]string{"other.map": filepath.Join(dir, "other.map")},
			})
			tmpl := mustLoad(t, set)
			snaps := newHistory(3)
			for range 30 {
				checkRendering(t, tmpl, snaps.next())
			}
		})
	}
}

func FuzzRender_CachedEqualsWhole(f *testing.F) {
	for _, test := range iterationCases(f) {
		f.Add(test.text, uint64(len(test.text)))
	}
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		tmpl, whole := compiled(text), compiled(text)
		if tmpl == nil {
			return
		}
		tmpl.addCache()
		tmpl.bounds.time = never // by then it has ended once
		snaps := newHistory(seed)
		for range 6 {
			snap := snaps.next()
			want, _, err := whole.withoutCache().Render(t.Context(), snap)
			if err != nil {
				return // a replayed iteration may hide a failure
			}
			got, _, err := tmpl.Render(t.Context(), snap)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Fatalf("%v of %+v (-whole +cached):\n%s", err, snap, diff)
			}
		}
	})
}

// compiled returns a template without a cache, and nil for a text that does not compile or is nondeterministic.
func compiled(text string) *Template {
	cfg := Config{Name: "main.cfg", Path: "main.cfg", Now: atNoon, Vars: map[string]any{"word": "w"}}
	t, err := newTemplate(cfg, []source{{name: "main.cfg", path: "main.cfg", text: text}}, newRandomSource())
	if err != nil {
		return nil
	}
	for name := range t.called {
		if isNondeterministic(name) {
			return nil
		}
	}
	t.bounds = bounds{output: 1 << 20, steps: 10_000, time: time.Second}
	return t
}
