package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// BenchmarkRecord records the change of one instance among 10,000 with its diff. It also reports the time as a fraction of that
// for what comes before each change anyway: comparing two snapshots and the digest of the document.
func BenchmarkRecord(b *testing.B) {
	before := recordedState(0)
	after := []*rendered{recordedState(1), recordedState(2)}
	after[0].snapshot.Services = changed(before.snapshot.Services, "10.0.9.1")
	after[1].snapshot.Services = changed(before.snapshot.Services, "10.0.9.2")
	p := &pipeline{history: history.NewLog(), observer: NoObserver{}, log: slog.New(slog.DiscardHandler)}
	p.publish()
	n := 0
	for b.Loop() {
		p.state.applied = after[n%2]
		n++
		r := after[n%2]
		r.document.Generation, r.isNew = p.history.Next(), true
		p.recordAttempt(&Attempt{Generation: r.document.Generation, Result: sdk.Result{Action: sdk.ActionRuntime}}, r)
	}
	recording := b.Elapsed() / time.Duration(b.N)
	b.StopTimer()
	newest, _ := p.history.List(0, 1)
	if c := newest[0]; c.LinesAdded != 1 || len(c.Instances) != 1 {
		b.Fatalf("recorded %+v", c)
	}
	const times = 10
	began := time.Now()
	for range times {
		sdk.DigestOf(after[0].document.Files)
		snapshots.Equal(after[0].snapshot, after[1].snapshot)
	}
	b.ReportMetric(float64(recording)/float64(time.Since(began)/times), "of-comparing")
}

// recordedState returns a document with a line for each of many instances; line n is different.
func recordedState(n int) *rendered {
	snap := manyInstances()
	var text bytes.Buffer
	for _, service := range snap.Services {
		fmt.Fprintf(&text, "\nbackend %s\n  balance roundrobin\n", service.Name)
		for _, i := range service.Instances {
			fmt.Fprintf(&text, "  server %s-%s %s:%d check inter 5s\n", i.Hostname, i.ID, i.Ports[0].IP, i.Ports[0].Port)
		}
	}
	content := bytes.Replace(text.Bytes(), []byte("10.0.0.1"), fmt.Appendf(nil, "10.0.9.%d", n), 1)
	files := []sdk.File{{Name: "haproxy.cfg", Content: content}}
	return &rendered{snapshot: snap, document: sdk.Document{Digest: sdk.DigestOf(files), Files: files}}
}

// changed returns services with another address of the first instance.
func changed(services []sdk.Service, address string) []sdk.Service {
	services = append([]sdk.Service{}, services...)
	services[0].Instances = append([]sdk.Instance{}, services[0].Instances...)
	services[0].Instances[0].Ports = []sdk.Port{{Type: "tcp", Port: 1, IP: address}}
	return services
}
