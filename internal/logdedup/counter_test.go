package logdedup

import (
	"fmt"
	"testing"
	"time"
)

func TestCounter(t *testing.T) {
	counter, now := NewCounter(time.Minute), time.Unix(1000, 0)
	add := func(key string, wantN int, wantSeparate bool) {
		t.Helper()
		if n, separate := counter.Add(key, now); n != wantN || separate != wantSeparate {
			t.Errorf("%q: got %d, %v, want %d, %v", key, n, separate, wantN, wantSeparate)
		}
	}
	for n := range MaxKeys {
		add(fmt.Sprint(n), 1, true)
	}
	add("0", 2, true)
	add("one more", 1, false)
	add("and another", 2, false)
	if len(counter.counts) > MaxKeys {
		t.Errorf("counts %d keys", len(counter.counts))
	}
	now = now.Add(time.Minute)
	add("one more", 1, true)
	now = now.Add(-time.Hour) // the clock was set back
	add("one more", 1, true)
}
