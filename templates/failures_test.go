package templates

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// failures renders text and returns the owners of its failures, as SERVICE or SERVICE/ID, and their lines and columns.
func failures(t *testing.T, text string, snap sdk.Snapshot) (owners, positions []string) {
	t.Helper()
	_, _, err := mustLoad(t, setOf(t, text)).Render(t.Context(), snap)
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v, want an *Error", err)
	}
	for _, each := range failed.Failures() {
		e, _ := errors.AsType[*Error](each)
		service, inst := e.Owner()
		if inst != nil {
			service += "/" + inst.ID
		}
		owners, positions = append(owners, service), append(positions, fmt.Sprintf("%d:%d", e.Line, e.Column))
	}
	return owners, positions
}

// Services a and c have an instance without a colon in its label.
func shardSnapshot() sdk.Snapshot {
	labelled := func(name, id, shard string) sdk.Instance {
		inst := instance(name, "h"+id, id, 80)
		inst.Labels = map[string]string{"shard": shard}
		return inst
	}
	return snapshot(labelled("a", "1", "x"), labelled("a", "2", "x:1"), labelled("b", "1", "x:1"), labelled("c", "1", "x:1"),
		labelled("c", "2", "y"))
}

func TestError_FurtherHasEveryFailingIteration(t *testing.T) {
	const shard = `{{ index (splitList ":" .Labels.shard) 1 }}`
	for name, tt := range map[string]struct {
		text              string
		owners, positions []string
	}{
		"instances": {
			"{{ range $name, $list := .Services }}\n{{ range $list }}\n" + shard + "\n{{ end }}{{ end }}",
			[]string{"a/1", "c/2"}, []string{"3:4", "3:4"},
		},
		"several positions": {
			"{{ range $name, $list := .Services }}{{ range . }}\n" + shard + "\n{{ end }}" +
				"{{ if eq $name \"b\" }}\n{{ fail \"no\" }}{{ end }}{{ end }}",
			[]string{"a/1", "b", "c/2"}, []string{"2:4", "4:4", "2:4"},
		},
		"in an included template": {
			"{{ define \"s\" }}" + shard + "{{ end }}" +
				"{{ range .Services }}{{ range . }}{{ include \"s\" . | trim }}{{ end }}{{ end }}",
			[]string{"a/1", "c/2"}, []string{"1:20", "1:20"},
		},
		"in a range of something else": {
			"{{ range .Services }}{{ range $i := . }}{{ range $n := list 1 }}{{ index (splitList \":\" $i.Labels.shard) $n }}" +
				"{{ end }}{{ end }}{{ end }}",
			[]string{"a/1", "c/2"}, []string{"1:68", "1:68"},
		},
		"what text/template itself finds": {
			`{{ range .Services }}{{ range . }}{{ $m := dict "x:1" (dict "a" "b") }}` +
				`{{ (get $m .Labels.shard).a }}{{ end }}{{ end }}`,
			[]string{"a/1", "c/2"}, nil,
		},
		"with a variable from outside": {
			"{{ $seen := 0 }}{{ range .Services }}{{ range . }}" + shard + "{{ $seen = add1 $seen }}{{ end }}{{ end }}" +
				"{{ if ne (int $seen) 3 }}{{ fail \"the wrong number\" }}{{ end }}",
			[]string{"a/1", "c/2"}, nil,
		},
		"of a list that is left early": {
			"{{ range .Services }}{{ range . }}" + shard + "{{ break }}{{ end }}{{ end }}", []string{"a/1"}, nil,
		},
	} {
		owners, positions := failures(t, tt.text, shardSnapshot())
		if diff := cmp.Diff(tt.owners, owners); diff != "" {
			t.Errorf("%s: owners (-want +got)\n%s", name, diff)
		}
		if diff := cmp.Diff(tt.positions, positions); tt.positions != nil && diff != "" {
			t.Errorf("%s: positions (-want +got)\n%s", name, diff)
		}
	}
}

// A failure without an owner is the only one, and a template that does not end is not attempted for every instance.
func TestError_FurtherIsEmptyWithoutOwner(t *testing.T) {
	for _, text := range []string{
		`{{ range $i := list 1 2 }}{{ fail "no" }}{{ end }}`,
		`{{ range .Services }}{{ end }}{{ fail "no" }}`,
		`{{ define "x" }}{{ template "x" . }}{{ end }}{{ range .Services }}{{ template "x" . }}{{ end }}`,
	} {
		if owners, _ := failures(t, text, shardSnapshot()); len(owners) != 1 {
			t.Errorf("%s: %v", text, owners)
		}
	}
}

func TestError_FurtherOfManyInstances(t *testing.T) {
	var all []sdk.Instance
	for i := range 10_000 {
		inst := instance(fmt.Sprintf("s%d", i%10), fmt.Sprintf("h%d", i), fmt.Sprint(i), 80)
		inst.Labels = map[string]string{"shard": "x"}
		all = append(all, inst)
	}
	const text = `{{ range .Services }}{{ range . }}{{ index (splitList ":" .Labels.shard) 1 }}{{ end }}{{ end }}`
	owners, _ := failures(t, text, snapshot(all...))
	slices.Sort(owners)
	if got := len(slices.Compact(owners)); got != len(all) {
		t.Errorf("%d of %d", got, len(all))
	}
}

// A rendering in which every iteration is attempted renders the same as any other.
func TestAttemptIterations_EqualsRender(t *testing.T) {
	texts := map[string]string{
		"assignments": `{{ $n := 0 }}{{ $last := "" }}{{ range $name, $list := .Services }}{{ range $i, $inst := $list }}` +
			`{{ $n = add1 $n }}{{ $last = printf "%s%s%d" $last $name $i }}{{ .ID }}{{ $inst.Hostname }}` +
			`{{ end }}{{ end }}{{ $n }}{{ $last }}`,
		"break and continue": `{{ range .Services }}{{ range . }}{{ if eq .ID "1" }}{{ continue }}{{ end }}{{ .ID }}{{ break }}` +
			`{{ end }}x{{ end }}`,
		"shadowed variables": `{{ $x := 1 }}{{ range .Services }}{{ $x := 2 }}{{ $x = 3 }}{{ $x }}{{ end }}{{ $x }}`,
		"the root and the dot": `{{ range $p := list 1 2 }}{{ range $.Services }}{{ len . }}{{ $p }}{{ range . }}{{ .ID }}` +
			`{{ $.Cluster }}{{ end }}{{ end }}{{ end }}`,
		"other elements": `{{ range $k, $v := dict "a" 1 "b" nil }}{{ $k }}{{ kindOf $v }}{{ end }}` +
			`{{ range 3 }}{{ . }}{{ end }}{{ range list }}{{ else }}none{{ end }}` +
			`{{ range list nil "" 0 }}{{ kindOf . }}{{ end }}`,
		"templates": `{{ define "u" }}{{ $y := 1 }}{{ range .Services }}{{ $y = add1 $y }}{{ range . }}{{ .ID }}{{ end }}` +
			`{{ end }}{{ $y }}{{ end }}{{ template "u" . }}{{ include "u" . }}` +
			`{{ range $i, $s := .Services }}{{ with $s }}{{ (index . 0).Name }}{{ end }}{{ end }}`,
		"if with a range": `{{ if $n := len .Services }}{{ range .Services }}{{ $n }}{{ else }}{{ $n }}{{ end }}` +
			`{{ else }}0{{ end }}`,
	}
	sets := map[string]*Set{}
	for name, text := range texts {
		sets[name] = setOf(t, text)
	}
	sets["built-in"] = New(Config{BindIP: "127.0.0.1", Now: atNoon})
	sets["older"] = New(Config{Path: "testdata/older-default.cfg", BindIP: "127.0.0.1", Now: atNoon})
	snapshots := states(t)
	snapshots["shards"] = shardSnapshot()
	for name, set := range sets {
		tmpl := mustLoad(t, set)
		for state, snap := range snapshots {
			want, _, err := tmpl.Render(t.Context(), snap)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			set := tmpl.instrumented()
			attemptIterations(set)
			x := tmpl.newExecution(set)
			end := x.begin(t.Context(), newServices(snap, nil))
			x.failed = func(err error) { t.Errorf("%s of %s: %v", name, state, err) }
			got, err := x.files()
			end()
			if err != nil {
				t.Fatalf("%s of %s: %v", name, state, err)
			}
			if diff := cmp.Diff(string(want[0].Content), string(got[0].Content)); diff != "" {
				t.Errorf("%s of %s (-want +got)\n%s", name, state, diff)
			}
		}
	}
}
