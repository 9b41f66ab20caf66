package engine

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// forbidden means something to HAProxy, to a wrap, to a template or to a terminal.
const forbidden = " \t\r\n\v\f\"'#\\`$%{};"

func FuzzQuarantine(f *testing.F) {
	f.Add("web", "bb524a2ea132", "local/web:1.4", "node-1", "http", "demo", "tcp", "10.213.0.1", "zone", "a", int64(1), int64(80))
	f.Add("a\nb", "a b", "`id`", "-x", "HTTP", "$x", "TCP", "fe80::1%eth0", "", "\u2028", int64(-1), int64(70000))
	f.Add("..", "", "\xff", "0x7f.1", "ws", "{{", "udp", "::", "k#", "v;", int64(0), int64(0))
	f.Fuzz(func(t *testing.T, name, id, image, host, mode, cluster, protocol, ip, key, value string, port, servicePort int64) {
		good := healthyInstance()
		inst := sdk.Instance{
			ID: id, Name: name, Image: image, Hostname: host, ProxyMode: mode, Created: time.Unix(port, servicePort),
			Ports:  []sdk.Port{{Type: protocol, Port: port, ServicePort: servicePort, IP: ip}},
			Labels: map[string]string{key: value},
		}
		snap := sdk.Snapshot{
			Cluster: cluster, Services: sdk.GroupByName([]sdk.Instance{good, inst}), Last: &sdk.Change{Instance: inst},
		}
		after, out := Quarantine(snap)
		again, none := Quarantine(after)
		if len(none) > 0 || !snapshots.Equal(after, again) {
			t.Errorf("a valid snapshot was quarantined: %+v", none)
		}
		kept := 0
		for _, svc := range after.Services {
			for _, i := range svc.Instances {
				kept++
				checkHarmless(t, i.Name, i.ID, i.Image, i.Hostname, i.ProxyMode)
				for _, p := range i.Ports {
					checkHarmless(t, p.Type, p.IP)
					if p.Port < 0 || p.Port > 65535 || p.ServicePort < 0 || p.ServicePort > 65535 {
						t.Errorf("port %+v", p)
					}
				}
				for k, v := range i.Labels {
					checkHarmless(t, k, v)
				}
			}
		}
		checkHarmless(t, after.Cluster)
		if after.Last != nil && kept != 2 {
			t.Error("the last change has a quarantined instance")
		}
		if want := 2 - kept; len(out) != want && len(out) != want+1 {
			t.Errorf("%d instances are left, quarantined %+v", kept, out)
		}
		for _, q := range out {
			text := q.Service + q.Hostname + q.ID + q.Reason
			if len(text) > 5*maxText || OneLine(text) != text || !isASCII(text) {
				t.Errorf("invalid description %q", q)
			}
		}
	})
}

func checkHarmless(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		bad := strings.ContainsAny(text, forbidden) || strings.Contains(text, "..")
		if bad || len(text) > maxText || OneLine(text) != text || !isASCII(text) {
			t.Errorf("%q was accepted", text)
		}
	}
}

func isASCII(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}
