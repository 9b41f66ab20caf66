package file

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestMountPoint(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "main")
	for _, name := range []string{"main", "file1", "main.applied"} {
		check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
		defer mounttest.Bind(t, filepath.Join(dir, name))()
	}
	s := newSink(t, path, func(c *Config) {
		c.CheckCmd = []string{"grep", "-q", "good", "{}"}
		c.ReloadCmd = []string{"sh", "-c", "! grep -q bad {}"}
	})
	apply(t, s, document("good one", "beside"), sdk.ActionReload)
	wantFiles(t, dir, "file1=beside", "main=good one")
	_, err := s.Apply(t.Context(), document("a good start, a bad end", "other", "more"))
	wantError(t, err, "exit code")
	wantFiles(t, dir, "file1=beside", "main=good one")
	apply(t, s, document("good two"), sdk.ActionReload)
	wantFiles(t, dir, "file1=beside", "main=good two") // a mount point stays
	apply(t, s, document("good two"), sdk.ActionUnchanged)
}
