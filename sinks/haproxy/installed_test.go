package haproxy

import "testing"

func TestInstalled(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	path, version, err := Installed(t.Context(), r.cfg.Binary)
	if err != nil || path == "" || IsOlderThanTested(version) {
		t.Errorf("got %s, %q, %v", path, version, err)
	}
	if _, _, err := Installed(t.Context(), "no-such-haproxy"); err == nil {
		t.Error("a missing program has no error")
	}
}

func TestIsOlderThanTested(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"2.5.9": true, "1.8.30": true, "2.6.12-1+deb12u1": false, "2.10-dev1": false, "3.2.0": false, "": false, "unknown": false,
	} {
		if got := IsOlderThanTested(version); got != want {
			t.Errorf("%q: got %v", version, got)
		}
	}
}
