package templates

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestCleanName_ReplacesCharacters(t *testing.T) {
	for name, want := range map[string]string{
		"web": "web", "Web-1": "web-1", "a_b.c/d:e": "a-b-c-d-e", "ÄÖ": "--", "日本": "--", "a\nb": "a-b", "a\xffb": "a-b", "": "",
	} {
		if got := cleanName(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	if got := cleanServer("Node_1.example-x:1 \"ü"); got != "Node_1.example-x-1---" {
		t.Error(got)
	}
}

func TestDistinct_AppendsHashes(t *testing.T) {
	// A name that is the result for another one with a hash.
	trap := "a-b-" + hash("a.b")[:8]
	tests := map[string]struct {
		names []string
		want  map[string]string
	}{
		"different anyway": {[]string{"a", "b"}, map[string]string{"a": "a", "b": "b"}},
		"two become one": {[]string{"a.b", "a_b", "c"}, map[string]string{
			"a.b": trap, "a_b": "a-b-" + hash("a_b")[:8], "c": "c",
		}},
		"one is clean": {[]string{"a-b", "a.b"}, map[string]string{"a.b": trap, "a-b": "a-b-" + hash("a-b")[:8]}},
		"a trap": {[]string{"a.b", "a_b", trap}, map[string]string{
			"a.b": trap, "a_b": "a-b-" + hash("a_b")[:8], trap: trap + "-" + hash(trap)[:8],
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := distinct(tt.names, cleanName)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			slices.Reverse(tt.names)
			if diff := cmp.Diff(got, distinct(tt.names, cleanName)); diff != "" {
				t.Errorf("depends on the order: %s", diff)
			}
			allDifferent(t, got, len(tt.names))
		})
	}
}

func allDifferent(t *testing.T, names map[string]string, n int) {
	t.Helper()
	seen := map[string]string{}
	for name, clean := range names {
		if other, ok := seen[clean]; ok {
			t.Errorf("%q and %q both become %q", name, other, clean)
		}
		if cleanName(clean) != clean {
			t.Errorf("%q becomes %q", name, clean)
		}
		seen[clean] = name
	}
	if len(names) != n {
		t.Errorf("%d names for %d", len(names), n)
	}
}

func FuzzDistinct(f *testing.F) {
	f.Add("a.b", "a_b", "a-b")
	f.Add("a.b", "a_b", "a-b-"+hash("a.b")[:8])
	f.Add("", ".", "\xff")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		// An attacker could choose the last two names.
		names := []string{a, b, c, cleanName(a) + "-" + hash(a)[:8], cleanName(b) + "-" + hash(b)[:16]}
		slices.Sort(names)
		names = slices.Compact(names)
		allDifferent(t, distinct(names, cleanName), len(names))
	})
}

func TestServices_ServerNames(t *testing.T) {
	v := newServices(snapshot(tangled()...), nil)
	seen := map[string]bool{}
	for _, inst := range v.usable["srv"] {
		name := v.serverName(inst)
		if seen[name] || cleanServer(name) != name {
			t.Errorf("%s/%s: %q", inst.Hostname, inst.ID, name)
		}
		seen[name] = true
	}
	if len(seen) != 3 {
		t.Errorf("names: %v", seen)
	}
	if got := v.serverName(v.usable["web"][0]); got != "b-2" {
		t.Errorf("a name without need for a hash: %q", got)
	}
	if got := v.serverName(sdk.Instance{Name: "other", Hostname: "n o", ID: "1"}); got != "n-o-1" {
		t.Errorf("an instance from elsewhere: %q", got)
	}
}

// An attacker who chooses the names of services may know the algorithm.
func TestDistinct_ChosenNames(t *testing.T) {
	names := []string{"a.b", "a_b", "A.B", "a/b", "a:b", "a\nb", "a\u2028b", "a\xffb", "a-b", "a~b"}
	// Each is the result for the previous one with a hash, up to the maximum length of a name.
	for trap := "a-b-" + hash("a.b")[:8]; len(trap) < 255; trap += "-" + hash(trap)[:8] {
		names = append(names, trap)
	}
	// Two names whose hashes have the same first digits.
	seen := map[string]string{}
	for n := range 1 << 20 {
		name := strings.NewReplacer("0", ".", "1", "_").Replace(fmt.Sprintf("x%020b", n))
		if other, twice := seen[hash(name)[:8]]; twice {
			names = append(names, name, other)
			break
		}
		seen[hash(name)[:8]] = name
	}
	if len(names) < 35 {
		t.Fatalf("only %d names: nothing was found that collides", len(names))
	}
	made := distinct(names, cleanName)
	allDifferent(t, made, len(names))
	slices.Reverse(names)
	if diff := cmp.Diff(made, distinct(names, cleanName)); diff != "" {
		t.Errorf("depends on the order: %s", diff)
	}
}
