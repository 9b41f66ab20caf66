package sdk

import "testing"

func TestWatched_ChangedSince(t *testing.T) {
	for _, c := range []struct {
		watched, loaded string
		want            bool
	}{
		{"", "", false},
		{"", "a.1", false},
		{"a.1", "", false},
		{"a.1", "a.1", false},
		{"a.2", "a.1", true},
		{"b.2", "a.1", false},
	} {
		if got := (Watched{ID: c.watched}).ChangedSince(c.loaded); got != c.want {
			t.Errorf("%q after %q: %v, want %v", c.watched, c.loaded, got, c.want)
		}
	}
}
