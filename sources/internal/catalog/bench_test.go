package catalog_test

import (
	"bytes"
	"encoding/json"
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

// BenchmarkDecodeAfterOneChange decodes pushes of which each has one instance that is another than in the push before. The
// yardstick is encoding/json on the same bytes.
func BenchmarkDecodeAfterOneChange(b *testing.B) {
	const instances = 10_000
	content := largeEvent(b)
	var pushes [][]byte
	for n := range 20 {
		id := fmt.Sprintf(`"ID":"%012x"`, n*instances/20)
		from := append([]byte(id), `,"Name":"service-`...)
		to := append([]byte(id), `,"Name":"renamed-`...)
		pushes = append(pushes, bytes.Replace(content, from, to, 1))
	}
	var decoder catalog.Decoder
	n := 0
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		if _, err := decoder.DecodeEvent(pushes[n%len(pushes)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	incremental := b.Elapsed() / time.Duration(b.N)
	b.StopTimer()
	const decodings = 5
	began := time.Now()
	for n := range decodings {
		var whole struct {
			State struct {
				Servers map[string]struct {
					Name                     string
					Services                 map[string]sdk.Instance
					LastUpdated, LastChanged time.Time
				}
				LastChanged           time.Time
				ClusterName, Hostname string
			}
		}
		if err := json.Unmarshal(pushes[n], &whole); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(began)/decodings)/float64(incremental), "json/this")
}
