package main

import (
	"testing"
	"time"
)

func TestNextIndex(t *testing.T) {
	for _, test := range []struct{ index, got, want uint64 }{
		{0, 7, 7},
		{7, 7, 7},
		{7, 9, 9},
		{9, 7, 0}, // it went backwards
		{9, 0, 0},
		{0, 0, 1}, // no index, and 0 would not wait
		{1, 1, 1},
	} {
		if next := nextIndex(test.index, test.got); next != test.want {
			t.Errorf("%d after %d: wait for %d, want %d", test.got, test.index, next, test.want)
		}
	}
}

func TestRateLimit(t *testing.T) {
	var limit rateLimit
	now := time.Now()
	for n := range queryBurst {
		if delay := limit.delay(now); delay > 0 {
			t.Errorf("query %d is delayed by %v", n, delay)
		}
	}
	for n := 1; n <= 3; n++ {
		if delay, want := limit.delay(now), time.Duration(n)*queryInterval; delay != want {
			t.Errorf("query %d after the burst is delayed by %v, want %v", n, delay, want)
		}
	}
	if delay := limit.delay(now.Add(time.Hour)); delay > 0 {
		t.Errorf("a query an hour later is delayed by %v", delay)
	}
}
