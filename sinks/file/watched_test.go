package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func reread(t *testing.T, s *Sink, id, action string) {
	t.Helper()
	result, err := s.Reread(t.Context(), sdk.Watched{ID: id})
	check(t, err)
	if result.Action != action {
		t.Fatalf("Reread did %q (%s), want %q", result.Action, result.Reason, action)
	}
}

// The reload command runs once for each change of the watched files, even one that happened while the sink did not run.
func TestReread_ReloadsOnce(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(t.TempDir(), "ran")
	set := func(c *Config) { c.ReloadCmd = []string{"sh", "-c", "echo ran >> " + ran} }
	s := newSink(t, filepath.Join(dir, "main"), set)
	reread(t, s, "these.a", sdk.ActionUnchanged) // nothing is applied yet
	apply(t, s, document("one"), sdk.ActionReload)
	reread(t, s, "these.a", sdk.ActionUnchanged) // watching has begun
	reread(t, s, "these.b", sdk.ActionReload)
	reread(t, s, "these.b", sdk.ActionUnchanged)
	apply(t, s, document("one"), sdk.ActionUnchanged)
	again := newSink(t, filepath.Join(dir, "main"), set)
	reread(t, again, "these.b", sdk.ActionUnchanged)
	reread(t, again, "these.c", sdk.ActionReload)
	reread(t, again, "others.a", sdk.ActionUnchanged)
	two := document("two")
	two.Watched = "others.b"
	apply(t, again, two, sdk.ActionReload)
	reread(t, again, "others.b", sdk.ActionUnchanged)
	content, err := os.ReadFile(ran)
	check(t, err)
	if times := strings.Count(string(content), "ran"); times != 4 {
		t.Errorf("the command ran %d times, want 4", times)
	}
}

// A failed command is retried.
func TestReread_FailedReloadIsRetried(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := newSink(t, filepath.Join(t.TempDir(), "main"), func(c *Config) { c.ReloadCmd = []string{"test", "!", "-e", broken} })
	doc := document("one")
	doc.Watched = "these.a"
	apply(t, s, doc, sdk.ActionReload)
	check(t, os.WriteFile(broken, nil, 0o600))
	for range 2 {
		if _, err := s.Reread(t.Context(), sdk.Watched{ID: "these.b"}); err == nil {
			t.Fatal("the command did not run")
		}
	}
	check(t, os.Remove(broken))
	reread(t, s, "these.b", sdk.ActionReload)
	reread(t, s, "these.b", sdk.ActionUnchanged)
}

func TestReread_WithoutAReloadCommand(t *testing.T) {
	s := newSink(t, filepath.Join(t.TempDir(), "main"), nil)
	apply(t, s, document("one"), sdk.ActionWritten)
	reread(t, s, "these.a", sdk.ActionUnchanged)
	reread(t, s, "these.b", sdk.ActionUnchanged)
}
