package templates

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// rounds are templates, and how many of their ranges are kept.
var rounds = map[string]struct {
	text string
	kept int
}{
	"names":             {`{{ range $name, $list := .Services }}{{ $name }} {{ len $list }};{{ end }}`, 1},
	"dot":               {`{{ range .Services }}{{ range . }}{{ .Hostname }}{{ .Updated }}{{ .StatusString }} {{ end }};{{ end }}`, 1},
	"functions":         {`{{ range $n, $l := .Services }}{{ getMode $n }}{{ getPorts $n }}{{ sanitizeName $n }}{{ end }}`, 1},
	"owner":             {`{{ range $n, $l := .Services }}{{ range $p, $_ := getPorts $n }}{{ ownsPort $n $p }}{{ $p }} {{ end }}{{ end }}`, 1},
	"any owner":         {`{{ range $n, $l := .Services }}{{ ownsPort $n 8000 }}{{ ownsPort "b" 8001 }} {{ end }}`, 1},
	"servers":           {`{{ range .Services }}{{ range . }}{{ serverName . }} {{ ipFor 8000 . }}:{{ portFor 8000 . }};{{ end }}{{ end }}`, 1},
	"another service":   {`{{ range $n, $l := .Services }}{{ $n }}{{ range allInstances "b" }}{{ .ID }}{{ .Status }} {{ end }};{{ end }}`, 1},
	"flag":              {`{{ $any := false }}{{ range .Services }}{{ $any = true }}x{{ end }}{{ $any }}`, 1},
	"flag sometimes":    {`{{ $b := "" }}{{ range $n, $l := .Services }}{{ if eq $n "b" }}{{ $b = "b" }}{{ end }}{{ end }}{{ $b }}`, 1},
	"flag that is read": {`{{ $last := "" }}{{ range $n, $l := .Services }}{{ $last }}<{{ $n }} {{ $last = $n }}{{ end }}{{ $last }}`, 1},
	"counter":           {`{{ $i := 0 }}{{ range .Services }}{{ $i = add1 $i }}{{ $i }} {{ end }}{{ $i }}`, 1},
	"list of names":     {`{{ $all := list }}{{ range $n, $l := .Services }}{{ $all = append $all $n }}{{ end }}{{ $all | join " " }}`, 1},
	"list that is read": {`{{ $all := list }}{{ range $n, $l := .Services }}{{ $all = append $all $n }}{{ len $all }}{{ end }}`, 1},
	"instances out":     {`{{ $i := 0 }}{{ range .Services }}{{ $i = index . 0 }}{{ end }}{{ with $i }}{{ .ID }}{{ .Status }}{{ end }}`, 1},
	"outer variables":   {`{{ $c := .Cluster }}{{ $v := .Vars.word }}{{ range .Services }}{{ $c }}{{ $v }}{{ $.Vars.word }}{{ $.Cluster }} {{ end }}`, 1},
	"dicts outside":     {`{{ $d := dict "a" (len .Services) }}{{ range $n, $l := .Services }}{{ $n }}{{ $d.a }}{{ end }}`, 1},
	"the whole":         {`{{ range .Services }}{{ len $.Services }}{{ end }}`, 0},
	"the root":          {`{{ define "n" }}{{ len .Services }}{{ end }}{{ range .Services }}{{ template "n" $ }}{{ end }}`, 0},
	"by source":         {`{{ range .Services }}{{ len (source "sidecar") }}{{ end }}`, 0},
	"the cluster":       {`{{ range .Services }}{{ $.Cluster }} {{ end }}`, 1},
	"a clock":           {`{{ range .Services }}{{ now }}{{ end }}`, 0},
	"a clock elsewhere": {`{{ define "n" }}{{ now }}{{ end }}{{ range .Services }}{{ template "n" }}{{ end }}`, 0},
	"source elsewhere":  {`{{ define "n" }}{{ len (source "sidecar") }}{{ end }}{{ range .Services }}{{ include "n" . }}{{ end }}`, 0},
	"a clock outside":   {`{{ now }}{{ range $n, $l := .Services }}{{ $n }}{{ end }}`, 1},
	"break":             {`{{ range $n, $l := .Services }}{{ if eq $n "b" }}{{ break }}{{ end }}{{ $n }}{{ end }}`, 0},
	"continue":          {`{{ range $n, $l := .Services }}{{ if eq $n "b" }}{{ continue }}{{ end }}{{ $n }}{{ end }}`, 0},
	"shadow":            {`{{ $x := 1 }}{{ range $n, $l := .Services }}{{ $x := $n }}{{ $x }}{{ $x = "" }}{{ end }}{{ $x }}`, 0},
	"shadow of a range": {`{{ range $n, $l := .Services }}{{ range $n := $l }}{{ $n.ID }}{{ end }}{{ $n }}{{ end }}`, 1},
	"dict that changes": {`{{ $d := dict }}{{ range $n, $l := .Services }}{{ $_ := set $d $n 1 }}{{ len $d }}{{ end }}`, 0},
	"vars that change":  {`{{ $_ := set .Vars "word" (len .Services) }}{{ range .Services }}{{ $.Vars.word }}{{ end }}`, 0},
	"included":          {`{{ define "s" }}{{ serverName . }}{{ .Status }} {{ end }}{{ range .Services }}{{ range . }}{{ include "s" . | upper }}{{ end }}{{ end }}`, 1},
	"called":            {`{{ define "s" }}{{ range . }}{{ .ID }}{{ .Status }} {{ end }}{{ end }}{{ range .Services }}{{ template "s" . }}{{ end }}`, 1},
	"two ranges":        {`{{ range $n, $l := .Services }}{{ $n }}{{ end }};{{ range $n, $l := .Services }}{{ len $l }}{{ end }}`, 2},
	"else":              {`{{ range $n, $l := .Services }}{{ $n }}{{ else }}none{{ range list 1 2 }}{{ . }}{{ end }}{{ end }}`, 2},
	"in a branch":       {`{{ if .Services }}{{ with .Services }}{{ range $n, $l := . }}{{ $n }}{{ len $l }}{{ end }}{{ end }}{{ end }}`, 1},
	"numbers":           {`{{ range $i := until (len .Services) }}{{ $i }} {{ end }}`, 1},
	"an integer":        {`{{ range len .Services }}{{ . }} {{ end }}`, 1},
	"living ones":       {`{{ range $n, $l := .Services }}{{ range $l }}{{ if .IsAlive }}{{ .ID }}{{ end }}{{ end }}{{ end }}`, 1},
	"kept by one":       {`{{ range .Services.a }}{{ .ID }}{{ .Hostname }}{{ .Status }}{{ .Ports }}{{ .Labels }}{{ end }}`, 1},
	"ports":             {`{{ range .Services.a }}{{ range .Ports }}{{ .Port }}{{ .IP }} {{ end }}{{ end }}`, 1},
	"equal services":    {`{{ range .Services }}same {{ end }}{{ range list "x" "x" }}{{ . }}{{ end }}`, 2},
	"a missing value":   {`{{ $x := .Vars.nothing }}{{ range $n, $l := .Services }}{{ $x | default $n }}{{ end }}`, 1},
	"comments":          {"{{ range $n, $l := .Services }}\n# {{/* no */}} {{- $n -}}\n{{ end }}", 1},
}

// Whatever was rendered before, a template renders what it renders without a past.
func TestRenderingAfterAnyPastIsRenderingWithout(t *testing.T) {
	t.Parallel()
	for name, test := range rounds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := setOf(t, test.text)
			set.cfg.Vars = map[string]any{"word": "w"}
			tmpl := mustLoad(t, set)
			for seed := range uint64(3) {
				past := newPast(seed)
				for range 30 {
					checkRendering(t, tmpl, set, past.next())
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
				checkRendering(t, tmpl, set, past.next())
			}
		})
	}
}

func checkRendering(t *testing.T, tmpl *Template, set *Set, snap sdk.Snapshot) {
	t.Helper()
	files, notes, err := tmpl.Render(t.Context(), snap)
	wantFiles, wantNotes, wantErr := mustLoad(t, set).Render(t.Context(), snap)
	if diff := cmp.Diff(wantFiles, files) + cmp.Diff(wantNotes, notes) + cmp.Diff(fmt.Sprint(wantErr), fmt.Sprint(err)); diff != "" {
		t.Fatalf("of %+v (-without +with a past):\n%s", snap, diff)
	}
}

// A past makes snapshots of which each differs a little from the one before, and shares with it what does not.
type past struct {
	random *rand.Rand
	snap   sdk.Snapshot
}

func newPast(seed uint64) *past {
	return &past{rand.New(rand.NewPCG(seed, 2)), snapshot()} //nolint:gosec // to be repeated
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
	for name, test := range rounds {
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
			t.Errorf("%s: %d ranges are kept, want %d", name, kept, test.kept)
		}
	}
}

func FuzzRenderingAfterAPast(f *testing.F) {
	for _, test := range rounds {
		f.Add(test.text, uint64(len(test.text)))
	}
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		cfg := Config{Name: "main.cfg", Path: "main.cfg", Now: atNoon, Vars: map[string]any{"word": "w"}}
		load := func() *Template {
			sources := []source{{name: "main.cfg", path: "main.cfg", text: text}}
			set, err := compile(cfg, sources, false)
			if err != nil {
				t.Skip()
			}
			return &Template{
				cfg: cfg, sources: sources, set: set, calls: callsIn(set), chance: newChance(), memo: &memo{},
				bounds: bounds{output: 1 << 20, steps: 10_000, time: time.Second},
			}
		}
		tmpl := load()
		for name := range tmpl.calls {
			if isVolatile(name) {
				t.Skip()
			}
		}
		keepRounds(tmpl.set, tmpl.outputs())
		tmpl.bounds.time = never // by then it has ended once
		past := newPast(seed)
		for range 6 {
			snap := past.next()
			want, _, err := load().Render(t.Context(), snap)
			if err != nil {
				t.Skip() // a past makes no good template bad, but may spare a bad one its fault
			}
			got, _, err := tmpl.Render(t.Context(), snap)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Fatalf("%v of %+v (-without +with a past):\n%s", err, snap, diff)
			}
		}
	})
}
