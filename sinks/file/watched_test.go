package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The reload command runs once for each change of the watched files, also one that another run of the sink has not seen.
func TestWatched_RunsTheReloadCommandOnce(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(t.TempDir(), "ran")
	set := func(c *Config) { c.ReloadCmd = []string{"sh", "-c", "echo ran >> " + ran} }
	times := func() int {
		content, _ := os.ReadFile(ran) // none is no run
		return strings.Count(string(content), "ran")
	}
	s := newSink(t, filepath.Join(dir, "main"), set)
	doc := document("one")
	apply(t, s, doc, sdk.ActionReload)
	doc.Watched = "these.a" // somebody has begun to watch
	apply(t, s, doc, sdk.ActionUnchanged)
	doc.Watched = "these.b"
	apply(t, s, doc, sdk.ActionReload)
	apply(t, s, doc, sdk.ActionUnchanged)
	again := newSink(t, filepath.Join(dir, "main"), set)
	apply(t, again, doc, sdk.ActionUnchanged)
	doc.Watched = "these.c"
	apply(t, again, doc, sdk.ActionReload)
	if times() != 3 {
		t.Errorf("the command ran %d times, want 3", times())
	}
}

// A command that fails is due again.
func TestWatched_FailedReloadCommandIsRetried(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(t.TempDir(), "broken")
	s := newSink(t, filepath.Join(dir, "main"), func(c *Config) { c.ReloadCmd = []string{"test", "!", "-e", broken} })
	doc := document("one")
	doc.Watched = "these.a"
	apply(t, s, doc, sdk.ActionReload)
	check(t, os.WriteFile(broken, nil, 0o600))
	doc.Watched = "these.b"
	for range 2 {
		if _, err := s.Apply(t.Context(), doc); err == nil {
			t.Fatal("the command did not run")
		}
	}
	check(t, os.Remove(broken))
	apply(t, s, doc, sdk.ActionReload)
	apply(t, s, doc, sdk.ActionUnchanged)
}

// Without a command nobody has to be told.
func TestWatched_NothingToTellWithoutACommand(t *testing.T) {
	s := newSink(t, filepath.Join(t.TempDir(), "main"), nil)
	doc := document("one")
	doc.Watched = "these.a"
	apply(t, s, doc, sdk.ActionWritten)
	doc.Watched = "these.b"
	apply(t, s, doc, sdk.ActionUnchanged)
}
