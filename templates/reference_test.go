package templates

import (
	"maps"
	"strings"
	"testing"
	"text/template"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// sample is the snapshot of the examples in the reference.
func sample() sdk.Snapshot {
	down := instance("web", "node-3", "5e6f", 8080)
	down.Status = sdk.Unhealthy
	return snapshot(instance("web", "node-1", "1a2b", 8080), instance("web", "node-2", "3c4d", 8080), down)
}

func example(t *testing.T, f Function) string {
	t.Helper()
	set := setOf(t, f.Example)
	set.cfg.BindIP, set.cfg.User = "0.0.0.0", "haproxy"
	return renderedBy(t, set, sample())
}

func TestFunctions_Examples(t *testing.T) {
	if *update {
		save(t, "functions.txt", withResults(t))
		return
	}
	for _, f := range Functions() {
		t.Run(f.Name, func(t *testing.T) {
			if got := example(t, f); got != f.Result {
				t.Errorf("%s renders %q, and the reference has %q", f.Example, got, f.Result)
			}
			if !strings.Contains(f.Example, f.Name) {
				t.Errorf("%s is no example of %s", f.Example, f.Name)
			}
		})
	}
}

// withResults returns the reference with the current results of the examples.
func withResults(t *testing.T) string {
	var out strings.Builder
	topic := ""
	for _, f := range Functions() {
		if f.Topic != topic {
			topic = f.Topic
			out.WriteString("== " + topic + "\n\n")
		}
		out.WriteString(f.Usage + "\n\t" + f.Description + "\n\t" + f.Example + "\n")
		for line := range strings.SplitSeq(example(t, f), "\n") {
			out.WriteString("\t=> " + line + "\n")
		}
		out.WriteString("\n")
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// Every function is documented, including those of new versions of sprig and Go.
func TestFunctions_AllAreDocumented(t *testing.T) {
	described := map[string]bool{}
	callable := maps.Clone(library())
	maps.Copy(callable, (&execution{}).functions())
	for _, f := range Functions() {
		if described[f.Name] {
			t.Errorf("%s is described twice", f.Name)
		}
		described[f.Name] = true
		if f.Topic == "" || f.Usage == "" || f.Description == "" || f.Example == "" {
			t.Errorf("something is missing: %+v", f)
		}
		if _, err := template.New("").Parse("{{ " + f.Name + " }}"); err != nil && callable[f.Name] == nil {
			t.Errorf("%s does not exist", f.Name)
		}
	}
	for name := range callable {
		if !described[name] && name[0] != '_' {
			t.Errorf("%s is not described in functions.txt", name)
		}
	}
	for _, name := range goFunctions {
		if !described[name] {
			t.Errorf("%s of text/template is not described in functions.txt", name)
		}
	}
}

// goFunctions are the functions of text/template.
var goFunctions = strings.Fields("and call html index slice js len not or print printf println urlquery eq ne lt le gt ge")
