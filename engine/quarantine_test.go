package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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

func TestWhatIsQuarantined(t *testing.T) {
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
		reason string // empty for one that is well
	}{
		{func(*sdk.Instance) {}, ""},
		{name("/web-1"), ""},
		{name("site/web:1.4@sha256-0a+b~c=d_e"), ""},
		{name(long[:255]), ""},
		{name(long), "Name is 256 bytes long; at most 255 are taken"},
		{name(""), "Name is missing"},
		{name("a\nb"), "Name has a line break in it"},
		{name("a\rb"), "Name has a line break in it"},
		{name("a\u2028b"), "Name has a line break in it"},
		{name("a\u0085b"), "Name has a line break in it"},
		{name("a\x00b"), "Name has a control character in it"},
		{name("a\x1b[31m"), "Name has a control character in it"},
		{name("a\tb"), "Name has white space in it"},
		{name("a\u00a0b"), "Name has white space in it"},
		{name("a\u202eb"), "Name has an invisible character in it"},
		{name("a\u200bb"), "Name has an invisible character in it"},
		{name("a\ufeffb"), "Name has an invisible character in it"},
		{name("a\xffb"), "Name has a byte that is no UTF-8 in it"},
		{name("a\ufffdb"), `Name has the character '\ufffd' in it`},
		{name("caf\u00e9"), `Name has the character '\u00e9' in it`},
		{name(`a"b`), `Name has the character '"' in it`},
		{name("a'b"), `Name has the character '\'' in it`},
		{name("a\u201db"), `Name has the character '\u201d' in it`},
		{name(`a\`), `Name has the character '\\' in it`},
		{name("../../etc/passwd"), "Name has two dots in a row in it"},
		{id(""), "ID is missing"},
		{id("a#b"), "ID has the character '#' in it"},
		{id("a;b"), "ID has the character ';' in it"},
		{id("${HOME}"), "ID has the character '$' in it"},
		{id("%[env(HOME)]"), "ID has the character '%' in it"},
		{image(""), ""},
		{image("a,b"), "Image has the character ',' in it"},
		{image("{{.User}}"), "Image has the character '{' in it"},
		{image("`id`"), "Image has the character '`' in it"},
		{host(""), "Hostname is missing"},
		{host("316048355172"), ""},
		{host("dead.beef"), ""},
		{host("node.1"), ""},
		{host("0"), `Hostname "0" is no address`},
		{host("00000000000000"), `Hostname "00000000000000" is no address`},
		{host("2130706433"), `Hostname "2130706433" is no address`},
		{host("0x7f000001"), `Hostname "0x7f000001" is no address`},
		{host("0X7f.1"), `Hostname "0X7f.1" is no address`},
		{host("_http._tcp.example.com."), ""},
		{host("10.0.0.1"), ""},
		{host("::1"), ""},
		{host("256.0.0.1"), `Hostname "256.0.0.1" is no address`},
		{host("1.2"), `Hostname "1.2" is no address`},
		{host("a..b"), `Hostname "a..b" is no host name`},
		{host("-a"), `Hostname "-a" is no host name`},
		{host("a.b-"), `Hostname "a.b-" is no host name`},
		{host("."), `Hostname "." is no address`},
		{host(long[:64]), `Hostname "` + long[:40] + `"... is no host name`},
		{host(long), "Hostname is 256 bytes long; a host name has at most 253"},
		{host("a b"), "Hostname has white space in it"},
		{host("unix@/run/x"), "Hostname has the character '@' in it"},
		{ip(""), ""},
		{ip("node-2"), ""},
		{ip("::ffff:10.0.0.1"), ""},
		{ip("fe80::1%eth0"), "Ports[1].IP has the character '%' in it"},
		{ip("10.0.0.1:80"), `Ports[1].IP "10.0.0.1:80" is no address`},
		{ip("0.0.0.0"), `Ports[1].IP "0.0.0.0" is nobody's address`},
		{ip("::"), `Ports[1].IP "::" is nobody's address`},
		{ip("::ffff:0.0.0.0"), `Ports[1].IP "::ffff:0.0.0.0" is nobody's address`},
		{ip("/run/x"), "Ports[1].IP has the character '/' in it"},
		{mode("tcp"), ""},
		{mode("ws"), ""},
		{mode(""), ""},
		{mode("HTTP"), `ProxyMode "HTTP" is none of http, tcp and ws`},
		{mode("tcp\n"), `ProxyMode "tcp\n" is none of http, tcp and ws`},
		{port(sdk.Port{}), ""},
		{port(sdk.Port{Type: "sctp", Port: 1, ServicePort: 65535}), ""},
		{port(sdk.Port{Type: "TCP"}), `Ports[1].Type "TCP" is no protocol`},
		{port(sdk.Port{Type: long[:17]}), `Ports[1].Type "` + long[:17] + `" is no protocol`},
		{port(sdk.Port{Port: -1}), "Ports[1].Port -1 is no port"},
		{port(sdk.Port{Port: 65536}), "Ports[1].Port 65536 is no port"},
		{port(sdk.Port{ServicePort: 80}), "Ports[1].Port 0 is no port"},
		{port(sdk.Port{Port: 80, ServicePort: -1}), "Ports[1].ServicePort -1 is no port"},
		{port(sdk.Port{Port: 80, ServicePort: 1 << 62}), "Ports[1].ServicePort 4611686018427387904 is no port"},
		{func(i *sdk.Instance) { i.Ports = nil }, ""},
		{func(i *sdk.Instance) { i.Ports = make([]sdk.Port, 256) }, ""},
		{func(i *sdk.Instance) { i.Ports = make([]sdk.Port, 257) }, "Ports has 257 of them; at most 256 are taken"},
		{label("traefik.http.rule", "Host(a)&&!Path(/b)|c"), ""},
		{label("empty", ""), ""},
		{label("", "a"), "a key of Labels is missing"},
		{label("a b", "c"), "a key of Labels has white space in it"},
		{label("a", "b c"), "the label a has white space in it"},
		{label("a", "b;c"), "the label a has the character ';' in it"},
		{label("a", long), "the label a is 256 bytes long; at most 255 are taken"},
		{func(i *sdk.Instance) {
			i.Labels = map[string]string{}
			for n := range 65 {
				i.Labels[fmt.Sprint(n)] = ""
			}
		}, "Labels has 65 of them; at most 64 are taken"},
		{func(i *sdk.Instance) { i.Status = 77 }, ""}, // Sidecar takes it for a tombstone
		{func(i *sdk.Instance) { i.Created = year(10000) }, "Created is not in the years 1 to 9999"},
		{func(i *sdk.Instance) { i.Updated = year(0) }, "Updated is not in the years 1 to 9999"},
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
			t.Errorf("%s: it is still there: %+v", tt.reason, after)
		}
	}
}

func TestTheOthersOfABadInstanceStay(t *testing.T) {
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
		{Reason: "Cluster has white space in it"},
		{`"alone\x1b"`, good.Hostname, good.ID, "Name has a control character in it"},
		{`"nobody here"`, "", "", "Name has white space in it"},
		{"web", good.Hostname, `"two\nlines"`, "ID has a line break in it"},
		{"web", good.Hostname, good.ID, "the service's Name has white space in it"},
	}, out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if fmt.Sprintf("%+v", snap) != before {
		t.Errorf("the snapshot itself was changed: %+v", snap)
	}
}

func TestAGoodSnapshotIsNotCopied(t *testing.T) {
	snap := sdk.Snapshot{Services: sdk.GroupByName(slices.Repeat([]sdk.Instance{healthyInstance()}, 100))}
	after, out := Quarantine(snap)
	if &after.Services[0] != &snap.Services[0] || out != nil {
		t.Error("it was copied")
	}
	if n := testing.AllocsPerRun(10, func() { Quarantine(snap) }); n > 3 {
		t.Errorf("%v allocations", n)
	}
}

// Whoever adds a field to an instance has to say what it may be.
func TestEveryFieldIsLookedAt(t *testing.T) {
	known := map[string]bool{
		"ID": true, "Name": true, "Image": true, "Created": true, "Hostname": true, "Ports": true, "Updated": true,
		"ProxyMode": true, "Status": true, "Labels": true, // of Instance; any Status will do
		"Type": true, "Port": true, "ServicePort": true, "IP": true, // of Port
	}
	for _, of := range []reflect.Type{reflect.TypeFor[sdk.Instance](), reflect.TypeFor[sdk.Port]()} {
		for field := range of.Fields() {
			if !known[field.Name] {
				t.Errorf("nothing is said of %s.%s", of.Name(), field.Name)
			}
		}
	}
}

func TestQuarantineIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		counts := &counting{}
		s := &source{name: "s", log: slog.New(slog.NewTextHandler(&log, nil)), observer: counts, memory: forgetful{}}
		bad, other := healthyInstance(), healthyInstance()
		bad.ID, other.ID = "a b", "c d"
		say := func(want string, instances ...sdk.Instance) {
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
			if counts.quarantined != len(s.quarantined) {
				t.Errorf("%d were counted of %d", counts.quarantined, len(s.quarantined))
			}
			log.Reset()
		}
		line := func(what, id string) string {
			return fmt.Sprintf(`%q service=web instance="\"%s\"" hostname=node-1.example.com reason="ID has white space in it"`,
				what, id)
		}
		const comes, goes = "quarantined: nothing of it is rendered until it says something else", "no longer quarantined"
		say("")
		say(line(comes, "a b"), bad)
		say("", bad)
		say(line(comes, "c d"), bad, other)
		say(line(goes, "a b"), other)
		say(line(goes, "c d"))

		var many []sdk.Instance
		for n := range 109 {
			bad.ID = fmt.Sprintf("a %03d", n)
			many = append(many, bad)
		}
		var want []string
		for n := range 10 {
			want = append(want, line(comes, fmt.Sprintf("a %03d", n)))
		}
		say(strings.Join(append(want, fmt.Sprintf("%q and_more=99", comes)), "\n"), many...)
	})
}

type counting struct {
	silent
	quarantined int
}

func (c *counting) Quarantined(_ string, instances int) { c.quarantined = instances }

func TestQuarantinedInStatus(t *testing.T) {
	play(t, func(w *world) {
		w.say("web", "chat\nlog")
		w.want("1 v1:web")
		want := []Quarantined{{`"chat\nlog"`, "h", "1", "Name has a line break in it"}}
		if diff := cmp.Diff(want, w.status().Quarantined); diff != "" {
			t.Error(diff)
		}
		w.say("web")
		if got := w.status().Quarantined; len(got) > 0 {
			t.Errorf("still %+v", got)
		}
	})
}

// What was looked at before makes no difference, but that services without a fault are not copied.
func TestInspectorFindsWhatALookAtTheWholeFinds(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	service := func(name string) sdk.Service {
		svc := sdk.Service{Name: name}
		for n := range 1 + random.IntN(3) {
			inst := healthyInstance()
			inst.Name, inst.ID = name, strconv.Itoa(n)
			if random.IntN(5) == 0 {
				inst.Image = "a b"
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
		got, gotOut := i.quarantine(snap)
		want, wantOut := Quarantine(snap)
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(gotOut, wantOut) {
			t.Fatalf("of %+v\nis left\n%+v %+v\nand without a past\n%+v %+v", snap, got, gotOut, want, wantOut)
		}
		for _, svc := range got.Services {
			at := slices.IndexFunc(snap.Services, func(s sdk.Service) bool { return s.Name == svc.Name })
			if before := snap.Services[at]; len(faultsOf(&before)) == 0 && !svc.Shares(before) {
				t.Fatalf("%+v was copied", svc)
			}
		}
	}
}
