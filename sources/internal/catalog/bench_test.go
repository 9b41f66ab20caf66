package catalog_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

// largeEvent is a push of 500 services with 20 instances each.
func largeEvent(b *testing.B) []byte {
	b.Helper()
	now := time.Date(2026, 11, 22, 7, 44, 54, 123456789, time.UTC)
	var instances []sdk.Instance
	for n := range 10_000 {
		instances = append(instances, sdk.Instance{
			ID: fmt.Sprintf("%012x", n), Name: fmt.Sprintf("service-%d", n%500), Image: "registry.local/web:1.4.2",
			Hostname: fmt.Sprintf("node-%d", n/100), Created: now, Updated: now, ProxyMode: "http",
			Ports: []sdk.Port{{Type: "tcp", Port: int64(20_000 + n), ServicePort: int64(8000 + n%500), IP: "10.0.0.1"}},
		})
	}
	var state bytes.Buffer
	snap := sdk.Snapshot{Cluster: "demo", Changed: now, Services: sdk.GroupByName(instances)}
	if err := catalog.EncodeState(&state, snap); err != nil {
		b.Fatal(err)
	}
	return fmt.Appendf(nil, `{"State":%s}`, state.Bytes())
}

func BenchmarkDecodeEvent(b *testing.B) {
	content := largeEvent(b)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		if _, err := catalog.DecodeEvent(content); err != nil {
			b.Fatal(err)
		}
	}
}
