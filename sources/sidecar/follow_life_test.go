package sidecar

import (
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

func TestFollow_LifeOfASidecar(t *testing.T) {
	for name, older := range map[string]bool{"newer": false, "older": true} {
		t.Run(name, func(t *testing.T) {
			s := sidecartest.New(sidecartest.Options{Older: older})
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			f, err := NewFollow(sdk.Env{Name: "test"}, FollowConfig{Address: s.Address(), ResyncInterval: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			emitted, stop := watch(t, f)
			defer stop()
			same := func(snap sdk.Snapshot) bool {
				want := s.Snapshot()
				if older {
					want.Cluster = snap.Cluster
				}
				return snapshots.Equal(snap, want)
			}
			ports := []sdk.Port{{Type: "tcp", Port: 8080, ServicePort: 80, IP: "127.0.0.1"}}
			emitted.until(t, func(sdk.Snapshot) bool { return true })
			s.Add(sdk.Instance{ID: "a", Name: "web", Hostname: "node-1", Ports: ports})
			emitted.until(t, same)
			s.Burst(func(b *sidecartest.Batch) {
				b.Add(sdk.Instance{ID: "b", Name: "web", Hostname: "node-2", Ports: ports})
				b.SetStatus("node-1", "a", sdk.Draining)
				b.Remove("node-1", "a")
			})
			emitted.until(t, same)
			s.Restart()
			emitted.until(t, same)
		})
	}
}

func TestFollowConfig_Addresses(t *testing.T) {
	for address, want := range map[string][2]string{ // the first watch and the state
		"side:7777":                     {"http://side:7777/watch", "http://side:7777/api/state.json"},
		"[::1]:7777":                    {"http://[::1]:7777/watch", "http://[::1]:7777/api/state.json"},
		"https://side":                  {"https://side/watch", "https://side/api/state.json"},
		"http://u:p@side:1/far/":        {"http://u:p@side:1/far/watch", "http://u:p@side:1/far/api/state.json"},
		"http://side:1/api/watch?x=y#z": {"http://side:1/api/watch", "http://side:1/api/state.json"},
		"http://side:1/watch":           {"http://side:1/watch", "http://side:1/api/state.json"},
		"http://side:1/far/api/watch":   {"http://side:1/far/api/watch", "http://side:1/far/api/state.json"},
	} {
		p, err := parsePeer(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if first := p.watches[0].String(); first != want[0]+"?by_service=false" || p.state.String() != want[1] {
			t.Errorf("%s: watch %s, state %s", address, first, p.state)
		}
		if strings.Contains(p.watches[0].Path, "/api/") == strings.Contains(p.watches[1].Path, "/api/") {
			t.Errorf("%s: both watches are of one age", address)
		}
		if older := alternativeURL(p.state).String(); older != strings.Replace(want[1], "/api", "", 1) {
			t.Errorf("%s: an older Sidecar's state would be at %s", address, older)
		}
	}
}

func TestFollowConfig_AllFaults(t *testing.T) {
	for _, address := range []string{"", "side", ":7777", "ftp://side:7777", "http://u:secret%zz@side:7777/%q"} {
		_, err := NewFollow(sdk.Env{}, FollowConfig{Address: address})
		if err == nil || !strings.Contains(err.Error(), "address: ") || !strings.Contains(err.Error(), "resync_interval") {
			t.Errorf("%q: got %v", address, err)
			continue
		}
		if !strings.Contains(err.Error(), "HOST:PORT") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v", address, err)
		}
	}
}

func TestConfigs_Blocks(t *testing.T) {
	push, follow := PushDefaults(), FollowDefaults()
	block := sdk.Block{"resync_interval": "30s", "subscriptions": []any{"web"}, "max_body": 1024}
	if err := sdk.Decode(block, &push); err != nil {
		t.Error(err)
	}
	if push.ResyncInterval != 30*time.Second || len(push.Subscriptions) != 1 || push.MaxBody != 1024 || push.StateURL == "" {
		t.Errorf("got %+v", push)
	}
	if err := sdk.Decode(sdk.Block{"address": "side:7777"}, &follow); err != nil || follow.ResyncInterval != time.Minute {
		t.Errorf("got %+v, %v", follow, err)
	}
	if err := sdk.Decode(sdk.Block{"adr": "side:7777"}, &follow); err == nil || !strings.Contains(err.Error(), "adr") {
		t.Errorf("got %v", err)
	}
}
