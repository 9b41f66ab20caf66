package e2e_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

var update = flag.Bool("update", false, "write docs/evidence/injection.md instead of comparing with it")

// addedLines returns the lines of now that are not in before, and whether all lines of before are in now. The line of the cluster
// belongs to the catalogue and may change.
func addedLines(before, now []string) (more []string, intact bool) {
	rest := before
	for _, line := range now {
		switch {
		case len(rest) > 0 && line == rest[0]:
			rest = rest[1:]
		case len(rest) > 0 && strings.HasPrefix(line, "cluster <") && strings.HasPrefix(rest[0], "cluster <"):
			rest = rest[1:]
		default:
			more = append(more, line)
		}
	}
	return more, len(rest) == 0
}

// lineShapes returns what a value must not change: for each line its first word and its number of words.
func lineShapes(file string, lines []string) []string {
	var shapes []string
	for _, line := range lines {
		first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasSuffix(file, ".map") { // lines of a map start with a value
			first = ""
		}
		shapes = append(shapes, fmt.Sprintf("%s %d", first, len(strings.Fields(line))))
	}
	return shapes
}

// isSubset reports whether b contains each element of a as often.
func isSubset(a, b []string) bool {
	for _, one := range a {
		at := slices.Index(b, one)
		if at < 0 {
			return false
		}
		b = slices.Delete(b, at, at+1)
	}
	return true
}

// unexpectedLine returns a line with a character that no document contains.
func unexpectedLine(lines []string) string {
	for _, line := range lines {
		if i := strings.IndexFunc(line, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }); i >= 0 {
			return fmt.Sprintf("%q", line)
		}
	}
	return ""
}

// TestInjection_EveryField tries each case in each field and compares the results with docs/evidence/injection.md.
func TestInjection_EveryField(t *testing.T) {
	t.Parallel()
	found := map[string]map[string][]string{} // the values by field and outcome
	n := 0
	runInjectionEngine(t, func(e *injectionEngine) {
		healthy, _ := e.send(nil)
		for _, f := range injectionFields() {
			found[f.name] = map[string][]string{}
			e.send(nil)
			ordinary, _ := e.send(f.ordinary())
			attempts := f.attempts()
			for _, name := range slices.Sorted(maps.Keys(attempts)) {
				e.send(nil)
				now, code := e.send(attempts[name])
				outcome := e.outcome(f.name+", "+name, healthy, ordinary, now, code)
				found[f.name][outcome] = append(found[f.name][outcome], name)
				n++
			}
		}
	})
	t.Logf("%d attempts", n)
	page := injectionPage(found, n)
	if *update {
		if err := os.WriteFile("../../docs/evidence/injection.md", []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile("../../docs/evidence/injection.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), page); diff != "" {
		t.Errorf("docs/evidence/injection.md is not what happens; -update writes it (-want +got)\n%s", diff)
	}
}

// outcome fails the test if an attempt changed a line of a valid instance or more than values of its own lines, and returns what
// happened.
func (e *injectionEngine) outcome(attempt string, healthy, ordinary, now map[string][]string, code int) string {
	same := true
	untouched := true
	for name, before := range healthy {
		more, intact := addedLines(before, now[name])
		usually, _ := addedLines(before, ordinary[name])
		if !intact {
			e.t.Errorf("%s: %s lost lines of others:\n%s", attempt, name, cmp.Diff(before, now[name]))
		}
		if !isSubset(lineShapes(name, more), lineShapes(name, usually)) {
			e.t.Errorf("%s: %s has more lines than usual:\n%s", attempt, name, cmp.Diff(usually, more))
		}
		if strange := unexpectedLine(now[name]); strange != "" {
			e.t.Errorf("%s: %s has %s", attempt, name, strange)
		}
		same = same && slices.Equal(now[name], ordinary[name])
		untouched = untouched && slices.Equal(now[name], before)
	}
	snap, _ := e.engine.Snapshot("sidecar")
	if _, out := engine.Quarantine(snap); len(out) > 0 {
		e.t.Errorf("%s: the snapshot still has %+v", attempt, out)
	}
	quarantined := e.engine.Status()[0].Quarantined
	switch {
	case code != 200:
		if !untouched {
			e.t.Errorf("%s: it was denied, and changed something", attempt)
		}
		return "the push is rejected with " + strconv.Itoa(code)
	case len(quarantined) > 0 && quarantined[0].Service == "" && quarantined[0].ID == "" && quarantined[0].Hostname == "":
		return "treated as empty: " + reasonWithoutValue(quarantined[0].Reason)
	case len(quarantined) > 0:
		if !untouched || len(quarantined) > 1 {
			e.t.Errorf("%s: quarantined values were rendered, or others are quarantined: %+v", attempt, quarantined)
		}
		return "quarantined: " + reasonWithoutValue(quarantined[0].Reason)
	case strings.HasPrefix(attempt, "ChangeEvent.") && snap.Last == nil:
		return "not reported as the last change"
	case same:
		return "no line changes"
	default:
		return "the instance's own lines"
	}
}

var (
	namedCharacter = regexp.MustCompile(`the character '(\\?.|\\u[0-9a-f]{4})'`)
	quotedValue    = regexp.MustCompile(` "(\\.|[^"\\])*"(\.\.\.)?`)
)

// reasonWithoutValue returns a reason without the value, so that the page is short.
func reasonWithoutValue(reason string) string {
	return quotedValue.ReplaceAllString(namedCharacter.ReplaceAllString(reason, "a special character"), "")
}

func injectionPage(found map[string]map[string][]string, n int) string {
	var page strings.Builder
	fmt.Fprintf(&page, `# Injection attempts

TestInjection_EveryField in test/e2e generates this page with -update and compares it otherwise. It pushes each of the values
below in each field, in a state with healthy instances, and renders the built-in template, the default template of haproxy-api
0.9, and a template that prints every field of every instance unquoted, with a map file: %d attempts. None changes a byte
outside the lines of its own instance, or adds a line or a word to those. [Quarantine](../operations.md#quarantine) has the rules.

Anyone who can push can still lie: that an instance is elsewhere, is gone, or belongs to another service. Two services whose
names become the same (%s) get a hash each, so that adding one of them renames the sections of the other.

## Values

| name | value |
| --- | --- |
`, n, "`web` and `WEB`")
	for _, c := range injectionCases {
		value := strconv.QuoteToASCII(c.value)
		if len(c.value) > 100 {
			value = strconv.QuoteToASCII(c.value[:8]) + "..."
		}
		fmt.Fprintf(&page, "| %s | ``%s`` |\n", c.name, strings.ReplaceAll(value, "|", `\|`))
	}
	for _, name := range slices.Sorted(maps.Keys(wrongTypes)) {
		fmt.Fprintf(&page, "| %s | ``%s`` |\n", name, wrongTypes[name])
	}
	page.WriteString("\n## Outcomes\n")
	for _, f := range injectionFields() {
		fmt.Fprintf(&page, "\n### %s\n\n", f.name)
		outcomes := slices.SortedFunc(maps.Keys(found[f.name]), func(a, b string) int {
			if more := len(found[f.name][b]) - len(found[f.name][a]); more != 0 {
				return more
			}
			return strings.Compare(a, b)
		})
		for _, outcome := range outcomes {
			fmt.Fprintf(&page, "- **%s**: %s\n", outcome, strings.Join(found[f.name][outcome], "; "))
		}
	}
	return page.String()
}

// FuzzInjection fills the fields of an instance with random values. No template may render more lines or words than for an
// ordinary one.
func FuzzInjection(f *testing.F) {
	f.Add("evil", "web:1", "host-evil", "http", "tcp", "10.0.0.1", "zone", "a", int64(31000), int64(8000), 0)
	for _, t := range injectionCases {
		if len(t.value) < 1000 {
			f.Add(t.value, t.value, t.value, t.value, t.value, t.value, t.value, t.value, int64(1), int64(8000), 0)
			f.Add("evil", t.value, "host-evil", "ws", "tcp", "10.0.0.1", "zone", "b", int64(1), int64(8000), 0)
		}
	}
	directory := f.TempDir()
	loaded := map[string]*templates.Template{}
	for name, path := range map[string]string{
		"built-in": "", "older": "../../templates/testdata/older-default.cfg", "own": filepath.Join(directory, "everything.txt"),
		"hosts.map": filepath.Join(directory, "hosts.map"),
	} {
		text := map[string]string{"own": allFieldsTemplate, "hosts.map": hostsTemplate}[name]
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				f.Fatal(err)
			}
		}
		now := func() time.Time { return time.Unix(0, 0).UTC() }
		template, err := templates.New(templates.Config{Path: path, Now: now, BindIP: "127.0.0.1"}).Load()
		if err != nil {
			f.Fatal(err)
		}
		loaded[name] = template
	}
	one := func(name, id string) sdk.Instance {
		return sdk.Instance{
			ID: id, Name: name, Image: name + ":1", Hostname: "host-" + id, ProxyMode: "http",
			Ports:  []sdk.Port{{Type: "tcp", Port: 31000, ServicePort: 8000, IP: "10.0.0.1"}},
			Labels: map[string]string{"zone": "a"},
		}
	}
	good, fine := one("web", "good"), one("web", "fine")
	draw := func(t testing.TB, name string, instances ...sdk.Instance) []string {
		snap, _ := engine.Quarantine(sdk.Snapshot{Source: "s", Services: sdk.GroupByName(instances)})
		files, _, err := loaded[name].Render(t.Context(), snap)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(files[0].Content), "\n")
	}
	healthy, ordinary := map[string][]string{}, map[string][]string{}
	for name := range loaded {
		healthy[name], ordinary[name] = draw(f, name, good, fine), draw(f, name, good, fine, one("web", "evil"))
	}
	f.Fuzz(func(t *testing.T, id, image, host, mode, protocol, ip, key, value string, port, servicePort int64, status int) {
		evil := sdk.Instance{
			ID: id, Name: "web", Image: image, Hostname: host, ProxyMode: mode, Labels: map[string]string{key: value},
			Ports: []sdk.Port{{Type: protocol, Port: port, ServicePort: servicePort, IP: ip}}, Status: sdk.Status(status),
		}
		if host == good.Hostname && id == good.ID || host == fine.Hostname && id == fine.ID {
			return // it replaces another instance, which is no injection
		}
		for name := range loaded {
			more, intact := addedLines(healthy[name], draw(t, name, good, fine, evil))
			usually, _ := addedLines(healthy[name], ordinary[name])
			if !intact || !isSubset(lineShapes(name, more), lineShapes(name, usually)) || unexpectedLine(more) != "" {
				t.Errorf("%s: %+v has the lines %q, and others are as they were: %v", name, evil, more, intact)
			}
		}
	})
}
