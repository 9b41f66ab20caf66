package history

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// instances parses words such as "web/node-1/id:80=unhealthy". The ID, the port and the status are optional.
func instances(words ...string) []sdk.Service {
	var all []sdk.Instance
	for _, word := range words {
		word, status, _ := strings.Cut(word, "=")
		word, ports, _ := strings.Cut(word, ":")
		parts := strings.Split(word, "/")
		i := sdk.Instance{Name: parts[0], Hostname: parts[1], ID: strings.Join(parts[2:], "")}
		for port := range strings.SplitSeq(ports, ",") {
			var n int64
			if _, err := fmt.Sscan(port, &n); err == nil {
				i.Ports = append(i.Ports, sdk.Port{Port: n, IP: "10.0.0.1"})
			}
		}
		for s := range sdk.Status(5) {
			if strings.EqualFold(s.Name(), status) {
				i.Status = s
			}
		}
		all = append(all, i)
	}
	return sdk.GroupByName(all)
}

func words(text string) []sdk.Service { return instances(strings.Fields(text)...) }

func TestInstances(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, before, after, want string }{
		{"nothing", "web/a:1", "web/a:1", ""},
		{"added", "", "web/a:1", "web: +a 10.0.0.1:1"},
		{"removed", "web/a:1", "", "web: -a"},
		{"as in the example", "web/node-2:1 web/node-3:1 web/node-5:1", "web/node-2:1=unhealthy web/node-4:31180 web/node-5:2",
			"web: node-2 unhealthy, -node-3, +node-4 10.0.0.1:31180, node-5 10.0.0.1:1 -> 10.0.0.1:2"},
		{"several services", "a/h:1 c/h:1", "b/h:1 c/h:2", "a: -h; b: +h 10.0.0.1:1; c: h 10.0.0.1:1 -> 10.0.0.1:2"},
		{"a tombstone is gone", "web/a:1 web/b:1=tombstone", "web/a:1=tombstone web/b:1=tombstone", "web: -a"},
		{"back from the dead", "web/a:1=tombstone", "web/a:1", "web: +a 10.0.0.1:1"},
		{"new and unhealthy", "", "web/a:1=unhealthy", "web: +a 10.0.0.1:1 unhealthy"},
		{"healthy again", "web/a:1=draining", "web/a:1", "web: a alive"},
		{"several on one host", "web/a/1:1", "web/a/2:1", "web: -a/1, +a/2 10.0.0.1:1"},
		{"several ports", "", "web/a:1,2,3,4,5", "web: +a 10.0.0.1:1 10.0.0.1:2 10.0.0.1:3 +2"},
		{"no port", "", "web/a", "web: +a without ports"},
	} {
		got, more := Instances(words(test.before), words(test.after))
		if strings.Join(got, "; ") != test.want || more != 0 {
			t.Errorf("%s: got %q and %d more, want %q", test.name, got, more, test.want)
		}
	}
}

func TestInstances_OtherFields(t *testing.T) {
	t.Parallel()
	for want, modify := range map[string]func(*sdk.Instance){
		"":                               func(i *sdk.Instance) { i.Updated = time.Now() },
		"web: a web:1 -> web:2":          func(i *sdk.Instance) { i.Image = "web:2" },
		"web: a http -> tcp":             func(i *sdk.Instance) { i.ProxyMode = "tcp" },
		"web: a created again":           func(i *sdk.Instance) { i.Created = time.Now() },
		"web: a changed":                 func(i *sdk.Instance) { i.Labels = map[string]string{"a": "b"} },
		"web: a draining web:1 -> web:2": func(i *sdk.Instance) { i.Status, i.Image = sdk.Draining, "web:2" },
	} {
		before := sdk.Instance{Name: "web", Hostname: "a", Image: "web:1", ProxyMode: "http"}
		after := before
		modify(&after)
		got, _ := Instances(sdk.GroupByName([]sdk.Instance{before}), sdk.GroupByName([]sdk.Instance{after}))
		if strings.Join(got, "") != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestInstances_Bounds(t *testing.T) {
	t.Parallel()
	var all []string
	for n := range 100 {
		for i := range 100 {
			all = append(all, fmt.Sprintf("service-%d/node-%d:80", n, i))
		}
	}
	lines, more := Instances(nil, instances(all...))
	if len(lines) != maxLines || more != 100-maxLines {
		t.Errorf("%d lines and %d more", len(lines), more)
	}
	for _, line := range lines {
		if len(line) > maxLine || !strings.HasSuffix(line, " more") {
			t.Errorf("line %q", line)
		}
	}
	services := instances(all...)
	if lines, more := Instances(services, services); lines != nil || more != 0 {
		t.Errorf("without a difference: %q, %d", lines, more)
	}
	long, _ := Instances(nil, instances("web/"+strings.Repeat("n", 1000)+":1"))
	if diff := cmp.Diff([]string{"web: and 1 more"}, long); diff != "" {
		t.Error(diff)
	}
}
