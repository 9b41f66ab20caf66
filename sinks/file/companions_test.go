package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestCompanions_ObsoleteAreRemoved(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"no command": nil,
		"reload_cmd": func(c *Config) { c.ReloadCmd = []string{"sh", "-c", "! grep -q bad {}"} },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "main")
			action := sdk.ActionWritten
			if set != nil {
				action = sdk.ActionReload
			}
			s := newSink(t, path, set)
			check(t, os.WriteFile(filepath.Join(dir, "mine"), []byte("mine"), 0o600))
			apply(t, s, document("one", "beside", "more"), action)
			wantFiles(t, dir, "file1=beside", "file2=more", "main=one", "mine=mine")
			apply(t, s, document("two mentions file2", "beside"), action)
			wantFiles(t, dir, "file1=beside", "file2=more", "main=two mentions file2", "mine=mine")
			apply(t, s, document("three", "beside"), action)
			wantFiles(t, dir, "file1=beside", "main=three", "mine=mine")
			if set != nil { // the restored files are needed
				_, err := s.Apply(t.Context(), document("bad"))
				wantError(t, err, "exit code")
				wantFiles(t, dir, "file1=beside", "main=three", "mine=mine")
			}
			s = newSink(t, path, set) // as after a restart
			apply(t, s, document("four"), action)
			wantFiles(t, dir, "main=four", "mine=mine")
			if _, err := os.Stat(path + ".applied"); (err == nil) != (set != nil) {
				t.Errorf("the record: %v", err)
			}
		})
	}
}

// The next process removes the files of one that was killed: temporary ones, and a companion that was put in place.
func TestStart_RemovesWhatACrashLeaves(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "main")
	s := newSink(t, path, nil)
	apply(t, s, document("one", "beside"), sdk.ActionWritten)
	files, err := s.place(document("two", "beside", "more"))
	check(t, err)
	check(t, s.recordWriting(files))
	check(t, os.WriteFile(filepath.Join(dir, "file2"), []byte("more"), 0o600))
	for _, name := range []string{"main", "main.applied", "file1", "file9"} {
		_, err := replace.New(filepath.Join(dir, name), []byte("half"), replace.Options{Owner: path})
		check(t, err)
	}
	s = newSink(t, path, nil)
	apply(t, s, document("three"), sdk.ActionWritten)
	wantFiles(t, dir, "main=three")
}

func TestMode_IsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "main")
	check(t, os.WriteFile(path, []byte("old"), 0o640))
	apply(t, newSink(t, path, nil), document("one", "beside"), sdk.ActionWritten)
	for name, mode := range map[string]os.FileMode{"main": 0o640, "file1": 0o644} {
		if info, err := os.Stat(strings.Replace(path, "main", name, 1)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("the mode of %s is %v, %v", name, info.Mode(), err)
		}
	}
}
