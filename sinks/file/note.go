package file

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// notePath is where the digest of the files that the program was told of is kept, and on a second line that of the watched files.
// What is on disk alone does not say that: we may have died between writing it and telling.
func (s *Sink) notePath() string { return s.cfg.Path + ".applied" }

func (s *Sink) note(digest, watched string) error {
	content := []byte(digest + "\n" + watched + "\n")
	if err := renameio.WriteFile(s.notePath(), content, 0o600, renameio.WithTempDir(filepath.Dir(s.cfg.Path))); err != nil {
		return fmt.Errorf("cannot note what is in effect in %s: %w", s.notePath(), stage.Cause(err))
	}
	return nil
}

// difference says why files are not in effect yet, or "" if they are.
func (s *Sink) difference(files []stage.File) string {
	for _, f := range files {
		content, err := os.ReadFile(f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return f.Path + " does not exist"
		}
		if err != nil || !bytes.Equal(content, f.Content) {
			return f.Path + " differs"
		}
	}
	if len(s.cfg.ReloadCmd) == 0 {
		return ""
	}
	noted, err := os.ReadFile(s.notePath())
	told, _, _ := strings.Cut(string(noted), "\n")
	if err != nil || told != digest(files) {
		return "whether the program was told of the files is not known"
	}
	return ""
}

func digest(files []stage.File) string {
	named := make([]sdk.File, len(files))
	for i, f := range files {
		named[i] = sdk.File{Name: filepath.Base(f.Path), Content: f.Content}
	}
	return sdk.DigestOf(named)
}

// missing says what is wrong with the file on disk, or "" if it is there.
func (s *Sink) missing() string {
	info, err := os.Stat(s.cfg.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%s does not exist", s.cfg.Path)
	case err != nil:
		return fmt.Sprintf("%s cannot be looked at: %v", s.cfg.Path, stage.Cause(err))
	case !info.Mode().IsRegular():
		return fmt.Sprintf("%s is not a file", s.cfg.Path)
	default:
		return ""
	}
}
