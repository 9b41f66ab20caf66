package templates

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestNondeterministicLines(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string // LINE FUNCTION
	}{
		"nothing nondeterministic":   {"{{ range .Services.web }}\nserver {{ .ID }}\n{{ end }}", nil},
		"the time in a comment":      {"# Rendered {{ now }}\nglobal", nil},
		"the time after a statement": {"global # {{ now }}\n", nil},
		"the time in a statement":    {"global\n\tdescription {{ now }}\n", []string{"2 now"}},
		"a number sign in a word":    {"x#{{ now }}", []string{"1 now"}},
		"the time in a variable": {
			"{{ $then := now }}\n\nuser {{ $then | date \"15:04\" }}\n# {{ $then }}", []string{"3 now"},
		},
		"in a define": {
			"{{ define \"x\" }}\n{{ now }}{{ end }}{{ include \"x\" . | trim }}", []string{"2 now"},
		},
		"for every instance": {
			"{{ range .Services.web }}\nserver {{ .ID }} {{ now }}\n{{ end }}", []string{"2 now"},
		},
		"how old an instance is": {
			"{{ range .Services.web }}\n{{ ago .Created }} {{ durationRound .Created }}{{ end }}",
			[]string{"2 ago", "2 durationRound"},
		},
		"a constant duration":     {"{{ durationRound \"2h\" }}", nil},
		"the time in a condition": {"a\n{{ if gt (now.Year) 2026 }}b\nc\n{{ end }}d\n", []string{"4 now"}},
		"random": {
			"a\n{{ uuidv4 }}\n{{ randAlpha 8 }}\n# {{ randInt 0 100 }}", []string{"3 randAlpha", "2 uuidv4"},
		},
		"few random values":   {"{{ randInt 7 9 }} {{ randNumeric 1 }}", []string{"1 randInt", "1 randNumeric"}},
		"one possible value":  {"{{ randInt 7 8 }} {{ shuffle \"aa\" }}", nil},
		"a host":              {"{{ getHostByName \"127.0.0.1\" }}", []string{"1 getHostByName"}},
		"called and not used": {"{{ if false }}{{ now }}{{ end }}x", nil},
		"a map's order": {
			"{{ keys (dict \"a\" 1 \"b\" 2 \"c\" 3) }}{{ range $k, $v := .Services }}{{ $k }}{{ end }}", nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			set := setOf(t, tt.text)
			all, err := mustLoad(t, set).NondeterministicLines(t.Context(), sample())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range all {
				got = append(got, strings.TrimPrefix(v.String(), set.cfg.Path)[1:2]+" "+v.Function)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNondeterministicLines_Companion(t *testing.T) {
	dir := write(t, map[string]string{"main": "x", "map": "a\n{{ now }}"})
	set := New(Config{Path: dir + "/main", Files: map[string]string{"routes.map": dir + "/map"}})
	all, err := mustLoad(t, set).NondeterministicLines(t.Context(), sdk.Snapshot{})
	if want := []NondeterministicLine{{dir + "/map", 2, "now"}}; err != nil || cmp.Diff(want, all) != "" {
		t.Errorf("%v, %v", all, err)
	}
}

func TestNondeterministicLine_String(t *testing.T) {
	messages := map[string]bool{}
	for _, function := range []string{"now", "uuidv4", "getHostByName"} {
		message := NondeterministicLine{"main.cfg", 7, function}.String()
		rest, ok := strings.CutPrefix(message, "main.cfg:7: ")
		if !ok || !strings.Contains(rest, function) {
			t.Errorf("%q has no position or does not name %s", message, function)
		}
		messages[strings.ReplaceAll(rest, function, "")] = true
	}
	if len(messages) != 3 {
		t.Errorf("%d messages, want one for each kind of function", len(messages))
	}
}

// A template with random functions renders the same bytes for the same snapshot.
func TestRandom_ResultsAreKept(t *testing.T) {
	var text strings.Builder
	for _, f := range Functions() {
		slow := strings.HasPrefix(f.Name, "gen") && f.Name != "genSelfSignedCertWithKey"
		if isRandom(f.Name) && !slow {
			text.WriteString(strings.NewReplacer(" | len", "", " | trunc 27", "", " | trunc 13", "").Replace(f.Example) + "\n")
		}
	}
	set := setOf(t, text.String())
	first := mustLoad(t, set)
	one, _ := mustRender(t, first, sample())
	two, _ := mustRender(t, first, sample())
	// A new version of the template keeps the keys.
	three, _ := mustRender(t, mustLoad(t, set), sample())
	if one != two || one != three {
		t.Error(cmp.Diff(one, two), cmp.Diff(one, three))
	}
	if files, _, err := first.SourceMap(t.Context(), sample()); err != nil || string(files[0].Content) != one {
		t.Errorf("SourceMap renders something else: %v", err)
	}
	if other := renderedBy(t, setOf(t, text.String()), sample()); other == one {
		t.Error("another set has the same results")
	}
}

// A new instance does not change the results of others.
func TestRandom_ResultsBelongToInstances(t *testing.T) {
	tmpl := mustLoad(t, setOf(t, `{{ range .Services.web }}{{ .ID }} {{ randAlpha 8 }} {{ randAlpha 8 }}`+"\n{{ end }}"))
	b, c := instance("web", "node-2", "b", 80), instance("web", "node-3", "c", 80)
	before, _ := mustRender(t, tmpl, snapshot(b, c))
	after, _ := mustRender(t, tmpl, snapshot(instance("web", "node-1", "a", 80), b, c))
	if !strings.HasSuffix(after, before) {
		t.Errorf("%s\n%s", before, after)
	}
	words := strings.Fields(after)
	if len(words) != 9 || words[1] == words[2] || words[1] == words[4] {
		t.Error(after)
	}
}

// The results of removed instances are removed, and those in use are kept.
func TestRandom_UnusedResultsAreRemoved(t *testing.T) {
	tmpl := mustLoad(t, setOf(t, `{{ randAlpha 20 }} {{ range .Services.web }}{{ randAlpha 20 }}{{ end }}`))
	out, _ := mustRender(t, tmpl, snapshot())
	var many []sdk.Instance
	for i := range 3000 {
		many = append(many, instance("web", "node", time.Duration(i).String(), 80))
	}
	mustRender(t, tmpl, snapshot(many...))
	again, _ := mustRender(t, tmpl, snapshot())
	if again != out || len(tmpl.random.results) != 1 {
		t.Errorf("%q, then %q; %d results are kept", out, again, len(tmpl.random.results))
	}
}

func TestGetHostByName_NoAddress(t *testing.T) {
	_, _, err := mustLoad(t, setOf(t, `{{ getHostByName "" }}`)).Render(t.Context(), sdk.Snapshot{})
	if err == nil || !strings.Contains(err.Error(), `the host name "" has no address`) {
		t.Error(err)
	}
}

func TestClockFunctions_UseOneTime(t *testing.T) {
	text := `{{ $then := now | dateModify "-90m" }}{{ ago $then }} {{ durationRound $then }} {{ ago 0 | len }} {{ ago "?" }}`
	if got := rendered(t, text, sdk.Snapshot{}); got != "1h30m0s 1h 11 0s" {
		t.Error(got)
	}
}
