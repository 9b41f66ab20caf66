package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func healthyInstance() sdk.Instance {
	return sdk.Instance{
		ID: "bb524a2ea132", Name: "web", Image: "registry.local:5000/site/web:1.4.1@sha256-0a", Hostname: "node-1.example.com",
		Ports: []sdk.Port{
			{Type: "tcp", Port: 31180, ServicePort: 8080, IP: "10.213.0.1"}, {Type: "udp", Port: 65535, IP: "2001:db8::1"},
		},
		ProxyMode: "http", Labels: map[string]string{"zone": "eu-1"},
	}
}

func year(n int) time.Time { return time.Date(n, 1, 1, 0, 0, 0, 0, time.UTC) }

func TestQuarantine_Reasons(t *testing.T) {
	type with = func(*sdk.Instance)
	name := func(s string) with { return func(i *sdk.Instance) { i.Name = s } }
	id := func(s string) with { return func(i *sdk.Instance) { i.ID = s } }
	image := func(s string) with { return func(i *sdk.Instance) { i.Image = s } }
	host := func(s string) with { return func(i *sdk.Instance) { i.Hostname = s } }
	ip := func(s string) with { return func(i *sdk.Instance) { i.Ports[1].IP = s } }
	mode := func(s string) with { return func(i *sdk.Instance) { i.ProxyMode = s } }
	port := func(p sdk.Port) with { return func(i *sdk.Instance) { i.Ports[1] = p } }
	label := func(k, v string) with { return func(i *sdk.Instance) { i.Labels = map[string]string{k: v} } }
	long := strings.Repeat("x", 256)

	for _, tt := range []struct {
		with   with
		reason string // empty for a valid one
	}{
		{func(*sdk.Instance) {}, ""},
		{name("/web-1"), ""},
		{name("site/web:1.4@sha256-0a+b~c=d_e"), ""},
		{name(long[:255]), ""},
		{name(long), "Name has 256 bytes; at most 255 are accepted"},
		{name(""), "Name is missing"},
		{name("a\nb"), "Name contains a line break"},
		{name("a\rb"), "Name contains a line break"},
		{name("a\u2028b"), "Name contains a line break"},
		{name("a\u0085b"), "Name contains a line break"},
		{name("a\x00b"), "Name contains a control character"},
		{name("a\x1b[31m"), "Name contains a control character"},
		{name("a\tb"), "Name contains white space"},
		{name("a\u00a0b"), "Name contains white space"},
		{name("a\u202eb"), "Name contains an invisible character"},
		{name("a\u200bb"), "Name contains an invisible character"},
		{name("a\ufeffb"), "Name contains an invisible character"},
		{name("a\xffb"), "Name contains a byte that is not UTF-8"},
		{name("a\ufffdb"), `Name contains the character '\ufffd'`},
		{name("caf\u00e9"), `Name contains the character '\u00e9'`},
		{name(`a"b`), `Name contains the character '"'`},
		{name("a'b"), `Name contains the character '\''`},
		{name("a\u201db"), `Name contains the character '\u201d'`},
		{name(`a\`), `Name contains the character '\\'`},
		{name("../../etc/passwd"), "Name contains two consecutive dots"},
		{id(""), "ID is missing"},
		{id("a#b"), "ID contains the character '#'"},
		{id("a;b"), "ID contains the character ';'"},
		{id("${HOME}"), "ID contains the character '$'"},
		{id("%[env(HOME)]"), "ID contains the character '%'"},
		{image(""), ""},
		{host(""), "Hostname is missing"},
		{host("316048355172"), ""},
		{host("dead.beef"), ""},
		{host("node.1"), ""},
		{host("0"), `Hostname "0" is not an address`},
		{host("00000000000000"), `Hostname "00000000000000" is not an address`},
		{host("2130706433"), `Hostname "2130706433" is not an address`},
		{host("0x7f000001"), `Hostname "0x7f000001" is not an address`},
		{host("0X7f.1"), `Hostname "0X7f.1" is not an address`},
		{host("_http._tcp.example.com."), ""},
		{host("10.0.0.1"), ""},
		{host("::1"), ""},
		{host("256.0.0.1"), `Hostname "256.0.0.1" is not an address`},
		{host("1.2"), `Hostname "1.2" is not an address`},
		{host("a..b"), `Hostname "a..b" is not a host name`},
		{host("-a"), `Hostname "-a" is not a host name`},
		{host("a.b-"), `Hostname "a.b-" is not a host name`},
		{host("."), `Hostname "." is not an address`},
		{host(long[:64]), `Hostname "` + long[:40] + `"... is not a host name`},
		{host(long), "Hostname has 256 bytes; a host name has at most 253"},
		{host("a b"), "Hostname contains white space"},
		{host("unix@/run/x"), "Hostname contains the character '@'"},
		{ip(""), ""},
		{ip("node-2"), ""},
		{ip("::ffff:10.0.0.1"), ""},
		{ip("fe80::1%eth0"), "Ports[1].IP contains the character '%'"},
		{ip("10.0.0.1:80"), `Ports[1].IP "10.0.0.1:80" is not an address`},
		{ip("0.0.0.0"), `Ports[1].IP "0.0.0.0" is the unspecified address`},
		{ip("::"), `Ports[1].IP "::" is the unspecified address`},
		{ip("::ffff:0.0.0.0"), `Ports[1].IP "::ffff:0.0.0.0" is the unspecified address`},
		{ip("/run/x"), "Ports[1].IP contains the character '/'"},
		{mode("tcp"), ""},
		{mode("ws"), ""},
		{mode(""), ""},
		{mode("HTTP"), `ProxyMode "HTTP" is not http, tcp or ws`},
		{mode("tcp\n"), `ProxyMode "tcp\n" is not http, tcp or ws`},
		{port(sdk.Port{}), ""},
		{port(sdk.Port{Type: "sctp", Port: 1, ServicePort: 65535}), ""},
		{port(sdk.Port{Type: "TCP"}), ""},
		{port(sdk.Port{Type: "t-p"}), `Ports[1].Type "t-p" is not a protocol`},
		{port(sdk.Port{Type: long[:17]}), `Ports[1].Type "` + long[:17] + `" is not a protocol`},
		{port(sdk.Port{Port: -1}), "Ports[1].Port -1 is not a port"},
		{port(sdk.Port{Port: 65536}), "Ports[1].Port 65536 is not a port"},
		{port(sdk.Port{ServicePort: 80}), "Ports[1].Port 0 is not a port"},
		{port(sdk.Port{Port: 80, ServicePort: -1}), "Ports[1].ServicePort -1 is not a port"},
		{port(sdk.Port{Port: 80, ServicePort: 1 << 62}), "Ports[1].ServicePort 4611686018427387904 is not a port"},
		{func(i *sdk.Instance) { i.Ports = nil }, ""},
		{func(i *sdk.Instance) { i.Ports = make([]sdk.Port, 256) }, ""},
		{func(i *sdk.Instance) { i.Ports = make([]sdk.Port, 257) }, "Ports has 257 entries; at most 256 are accepted"},
		{label("traefik.http.rule", "Host(a)&&!Path(/b)|c"), ""},
		{label("empty", ""), ""},
		{func(i *sdk.Instance) { i.Status = 77 }, ""}, // Sidecar takes it for a tombstone
		{func(i *sdk.Instance) { i.Invalid = "Ports is a text, not a list" }, "Ports is a text, not a list"},
	} {
		inst := healthyInstance()
		tt.with(&inst)
		snap := sdk.Snapshot{Services: sdk.GroupByName([]sdk.Instance{inst}), Last: &sdk.Change{Instance: inst}}
		after, out := Quarantine(snap)
		if tt.reason == "" {
			if len(out) > 0 || after.Last == nil || len(after.Services) != 1 {
				t.Errorf("%+v: quarantined: %+v", inst, out)
			}
			continue
		}
		if len(out) != 1 || out[0].Reason != tt.reason {
			t.Errorf("%.300q:\ngot  %+v\nwant %s", fmt.Sprint(inst), out, tt.reason)
		}
		if after.Last != nil || len(after.Services) != 0 {
			t.Errorf("%s: not removed: %+v", tt.reason, after)
		}
	}
}

// A value that an instance can be rendered without is dropped, and the instance stays.
func TestInspector_DroppedValues(t *testing.T) {
	type with = func(*sdk.Instance)
	image := func(s string) with { return func(i *sdk.Instance) { i.Image = s } }
	label := func(k, v string) with {
		return func(i *sdk.Instance) { i.Labels = map[string]string{k: v, "zone": "eu-1"} }
	}
	created := func(at time.Time) with { return func(i *sdk.Instance) { i.Created, i.Updated = at, at } }
	zone := time.FixedZone("", 24*60*60)
	for name, tt := range map[string]struct {
		with    with
		dropped int
	}{
		"image with a mark":       {image("a,b"), 1},
		"image with an action":    {image("{{.User}}"), 1},
		"image with backticks":    {image("`id`"), 1},
		"label without a key":     {label("", "a"), 1},
		"label key with a space":  {label("a b", "c"), 1},
		"label with a space":      {label("a", "b c"), 1},
		"label with a backtick":   {label("a", "`b`"), 1},
		"label with a line break": {label("a", "b\nc"), 1},
		"label that is too long":  {label("a", strings.Repeat("x", 256)), 1},
		"year too large":          {created(year(10000)), 0},
		"year too small":          {created(year(-1)), 0},
		"zone of a day":           {created(time.Date(2026, 11, 22, 0, 0, 0, 0, zone)), 0},
	} {
		inst := healthyInstance()
		tt.with(&inst)
		before := fmt.Sprintf("%+v", inst)
		snap := sdk.Snapshot{Services: sdk.GroupByName([]sdk.Instance{inst}), Last: &sdk.Change{Instance: inst}}
		after, found := new(inspector).inspect(snap)
		if len(found.quarantined) > 0 || len(found.dropped) != tt.dropped || after.Last == nil {
			t.Errorf("%s: found %+v", name, found)
			continue
		}
		got := after.Services[0].Instances[0]
		if _, err := json.Marshal(after); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(got.Labels) != 1 || got.Labels["zone"] != "eu-1" || strings.ContainsAny(got.Image, forbidden+",") {
			t.Errorf("%s: got %+v", name, got)
		}
		if fmt.Sprintf("%+v", inst) != before {
			t.Errorf("%s: the snapshot was modified", name)
		}
	}
}

func TestInspector_TooManyLabels(t *testing.T) {
	inst := healthyInstance()
	inst.Labels = map[string]string{"bad": "a b"}
	for n := range 70 {
		inst.Labels[fmt.Sprintf("%03d", n)] = ""
	}
	after, found := new(inspector).inspect(sdk.Snapshot{Services: sdk.GroupByName([]sdk.Instance{inst})})
	labels := after.Services[0].Instances[0].Labels
	if _, first := labels["063"]; len(labels) != 64 || !first || len(found.dropped) != 2 {
		t.Errorf("%d labels, dropped %+v", len(labels), found.dropped)
	}
}

// A port without a type is a TCP port, for every source.
func TestInspector_NormalizesPortTypes(t *testing.T) {
	inst := healthyInstance()
	inst.Ports = []sdk.Port{{Port: 1, ServicePort: 80}, {Type: "TCP", Port: 2, ServicePort: 81}, {Type: "udp", Port: 3}}
	after, _ := Quarantine(sdk.Snapshot{Services: sdk.GroupByName([]sdk.Instance{inst})})
	var types []string
	for _, p := range after.Services[0].Instances[0].Ports {
		types = append(types, p.Type)
	}
	if !slices.Equal(types, []string{"tcp", "tcp", "udp"}) || inst.Ports[0].Type != "" {
		t.Errorf("types are %q", types)
	}
}

// Heartbeats do not change an instance, whether or not it had to be normalized.
func TestInspector_HeartbeatsShareInstances(t *testing.T) {
	good, cleaned := healthyInstance(), healthyInstance()
	cleaned.Name, cleaned.Ports = "cleaned", []sdk.Port{{Port: 1, ServicePort: 80}}
	var i inspector
	inspect := func(at time.Time) sdk.Snapshot {
		good.Updated, cleaned.Updated = at, at
		after, _ := i.inspect(sdk.Snapshot{Services: sdk.GroupByName([]sdk.Instance{good, cleaned})})
		return after
	}
	first := inspect(year(2026))
	for n, svc := range inspect(year(2027)).Services {
		if !snapshots.ShareInstances(svc, first.Services[n]) {
			t.Errorf("service %s was copied", svc.Name)
		}
	}
	good.Image = "registry.local/web:2"
	third := inspect(year(2028))
	if third.Services[0].Name != "cleaned" || !snapshots.ShareInstances(third.Services[0], first.Services[0]) {
		t.Error("the unchanged service was copied")
	}
	if got := third.Services[1].Instances[0]; got.Image != good.Image || !got.Updated.Equal(year(2028)) {
		t.Errorf("the change is missing: %+v", got)
	}
}

// An instance must not be the daemon itself.
func TestInspector_OwnAddresses(t *testing.T) {
	own := func(listening string) ownAddresses {
		return ownAddresses{
			listening: []netip.AddrPort{netip.MustParseAddrPort(listening)}, hostname: "Node-1.example.com",
			local: []netip.Addr{netip.MustParseAddr("10.213.0.1")},
		}
	}
	for _, tt := range []struct {
		listening, hostname, ip string
		port                    int64
		out                     bool
	}{
		{"0.0.0.0:7778", "other", "127.0.0.1", 7778, true},
		{"0.0.0.0:7778", "other", "127.9.9.9", 7778, true},
		{"0.0.0.0:7778", "other", "10.213.0.1", 7778, true},
		{"[::]:7778", "other", "::ffff:10.213.0.1", 7778, true},
		{"[::]:7778", "other", "::1", 7778, true},
		{"0.0.0.0:7778", "node-1", "", 7778, true},
		{"0.0.0.0:7778", "NODE-1.example.com", "", 7778, true},
		{"0.0.0.0:7778", "node-1", "10.213.0.2", 7778, true}, // use_hostnames
		{"0.0.0.0:7778", "localhost", "", 7778, true},
		{"0.0.0.0:7778", "other", "10.213.0.2", 7778, false},
		{"0.0.0.0:7778", "node-1", "10.213.0.1", 7779, false},
		{"127.0.0.1:7778", "other", "127.0.0.1", 7778, true},
		{"127.0.0.1:7778", "localhost", "", 7778, true},
		{"127.0.0.1:7778", "other", "10.213.0.1", 7778, false},
		{"10.213.0.1:7778", "other", "10.213.0.1", 7778, true},
	} {
		inst := healthyInstance()
		inst.Hostname, inst.Ports = tt.hostname, []sdk.Port{{Type: "tcp", Port: tt.port, ServicePort: 80, IP: tt.ip}}
		i := inspector{own: own(tt.listening)}
		_, found := i.inspect(sdk.Snapshot{Services: sdk.GroupByName([]sdk.Instance{inst})})
		if out := len(found.quarantined) > 0; out != tt.out {
			t.Errorf("%+v: quarantined is %v", tt, out)
		}
	}
}

func TestQuarantine_OtherInstancesStay(t *testing.T) {
	bad, alone, good := healthyInstance(), healthyInstance(), healthyInstance()
	bad.ID, alone.Name = "two\nlines", "alone\x1b"
	snap := sdk.Snapshot{
		Cluster: "a b", Changed: year(-1),
		Services: sdk.GroupByName([]sdk.Instance{bad, alone, good}),
	}
	snap.Services = append(snap.Services, sdk.Service{Name: "nobody here"}, sdk.Service{Name: "nobody"},
		sdk.Service{Name: "not its\nname", Instances: []sdk.Instance{good}})
	before := fmt.Sprintf("%+v", snap)
	after, out := Quarantine(snap)
	want := sdk.Snapshot{Services: []sdk.Service{{Name: "web", Instances: []sdk.Instance{good}}, {Name: "nobody"}}}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]Quarantined{
		{Reason: "Cluster contains white space"},
		{`"alone\x1b"`, good.Hostname, good.ID, "Name contains a control character"},
		{`"nobody here"`, "", "", "Name contains white space"},
		{"web", good.Hostname, `"two\nlines"`, "ID contains a line break"},
		{"web", good.Hostname, good.ID, "the service's Name contains white space"},
	}, out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if fmt.Sprintf("%+v", snap) != before {
		t.Errorf("the snapshot was modified: %+v", snap)
	}
}

func TestQuarantine_ValidSnapshotIsNotCopied(t *testing.T) {
	snap := sdk.Snapshot{Services: sdk.GroupByName(slices.Repeat([]sdk.Instance{healthyInstance()}, 100))}
	after, out := Quarantine(snap)
	if !snapshots.ShareInstances(after.Services[0], snap.Services[0]) || out != nil {
		t.Error("the snapshot was copied")
	}
}

// A snapshot in which nothing has changed allocates little for each service, and nothing for each instance.
func TestInspector_Memory(t *testing.T) {
	var i inspector
	snap := manyInstances()
	i.inspect(snap)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	i.inspect(snap)
	runtime.ReadMemStats(&after)
	size := unsafe.Sizeof(snap.Services[0])
	times := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(snap.Services)) / float64(size)
	t.Logf("%.1f times its size for each service", times)
	if times > 4 {
		t.Errorf("inspecting an unchanged service allocates %.1f times its size", times)
	}
}

// TestQuarantine_CoversEveryField fails for a new field of an instance until the quarantine checks its values.
func TestQuarantine_CoversEveryField(t *testing.T) {
	known := map[string]bool{
		"ID": true, "Name": true, "Image": true, "Created": true, "Hostname": true, "Ports": true, "Updated": true,
		"ProxyMode": true, "Status": true, "Labels": true, "Invalid": true, // of Instance; any Status will do
		"Type": true, "Port": true, "ServicePort": true, "IP": true, // of Port
	}
	for _, of := range []reflect.Type{reflect.TypeFor[sdk.Instance](), reflect.TypeFor[sdk.Port]()} {
		for field := range of.Fields() {
			if !known[field.Name] {
				t.Errorf("nothing is inspect of %s.%s", of.Name(), field.Name)
			}
		}
	}
}

func TestQuarantine_IsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &source{name: "s", log: slog.New(slog.NewTextHandler(&log, nil)), observer: NoObserver{}, store: noStateStore{}}
		bad, other := healthyInstance(), healthyInstance()
		bad.ID, other.ID = "a b", "c d"
		emit := func(want string, instances ...sdk.Instance) {
			t.Helper()
			s.emit(sdk.Snapshot{Services: sdk.GroupByName(instances)})
			var lines []string
			for line := range strings.Lines(log.String()) {
				_, text, _ := strings.Cut(strings.TrimSpace(line), "msg=")
				lines = append(lines, text)
			}
			if got := strings.Join(lines, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if status := s.status(t.Context()); status.Quarantined != len(s.findings.quarantined) {
				t.Errorf("the status has %d, want %d", status.Quarantined, len(s.findings.quarantined))
			}
			log.Reset()
		}
		line := func(what, id string) string {
			return fmt.Sprintf(`%q service=web instance="\"%s\"" hostname=node-1.example.com reason="ID contains white space"`,
				what, id)
		}
		const begins, ends = "quarantined: no template gets it until its values change", "no longer quarantined"
		emit("")
		emit(line(begins, "a b"), bad)
		emit("", bad)
		emit(line(begins, "c d"), bad, other)
		emit(line(ends, "a b"), other)
		emit(line(ends, "c d"))

		var many []sdk.Instance
		for n := range 109 {
			bad.ID = fmt.Sprintf("a %03d", n)
			many = append(many, bad)
		}
		var want []string
		for n := range 10 {
			want = append(want, line(begins, fmt.Sprintf("a %03d", n)))
		}
		emit(strings.Join(append(want, fmt.Sprintf("%q more=99", begins)), "\n"), many...)
	})
}

func TestQuarantine_InStatus(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web", "chat\nlog")
		env.wantApplied("1 v1:web")
		want := []Quarantined{{`"chat\nlog"`, "h", "1", "Name contains a line break"}}
		if diff := cmp.Diff(want, env.status().Quarantined); diff != "" {
			t.Error(diff)
		}
		env.emitServices("web")
		if got := env.status().Quarantined; len(got) > 0 {
			t.Errorf("still %+v", got)
		}
	})
}

// An inspector finds the same as one without state, and does not copy valid services.
func TestInspector_IncrementalEqualsFull(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	service := func(name string) sdk.Service {
		svc := sdk.Service{Name: name}
		for n := range 1 + random.IntN(3) {
			inst := healthyInstance()
			inst.Name, inst.ID = name, strconv.Itoa(n)
			if random.IntN(5) == 0 {
				inst.ProxyMode = "a b"
			}
			svc.Instances = append(svc.Instances, inst)
		}
		return svc
	}
	var snap sdk.Snapshot
	for n := range 10 {
		snap.Services = append(snap.Services, service(strconv.Itoa(n)))
	}
	var i inspector
	for range 200 {
		snap.Services = slices.Clone(snap.Services)
		for range random.IntN(3) {
			n := random.IntN(len(snap.Services))
			snap.Services[n] = service(snap.Services[n].Name)
		}
		got, gotOut := i.inspect(snap)
		want, wantOut := new(inspector).inspect(snap)
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(gotOut, wantOut) {
			t.Fatalf("%+v:\ngot  %+v %+v\nwant %+v %+v", snap, got, gotOut, want, wantOut)
		}
		for _, svc := range got.Services {
			at := slices.IndexFunc(snap.Services, func(s sdk.Service) bool { return s.Name == svc.Name })
			was := i.known[svc.Name]
			if !snapshots.ShareInstances(was.raw, snap.Services[at]) || !snapshots.ShareInstances(was.clean, svc) {
				t.Fatalf("%+v was copied", svc)
			}
		}
	}
}
