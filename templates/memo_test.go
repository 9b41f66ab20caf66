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
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

type roundsCase struct {
	name string
	kept int // of the ranges
	text string
}

// roundsCases are in a file of their own, a line each.
func roundsCases(t testing.TB) []roundsCase {
	t.Helper()
	content, err := os.ReadFile("testdata/rounds.txt")
	if err != nil {
		t.Fatal(err)
	}
	var cases []roundsCase
	for line := range strings.Lines(string(content)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), " | ", 3)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(parts) != 3 {
			t.Fatalf("%q is no case", line)
		}
		kept, err := strconv.Atoi(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, roundsCase{parts[0], kept, parts[2]})
	}
	return cases
}

// Whatever was rendered before, a template renders what it renders without a past.
func TestRenderingAfterAnyPastIsRenderingWithout(t *testing.T) {
	t.Parallel()
	for _, test := range roundsCases(t) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			set := setOf(t, test.text)
			set.cfg.Vars = map[string]any{"word": "w"}
			tmpl := mustLoad(t, set)
			for seed := range uint64(3) {
				past := newPast(seed)
				for range 30 {
					checkRendering(t, tmpl, past.next())
				}
			}
		})
	}
}

func TestExamplesAfterAnyPast(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]*Set{
		"builtin": New(Config{BindIP: "127.0.0.1", Now: atNoon}),
		"older":   New(Config{Path: "testdata/older-default.cfg", Now: atNoon}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmpl := mustLoad(t, set)
			past := newPast(1)
			for range 150 {
				checkRendering(t, tmpl, past.next())
			}
		})
	}
}

func checkRendering(t *testing.T, tmpl *Template, snap sdk.Snapshot) {
	t.Helper()
	files, notes, err := tmpl.Render(t.Context(), snap)
	wantFiles, wantNotes, wantErr := tmpl.withoutPast().Render(t.Context(), snap)
	diff := cmp.Diff(wantFiles, files) + cmp.Diff(wantNotes, notes) + cmp.Diff(fmt.Sprint(wantErr), fmt.Sprint(err))
	if diff != "" {
		t.Fatalf("of %+v (-without +with a past):\n%s", snap, diff)
	}
}

// withoutPast returns t as if it had never rendered.
func (t *Template) withoutPast() *Template {
	fresh := *t
	if fresh.memo != nil {
		fresh.memo = &memo{}
	}
	return &fresh
}

// A past makes snapshots of which each differs a little from the one before, and shares with it what does not.
type past struct {
	random *rand.Rand
	snap   sdk.Snapshot
}

func newPast(seed uint64) *past {
	return &past{rand.New(rand.NewPCG(seed, 2)), snapshot()}
}

func (p *past) next() sdk.Snapshot {
	snap := p.snap
	for range p.random.IntN(3) {
		snap = p.edit(snap)
	}
	p.snap = snap
	return snap
}

func (p *past) edit(snap sdk.Snapshot) sdk.Snapshot {
	name := string(rune('a' + p.random.IntN(5)))
	if p.random.IntN(4) == 0 {
		name += string("/-"[p.random.IntN(2)]) // which look the same when they are cleaned
	}
	switch p.random.IntN(12) {
	case 0:
		snap.Cluster = fmt.Sprint("cluster", p.random.IntN(2))
		return snap
	case 1: // everything is made anew, and the same
		var all []sdk.Instance
		for _, svc := range snap.Services {
			all = append(all, svc.Instances...)
		}
		snap.Services = sdk.GroupByName(all)
		return snap
	case 2: // heartbeats of a sixth of the instances, which an engine spares a template
		snap.Services = slices.Clone(snap.Services)
		for i := range snap.Services {
			instances := slices.Clone(snap.Services[i].Instances)
			for n := range instances {
				if p.random.IntN(6) == 0 {
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
		snap.Services = append(snap.Services, sdk.Service{Name: name, Instances: []sdk.Instance{p.instance(name)}})
		slices.SortFunc(snap.Services, func(a, b sdk.Service) int { return strings.Compare(a.Name, b.Name) })
		return snap
	}
	if p.random.IntN(5) == 0 {
		snap.Services = slices.Delete(snap.Services, i, i+1)
		return snap
	}
	instances := slices.Clone(snap.Services[i].Instances)
	switch at := p.random.IntN(len(instances)); p.random.IntN(5) {
	case 0:
		instances = append(instances, p.instance(name))
	case 1:
		if len(instances) > 1 {
			instances = slices.Delete(instances, at, at+1)
		}
	case 2:
		instances[at].Status = sdk.Status(p.random.IntN(3))
	case 3:
		instances[at].Ports = slices.Clone(instances[at].Ports)
		instances[at].Ports[0].Port++
	case 4:
		instances[at].Updated = instances[at].Updated.Add(time.Second)
		if p.random.IntN(2) == 0 {
			instances[at] = p.instance(name)
		}
	}
	snap.Services[i].Instances = sdk.GroupByName(instances)[0].Instances
	return snap
}

func (p *past) instance(name string) sdk.Instance {
	n := p.random.IntN(10)
	inst := instance(name, fmt.Sprint("host-", n%3), fmt.Sprint(n), 8000, 8001+int64(p.random.IntN(8)))
	inst.Created = inst.Created.Add(time.Duration(n) * time.Minute)
	inst.ProxyMode = []string{"http", "tcp"}[p.random.IntN(2)]
	return inst
}

// The table above proves nothing for rounds that are always done.
func TestWhichRoundsAreKept(t *testing.T) {
	t.Parallel()
	for _, test := range roundsCases(t) {
		tmpl := mustLoad(t, setOf(t, test.text))
		kept := 0
		for list := range lists(tmpl.set.Lookup("main.cfg").Root) {
			for _, n := range list.Nodes {
				calls := map[string]bool{}
				if addCalls(calls, n); calls[hookStale] {
					kept++
				}
			}
		}
		if kept != test.kept {
			t.Errorf("%s: %d ranges are kept, want %d", test.name, kept, test.kept)
		}
	}
}

func keptRounds(tmpl *Template) []*round {
	var all []*round
	for _, alike := range tmpl.memo.rounds {
		all = append(all, alike...)
	}
	return all
}

func TestKeptRoundsHoldOnToNoOldSnapshot(t *testing.T) {
	t.Parallel()
	tmpl := mustLoad(t, setOf(t, `{{ range $n, $l := .Services }}{{ getMode $n }}{{ end }}`))
	var snap sdk.Snapshot
	for range 2 { // the same, made anew
		snap = snapshot(instance("a", "h", "1", 8000), instance("b", "h", "2", 8001))
		mustRender(t, tmpl, snap)
	}
	kept := keptRounds(tmpl)
	for _, round := range kept {
		for service, regard := range round.regards {
			at := slices.IndexFunc(snap.Services, func(svc sdk.Service) bool { return svc.Name == service })
			if !(sdk.Service{Instances: regard.instances}).Shares(snap.Services[at]) {
				t.Errorf("service %s is kept as it was before", service)
			}
		}
	}
	if len(kept) != 2 {
		t.Errorf("%d rounds are kept", len(kept))
	}
}

func TestKeptRoundsAreBounded(t *testing.T) {
	t.Parallel()
	var many []sdk.Instance
	for n := range 40 {
		many = append(many, instance("a", "h", fmt.Sprint(n), 8000))
	}
	snap := snapshot(many...)
	for _, test := range []struct {
		text string
		want int
	}{
		{`{{ range until 60000 }}{{ . }}{{ end }}`, maxRounds},
		{`{{ range until 40 }}{{ range list (slice (allInstances "a") 0 .) }}{{ end }}{{ if 0 }}{{ break }}{{ end }}{{ end }}`,
			maxAlike + 1}, // of no instance at all
		{`{{ $x := "" }}{{ range $i := until 100 }}{{ $x = printf "%s%0100d" $x $i }}{{ end }}`, maxWord / 100},
		{`{{ range until 10 }}{{ . }}{{ end }}{{ fail "never" }}`, 0},
	} {
		tmpl := mustLoad(t, setOf(t, test.text))
		_, _, _ = tmpl.Render(t.Context(), snap)
		if kept := len(keptRounds(tmpl)); kept != test.want {
			t.Errorf("%s: %d rounds are kept, want %d", test.text, kept, test.want)
		}
	}
}

// What a round takes of the bounds it takes also when it is not done, and a run that went too far does so again.
func TestKeptRoundsCountAsIfTheyWereDone(t *testing.T) {
	t.Parallel()
	set := setOf(t, `{{ range .Services }}{{ range until 10 }}{{ . }}{{ end }}{{ end }}`)
	snap := snapshot(instance("a", "h", "1", 8000))
	more := snapshot(instance("a", "h", "1", 8000), instance("b", "h", "2", 8001))
	for limit := range 60 {
		tmpl := mustLoad(t, set)
		tmpl.bounds.steps = limit
		for n, snap := range []sdk.Snapshot{snap, more, more, snap, more} {
			_, _, err := tmpl.Render(t.Context(), snap)
			if _, _, want := tmpl.withoutPast().Render(t.Context(), snap); fmt.Sprint(err) != fmt.Sprint(want) {
				t.Errorf("%d steps, run %d: %v, want %v", limit, n, err, want)
			}
		}
	}
}

// An output that is written into another one has other surroundings than by itself.
func TestKeptRoundsOfAnOutputInAnother(t *testing.T) {
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
			past := newPast(3)
			for range 30 {
				checkRendering(t, tmpl, past.next())
			}
		})
	}
}

func FuzzRenderingAfterAPast(f *testing.F) {
	for _, test := range roundsCases(f) {
		f.Add(test.text, uint64(len(test.text)))
	}
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		tmpl, whole := compiled(text), compiled(text)
		if tmpl == nil || !keepRounds(tmpl.set, tmpl.calls, tmpl.outputs()) {
			return
		}
		tmpl.bounds.time = never // by then it has ended once
		past := newPast(seed)
		for range 6 {
			snap := past.next()
			want, _, err := whole.withoutPast().Render(t.Context(), snap)
			if err != nil {
				return // a past makes no good template bad, but may spare a bad one its fault
			}
			got, _, err := tmpl.Render(t.Context(), snap)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Fatalf("%v of %+v (-without +with a past):\n%s", err, snap, diff)
			}
		}
	})
}

// compiled returns a template that keeps no rounds, and nil for a text that is none or writes something else each time.
func compiled(text string) *Template {
	cfg := Config{Name: "main.cfg", Path: "main.cfg", Now: atNoon, Vars: map[string]any{"word": "w"}}
	sources := []source{{name: "main.cfg", path: "main.cfg", text: text}}
	set, err := compile(cfg, sources, false)
	if err != nil {
		return nil
	}
	t := &Template{
		cfg: cfg, sources: sources, set: set, calls: callsIn(set), chance: newChance(), memo: &memo{},
		bounds: bounds{output: 1 << 20, steps: 10_000, time: time.Second},
	}
	for name := range t.calls {
		if isVolatile(name) {
			return nil
		}
	}
	return t
}
