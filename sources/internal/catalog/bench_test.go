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

// largeEvent is a push of 500 services with 20 instances each, after that many pushes in which a sixth of them reported.
func largeEvent(b *testing.B, beats int) []byte {
	b.Helper()
	now := time.Date(2026, 11, 22, 7, 44, 54, 123456789, time.UTC)
	at := func(n int) time.Time { return now.Add(time.Duration((beats+n%6)/6%4) * time.Minute) }
	var instances []sdk.Instance
	for n := range 10_000 {
		instances = append(instances, sdk.Instance{
			ID: fmt.Sprintf("%012x", n), Name: fmt.Sprintf("service-%d", n%500), Image: "registry.local/web:1.4.2",
			Hostname: fmt.Sprintf("node-%d", n/100), Created: now, Updated: at(n), ProxyMode: "http",
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

// inAnyOrder returns an event with its hosts, and the instances of each host, in the random order of a map, as older Sidecars
// write them.
func inAnyOrder(b *testing.B, event []byte) []byte {
	b.Helper()
	var e struct {
		State struct {
			Servers map[string]struct{ Services map[string]json.RawMessage }
		}
	}
	if err := json.Unmarshal(event, &e); err != nil {
		b.Fatal(err)
	}
	out := bytes.NewBufferString(`{"State":{"Servers":`)
	separator := byte('{')
	for name, server := range e.State.Servers {
		out.WriteByte(separator)
		fmt.Fprintf(out, `%q:{"Name":%q,"Services":`, name, name)
		separator = '{'
		for id, instance := range server.Services {
			out.WriteByte(separator)
			fmt.Fprintf(out, `%q:%s`, id, instance)
			separator = ','
		}
		out.WriteString(`}}`)
	}
	out.WriteString(`}}}`)
	return out.Bytes()
}

// BenchmarkDecodeAfterOneChange decodes pushes that differ from the previous one in one instance, and in the heartbeat times of
// all hosts and of a sixth of the instances. It compares that with encoding/json on the same bytes.
func BenchmarkDecodeAfterOneChange(b *testing.B) {
	for _, order := range []struct {
		name string
		push func(beats int) []byte
	}{
		{"sorted", func(beats int) []byte { return largeEvent(b, beats) }},
		{"any order", func(beats int) []byte { return inAnyOrder(b, largeEvent(b, beats)) }},
	} {
		b.Run(order.name, func(b *testing.B) { benchmarkDecode(b, order.push) })
	}
}

func benchmarkDecode(b *testing.B, push func(beats int) []byte) {
	const instances = 10_000
	var pushes [][]byte
	for n := range 24 { // the first follows the last
		id := fmt.Sprintf(`"ID":"%012x"`, n*instances/24)
		from := append([]byte(id), `,"Name":"service-`...)
		to := append([]byte(id), `,"Name":"renamed-`...)
		pushes = append(pushes, bytes.Replace(push(n), from, to, 1))
	}
	content := pushes[0]
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
