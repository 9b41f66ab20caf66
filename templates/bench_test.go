package templates

import (
	"fmt"
	"testing"

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

func BenchmarkRender(b *testing.B) {
	snap := large()
	for name, set := range map[string]*Set{
		"builtin": New(Config{BindIP: "127.0.0.1"}), "older": New(Config{Path: "testdata/older-default.cfg"}),
	} {
		b.Run(name, func(b *testing.B) {
			tmpl := mustLoad(b, set)
			b.ReportAllocs()
			for b.Loop() {
				out, _ := mustRender(b, tmpl, snap)
				b.SetBytes(int64(len(out)))
			}
		})
	}
}
