package templates

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestRender_BoundsAreErrors(t *testing.T) {
	small := bounds{output: 1 << 20, steps: 10_000, time: time.Minute}
	tests := map[string]struct {
		text   string
		bounds bounds
		want   string
	}{
		"output": {"{{ range until 10 }}{{ repeat 1048576 \"x\" }}{{ end }}", small, "the output exceeds 1 MiB"},
		"steps":  {"{{ range 100000000000 }}{{ end }}", small, "the rendering takes more than 10000 steps"},
		"a list": {
			"{{ range until 1000 }}{{ range until 1000 }}{{ if false }}x{{ end }}{{ end }}{{ end }}", small,
			"more than 10000 steps",
		},
		"a table": {
			`{{ range allInstances "web" }}{{ range until 20000 }}{{ continue }}{{ end }}{{ end }}`, small,
			"more than 10000 steps",
		},
		"many calls": {
			`{{ define "x" }}{{ if gt . 0 }}{{ template "x" (sub . 1) }}{{ template "x" (sub . 1) }}{{ end }}{{ end }}` +
				`{{ template "x" (int64 60) }}`, small, "more than 10000 steps",
		},
		"many includes": {
			`{{ define "x" }}{{ if gt . 0 }}{{ $y := include "x" (sub . 1) }}{{ $y = include "x" (sub . 1) }}` +
				`{{ end }}{{ end }}{{ $y := include "x" (int64 60) }}`, small, "more than 10000 steps",
		},
		"depth":    {`{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}`, small, "200 levels deep"},
		"includes": {`{{ define "x" }}{{ include "x" . }}{{ end }}{{ include "x" . }}`, small, "100 levels deep"},
		"time": {
			"{{ range until 5 }}x{{ . }}{{ end }}", bounds{output: 1 << 20, steps: 10_000, time: 1},
			"the rendering takes longer than 1ns",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tmpl := mustLoad(t, setOf(t, tt.text))
			tmpl.bounds = tt.bounds
			_, _, err := tmpl.Render(t.Context(), sample())
			e, ok := errors.AsType[*Error](err)
			if !ok || !strings.Contains(e.Message, tt.want) || !e.Endless() || e.Line != 1 || e.Column < 1 {
				t.Errorf("%#v", err)
			}
		})
	}
}

func TestError_OrdinaryMistakeIsNotEndless(t *testing.T) {
	_, _, err := mustLoad(t, setOf(t, "{{ .Vars.x }}")).Render(t.Context(), sdk.Snapshot{})
	if e, ok := errors.AsType[*Error](err); !ok || e.Endless() {
		t.Error(err)
	}
}

// A rendering that is cancelled does not wait for the end of a long loop, and the error is the cause.
func TestRender_Cancelled(t *testing.T) {
	tmpl := mustLoad(t, setOf(t, "{{ range 1000000000000 }}{{ $x := getHostByName \"x\" }}{{ end }}"))
	tmpl.bounds = bounds{output: 1 << 20, steps: 1 << 62, time: never}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the daemon stops")
	x := tmpl.newExecution(tmpl.set)
	defer x.begin(ctx, newServices(sdk.Snapshot{}, nil))()
	x.lookup = func(string) ([]string, error) {
		cancel(why)
		return []string{"127.0.0.1"}, nil
	}
	if _, err := x.files(); !errors.Is(err, why) {
		t.Error(err)
	}
	if _, _, err := tmpl.Render(ctx, sdk.Snapshot{}); err == nil || !strings.Contains(err.Error(), why.Error()) {
		t.Error(err)
	}
}

// Ten thousand instances take a small part of every bound.
func TestRender_LargeCatalogueIsWithinBounds(t *testing.T) {
	tmpl := mustLoad(t, New(Config{BindIP: "127.0.0.1"}))
	tmpl.bounds = bounds{output: maxOutput / 50, steps: maxSteps / 25, time: time.Hour}
	if _, _, err := tmpl.Render(t.Context(), large()); err != nil {
		t.Error(err)
	}
}

func TestCheckSpan_DifferenceOverflows(t *testing.T) {
	const from, to = math.MinInt, math.MaxInt
	if checkSpan("untilStep", from, to, 1) == nil || checkSpan("untilStep", from, to, 1<<60) != nil {
		t.Error("counted wrongly")
	}
}

// Functions that would fill the memory fail before they start.
func TestBoundedFunctions(t *testing.T) {
	tests := map[string]string{ // to the error, "" for none
		`until 20000000`:                     "until would return 20000000 numbers, and the maximum is 1000000",
		`until -20000000`:                    "until would return 20000000 numbers",
		`until 1000001`:                      "until would return 1000001 numbers",
		`until 1000000 | len`:                "",
		`untilStep 0 20000000 1`:             "untilStep would return 20000000 numbers",
		`untilStep 0 20000000 1000000 | len`: "",
		`seq 20000000`:                       "seq would return 19999999 numbers",
		`seq 5 20000000`:                     "seq would return 19999995 numbers",
		`seq 0 2 20000000`:                   "seq would return 10000000 numbers",
		`seq`:                                "",
		`repeat 20000000 "x"`:                "repeat would return a string of 19 MiB, and the maximum is 16 MiB",
		`repeat 20000000 ""`:                 "",
		`repeat -1 "x"`:                      "repeat cannot write a string -1 times",
		`repeat 4611686018427387905 "xxxx"`:  "repeat would return a string of",
		`indent 20000000 "x"`:                "indent would return a string of 19 MiB",
		`nindent 1000000 "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\no\np\nq\nr"`: "nindent would return a string of 17 MiB",
		`indent -1 "x"`: "indent cannot indent a string by -1 spaces",
		`replace "" (repeat 10000 "y") (repeat 10000 "x")`:        "replace would return a string of 95 MiB",
		`replace "x" "" "axb"`:                                    "",
		`join (repeat 1000000 "x") (until 1000)`:                  "join would return a string of 954 MiB",
		`randAlpha 20000000`:                                      "randAlpha would return a string of 19 MiB",
		`randAscii 20000000`:                                      "randAscii would return a string of 19 MiB",
		`concat (until 1000000) (list 1)`:                         "concat returns a list of more than 1000000 elements",
		`cat (repeat 9000000 "x") (repeat 9000000 "x")`:           "cat returns a string of more than 16 MiB",
		`printf "%s%s" (repeat 9000000 "x") (repeat 9000000 "x")`: "printf returns a string of more than 16 MiB",
	}
	for call, want := range tests {
		t.Run(call[:min(len(call), 30)], func(t *testing.T) {
			_, _, err := mustLoad(t, setOf(t, "{{ "+call+" }}")).Render(t.Context(), sdk.Snapshot{})
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %v", call, err)
			}
		})
	}
}
