package engine

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// manyInstances returns a snapshot with 500 services of 20 instances each.
func manyInstances() sdk.Snapshot {
	var instances []sdk.Instance
	now := time.Date(2026, 11, 22, 7, 44, 54, 123456789, time.UTC)
	for n := range 10_000 {
		instances = append(instances, sdk.Instance{
			ID: fmt.Sprintf("%012x", n), Name: fmt.Sprintf("service-%d", n%500), Image: "registry.local/web:1.4.2",
			Hostname: fmt.Sprintf("node-%d", n/100), Created: now, Updated: now, ProxyMode: "http",
			Ports: []sdk.Port{{Type: "tcp", Port: int64(20_000 + n), ServicePort: int64(8000 + n%500), IP: "10.0.0.1"}},
		})
	}
	return sdk.Snapshot{Services: sdk.GroupByName(instances)}
}

// BenchmarkQuarantine also reports the time as a fraction of that for decoding the same instances.
func BenchmarkQuarantine(b *testing.B) {
	snap := manyInstances()
	content, err := json.Marshal(snap.Services)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, out := Quarantine(snap); len(out) > 0 {
			b.Fatal(out)
		}
	}
	quarantine := b.Elapsed() / time.Duration(b.N)
	b.StopTimer()
	const decodings = 3
	began := time.Now()
	for range decodings {
		var services []sdk.Service
		if err := json.Unmarshal(content, &services); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(quarantine)/float64(time.Since(began)/decodings), "of-decoding")
}
