package sidecar

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Reused buffers do not change earlier snapshots, and rejected pushes do not affect later ones.
func TestPush_ReusedBuffers(t *testing.T) {
	t.Parallel()
	p := newTestPush(t, nil)
	type read struct{ got, want sdk.Snapshot }
	var all []read
	for round := range 3 {
		for n := 1; n <= updates; n++ {
			body := recordedUpdate(t, n)
			if w := post(t, p, body); w.Code != http.StatusOK {
				t.Fatalf("push %d: %d %s", n, w.Code, w.Body)
			}
			_, got := p.latest.take()
			want, err := DecodeState(body, p.name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, read{*got, want})
			if (n+round)%5 == 0 { // invalid JSON of the same length
				if w := post(t, p, append(bytes.Clone(body[:len(body)-9]), "         "...)); w.Code != http.StatusBadRequest {
					t.Fatalf("a push that was cut off: %d %s", w.Code, w.Body)
				}
			}
		}
	}
	for n, r := range all {
		if !snapshots.Equal(r.got, r.want) {
			t.Fatalf("push %d is read as %+v, want %+v", n, r.got, r.want)
		}
	}
}
