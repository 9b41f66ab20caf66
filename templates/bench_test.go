package templates

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// large is a catalogue of 500 services with 20 instances each.
func large() sdk.Snapshot {
	var all []sdk.Instance
	for s := range 500 {
		for i := range 20 {
			name, host, id := fmt.Sprintf("service-%d", s), fmt.Sprintf("node-%d", i), fmt.Sprintf("%012x", s*100+i)
			all = append(all, instance(name, host, id, 10000+int64(s)))
		}
	}
	return snapshot(all...)
}

// withChange returns snap with another port and Updated time of one instance, which depends on n. Templates do not get the
// heartbeats of other instances: the engine passes on the previous ones.
func withChange(snap sdk.Snapshot, n int) sdk.Snapshot {
	snap.Services = slices.Clone(snap.Services)
	service := &snap.Services[n%len(snap.Services)]
	service.Instances = slices.Clone(service.Instances)
	one := &service.Instances[n%len(service.Instances)]
	one.Ports = slices.Clone(one.Ports)
	one.Ports[0].Port++
	one.Updated = one.Updated.Add(time.Minute)
	return snap
}

// BenchmarkRenderAfterOneChange renders snapshots that differ from the previous one in one instance. It compares that with a
// template without a cache.
func BenchmarkRenderAfterOneChange(b *testing.B) {
	for name, set := range map[string]*Set{
		"builtin": New(Config{BindIP: "127.0.0.1"}), "older": New(Config{Path: "testdata/older-default.cfg"}),
	} {
		b.Run(name, func(b *testing.B) {
			snap := large()
			tmpl := mustLoad(b, set)
			mustRender(b, tmpl, snap)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				snap = withChange(snap, n)
				n++
				mustRender(b, tmpl, snap)
			}
			incremental := b.Elapsed() / time.Duration(b.N)
			b.StopTimer()
			const renderings = 5
			began := time.Now()
			for range renderings {
				tmpl = tmpl.withoutCache()
				mustRender(b, tmpl, snap)
			}
			b.ReportMetric(float64(time.Since(began)/renderings)/float64(incremental), "whole/this")
		})
	}
}
