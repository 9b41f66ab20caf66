package catalog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

func TestEncodeState_EqualsRecordedState(t *testing.T) {
	snap, err := catalog.Decode(recorded(t, "state-2-all-alive.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(encode(t, snap), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(recorded(t, "state-2-all-alive.json"), &want); err != nil {
		t.Fatal(err)
	}
	// A snapshot lacks these, see EncodeState. Sidecar's LastUpdated may be older than an instance's Updated.
	lost := cmp.FilterPath(func(p cmp.Path) bool {
		key, ok := p.Last().(cmp.MapIndex)
		return ok && (key.Key().String() == "LastUpdated" ||
			key.Key().String() == "LastChanged" && len(p) > 4 || key.Key().String() == "Hostname" && len(p) < 6)
	}, cmp.Ignore())
	if diff := cmp.Diff(want, got, lost); diff != "" {
		t.Errorf("(-recorded +got):\n%s", diff)
	}
}

func encode(t testing.TB, s sdk.Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := catalog.EncodeState(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEncodeState_RoundTrip(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		want := randomSnapshot(r)
		content := encode(t, want)
		got, err := catalog.Decode(content)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
		shuffled := want
		var instances []sdk.Instance
		for _, svc := range want.Services {
			instances = append(instances, svc.Instances...)
		}
		r.Shuffle(len(instances), func(i, j int) { instances[i], instances[j] = instances[j], instances[i] })
		shuffled.Services = sdk.GroupByName(instances)
		if !bytes.Equal(encode(t, shuffled), content) {
			t.Fatalf("seed %d: the order of arrival shows in the bytes", seed)
		}
	}
}

func randomSnapshot(r *rand.Rand) sdk.Snapshot {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	var instances []sdk.Instance
	for n := range r.IntN(20) {
		instance := sdk.Instance{
			ID: pick("a", "b", "a#1", "", "<&>\u2028"), Name: pick("web", "chat", "Servers", ""), Hostname: pick("n1", "n2", ""),
			// Different in each, so that the order of instances with one id is defined.
			Image:   fmt.Sprintf("image:%d", n),
			Created: randomTime(r), Updated: randomTime(r),
			ProxyMode: pick("http", "tcp", "ws"), Status: sdk.Status(r.IntN(6)),
		}
		for range r.IntN(3) {
			port := sdk.Port{Type: pick("tcp", "udp"), Port: r.Int64N(65536), ServicePort: r.Int64N(3)}
			port.IP = pick("", "10.0.0.1", "::1")
			instance.Ports = append(instance.Ports, port)
		}
		if r.IntN(4) == 0 {
			instance.Labels = map[string]string{pick("zone", "x"): pick("a", "")}
		}
		instances = append(instances, instance)
	}
	return sdk.Snapshot{Cluster: pick("", "demo"), Changed: randomTime(r), Services: sdk.GroupByName(instances)}
}

func randomTime(r *rand.Rand) time.Time {
	if r.IntN(2) == 0 {
		return time.Time{}
	}
	return time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC()
}

func TestEncodeState_YearsWithFiveDigits(t *testing.T) {
	err := catalog.EncodeState(io.Discard, sdk.Snapshot{Changed: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err == nil {
		t.Error("no error for the year 10000")
	}
}
