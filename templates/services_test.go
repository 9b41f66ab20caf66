package templates

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func with(inst sdk.Instance, change func(*sdk.Instance)) sdk.Instance {
	inst.Ports = slices.Clone(inst.Ports)
	change(&inst)
	return inst
}

func mode(m string) func(*sdk.Instance)       { return func(i *sdk.Instance) { i.ProxyMode = m } }
func status(s sdk.Status) func(*sdk.Instance) { return func(i *sdk.Instance) { i.Status = s } }
func daysOld(n int) func(*sdk.Instance) {
	return func(i *sdk.Instance) { i.Created = noon.AddDate(0, 0, -n) }
}

// ids returns the usable instances as SERVICE/ID.
func ids(v *services) []string {
	var all []string
	for _, svc := range ordered(v.snap.Services) {
		for _, inst := range v.usable[svc.Name] {
			all = append(all, svc.Name+"/"+inst.ID)
		}
	}
	return all
}

func TestServices_IgnoredInstances(t *testing.T) {
	udp := func(i *sdk.Instance) { i.Ports = append(i.Ports, sdk.Port{Type: "udp", Port: 1, ServicePort: 80}) }
	metrics := func(i *sdk.Instance) { i.Ports = append(i.Ports, sdk.Port{Type: "tcp", Port: 9100}) }
	tests := map[string]struct {
		instances []sdk.Instance
		want      []string
		notes     []string
	}{
		"majority": {
			instances: []sdk.Instance{
				instance("web", "a", "1", 80), instance("web", "b", "2", 80, 443), instance("web", "c", "3", 443, 80),
			},
			want: []string{"web/2", "web/3"},
			notes: []string{
				`instance 1 of service "web" on a is ignored: it offers 80/tcp, ` +
					`and most instances of the service offer 80/tcp 443/tcp`,
			},
		},
		"dead instances do not count": {
			instances: []sdk.Instance{
				instance("web", "a", "1", 80),
				with(instance("web", "b", "2", 443), status(sdk.Unhealthy)),
				with(instance("web", "c", "3", 443), status(sdk.Tombstone)),
			},
			want: []string{"web/1"},
		},
		"equal numbers: the first in alphabetical order": {
			instances: []sdk.Instance{instance("web", "a", "1", 90), instance("web", "b", "2", 80)},
			want:      []string{"web/2"},
			notes: []string{
				`instance 1 of service "web" on a is ignored: it offers 90/tcp, and most instances of the service offer 80/tcp`,
			},
		},
		"ports that are not service ports may differ": {
			instances: []sdk.Instance{
				with(instance("web", "a", "1", 80), func(i *sdk.Instance) { i.Ports[0].Port = 5; i.Ports[0].IP = "::1" }),
				with(instance("web", "b", "2", 80), metrics),
			},
			want: []string{"web/1", "web/2"},
		},
		"type matters": {
			instances: []sdk.Instance{
				instance("web", "a", "1", 80), instance("web", "b", "2", 80), with(instance("web", "c", "3", 80), udp),
			},
			want: []string{"web/1", "web/2"},
			notes: []string{
				`instance 3 of service "web" on c is ignored: it offers 80/tcp 80/udp, ` +
					`and most instances of the service offer 80/tcp`,
			},
		},
		"without ports at all": {
			instances: []sdk.Instance{instance("web", "a", "1"), instance("web", "b", "2", 80)},
			want:      []string{"web/2"},
		},
		"twice": {
			instances: []sdk.Instance{instance("web", "a", "1", 80), instance("web", "a", "1", 80)},
			want:      []string{"web/1"},
			notes:     []string{`instance 1 of service "web" on a is listed twice; the second one is ignored`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := newServices(snapshot(tt.instances...), nil)
			if diff := cmp.Diff(tt.want, ids(v)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.notes, v.notes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestServices_Mode(t *testing.T) {
	http, tcp := instance("web", "a", "1", 80), with(instance("web", "b", "2", 80), mode("tcp"))
	ws := with(instance("web", "c", "3", 80), mode("ws"))
	tests := map[string]struct {
		instances []sdk.Instance
		want      string
	}{
		"majority":          {[]sdk.Instance{tcp, with(tcp, func(i *sdk.Instance) { i.ID = "4" }), http}, "tcp"},
		"ws votes for http": {[]sdk.Instance{tcp, with(tcp, func(i *sdk.Instance) { i.ID = "4" }), http, ws}, "http"},
		"equal numbers: the first in alphabetical order": {[]sdk.Instance{tcp, http}, "http"},
		"dead instances do not count":                    {[]sdk.Instance{tcp, with(http, status(sdk.Draining))}, "tcp"},
		"not said":                                       {[]sdk.Instance{with(tcp, mode(""))}, "http"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := newServices(snapshot(tt.instances...), nil).mode("web"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestServices_PortOwner(t *testing.T) {
	tests := map[string]struct {
		instances []sdk.Instance
		want      string
		note      string
	}{
		"the oldest instance decides": {
			[]sdk.Instance{
				with(instance("a", "n", "1", 80), daysOld(1)), with(instance("b", "n", "2", 80), daysOld(0)),
				with(instance("b", "n", "3", 80), daysOld(2)),
			},
			"b", `service "a" claims service port 80, which belongs to service "b": its oldest instance is the older one`,
		},
		"equal numbers: the first in alphabetical order": {
			[]sdk.Instance{instance("b", "n", "2", 80), instance("a", "n", "1", 80)},
			"a", `service "b" claims service port 80, which belongs to service "a": ` +
				`their oldest instances are equally old, so the first name decides`,
		},
		"no date is young": {
			[]sdk.Instance{
				with(instance("a", "n", "1", 80), func(i *sdk.Instance) { i.Created = i.Updated }), instance("b", "n", "2", 80),
			},
			"b", `service "a" claims service port 80, which belongs to service "b": its oldest instance is the older one`,
		},
		"the dead claim nothing": {
			[]sdk.Instance{
				with(with(instance("a", "n", "1", 80), daysOld(9)), status(sdk.Tombstone)), instance("b", "n", "2", 80),
			},
			"b", "",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := newServices(snapshot(tt.instances...), nil)
			for _, svc := range []string{"a", "b"} {
				if owns, err := v.ownsPort(svc, "80"); err != nil || owns != (svc == tt.want) {
					t.Errorf("ownsPort %s: %v, %v", svc, owns, err)
				}
			}
			if owns, _ := v.ownsPort(tt.want, 81); owns {
				t.Error("owns a port that nobody claims")
			}
			if got := strings.Join(v.notes, "\n"); got != tt.note {
				t.Errorf("note %q", got)
			}
		})
	}
}

// tangled returns a catalogue with every conflict that services resolve.
func tangled() []sdk.Instance {
	return []sdk.Instance{
		instance("web", "a", "1", 80), instance("web", "b", "2", 80, 443), instance("web", "c", "3", 443, 80),
		with(instance("web", "d", "4", 443, 80), mode("tcp")), with(instance("web", "e", "5", 80), status(sdk.Unhealthy)),
		instance("Web", "a", "6", 80), instance("we_b", "a", "7", 81), instance("we.b", "a", "8", 80),
		with(instance("old", "a", "9", 80), daysOld(3)), with(instance("old", "b", "10", 80), daysOld(2)),
		instance("srv", "h.1", "x", 9000), instance("srv", "h 1", "x", 9000), instance("srv", "h", "1-x", 9000),
		instance("twin", "a", "1", 70), with(instance("twin", "a", "1", 70), mode("tcp")),
	}
}

func TestRender_OrderOfInstancesDoesNotMatter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, set := range []*Set{
		New(Config{BindIP: "127.0.0.1", Now: atNoon}), New(Config{Path: "testdata/older-default.cfg", Now: atNoon}),
	} {
		tmpl := mustLoad(t, set)
		want, wantNotes := mustRender(t, tmpl, snapshot(tangled()...))
		if len(wantNotes) < 4 {
			t.Errorf("too few conflicts: %q", wantNotes)
		}
		for range 200 {
			all := tangled()
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			snap := snapshot(all...)
			if random.IntN(2) == 0 { // a source that does not sort
				random.Shuffle(len(snap.Services), func(i, j int) {
					snap.Services[i], snap.Services[j] = snap.Services[j], snap.Services[i]
				})
				for _, svc := range snap.Services {
					slices.Reverse(svc.Instances)
				}
			}
			got, notes := mustRender(t, tmpl, snap)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
			if diff := cmp.Diff(wantNotes, notes); diff != "" {
				t.Fatal(diff)
			}
		}
	}
}

func TestRender_ConflictsAreAccepted(t *testing.T) {
	out, _ := mustRender(t, mustLoad(t, New(Config{BindIP: "127.0.0.1"})), snapshot(tangled()...))
	checkClean(t, out)
}

func TestRender_SnapshotIsNotModified(t *testing.T) {
	snap, same := snapshot(tangled()...), snapshot(tangled()...)
	slices.Reverse(snap.Services)
	slices.Reverse(same.Services)
	mustRender(t, mustLoad(t, New(Config{})), snap)
	if diff := cmp.Diff(same, snap); diff != "" {
		t.Error(diff)
	}
}

// The usable instances are kept, and take no more memory than those of the snapshot.
func TestServices_Memory(t *testing.T) {
	snap, room, instances := large(), 0, 0
	s := newServices(snap, nil)
	for _, svc := range snap.Services {
		room += cap(s.usable[svc.Name])
		instances += len(svc.Instances)
	}
	if room != instances {
		t.Errorf("there is room for %.2f instances for each one", float64(room)/float64(instances))
	}
}

// There is a note about a service whose living instances have no port.
func TestServices_ServicesWithoutUsablePorts(t *testing.T) {
	with := func(ports ...sdk.Port) sdk.Instance {
		inst := instance("web", "h", "a")
		inst.Ports = ports
		return inst
	}
	for name, tt := range map[string]struct {
		inst  sdk.Instance
		notes int
	}{
		"none":        {with(), 1},
		"over UDP":    {with(sdk.Port{Type: "udp", Port: 1, ServicePort: 80}), 0},
		"not offered": {with(sdk.Port{Type: "tcp", Port: 1}), 0},
		"over TCP":    {with(sdk.Port{Type: "tcp", Port: 1, ServicePort: 80}), 0},
		"over both": {with(sdk.Port{Type: "udp", Port: 1, ServicePort: 80}, sdk.Port{Type: "tcp", Port: 1, ServicePort: 80}),
			0},
	} {
		first := newServices(snapshot(tt.inst), nil)
		if again := newServices(first.snap, first); len(first.notes) != tt.notes || len(again.notes) != tt.notes {
			t.Errorf("%s: %q, and again %q", name, first.notes, again.notes)
		}
	}
	gone := with()
	gone.Status = sdk.Tombstone
	if v := newServices(snapshot(gone), nil); len(v.notes) > 0 {
		t.Errorf("of a service that is gone: %q", v.notes)
	}
}
