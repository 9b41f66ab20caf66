package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A file is one file of a document and the path at which nginx reads it.
type file struct {
	path    string
	content []byte
}

// filesOf returns the files of doc and their paths. It rejects names that lead out of the directory, because templates choose
// them.
func filesOf(cfg config, doc sdk.Document) ([]file, error) {
	if len(doc.Files) == 0 {
		return nil, sdk.Rejectf("the document has no file")
	}
	dir := filepath.Dir(cfg.ConfigFile)
	files := []file{{cfg.ConfigFile, doc.Files[0].Content}}
	taken := map[string]bool{cfg.ConfigFile: true, cfg.PidFile: true, cfg.errorLog: true}
	for _, f := range doc.Files[1:] {
		path := filepath.Join(dir, f.Name)
		if f.Name != filepath.Base(path) || strings.HasPrefix(f.Name, ".") || taken[path] {
			return nil, sdk.Rejectf("the file name %q cannot be used: it must be a plain name that is not taken in %s",
				f.Name, dir)
		}
		taken[path] = true
		files = append(files, file{path, f.Content})
	}
	return files, nil
}

// A stage is a directory with a document's files in "new" and, once they are live, the previous ones in "old". It is on the
// file system of the live files, so that a rename replaces them.
type stage struct {
	dir    string
	marker string
	files  []file
}

func stageDir(cfg config) string   { return hidden(cfg, "staged") }
func markerPath(cfg config) string { return hidden(cfg, "doubt") } // the name in every release

func hidden(cfg config, what string) string {
	return filepath.Join(filepath.Dir(cfg.ConfigFile), "."+filepath.Base(cfg.ConfigFile)+"."+what)
}

// isUnconfirmed reports whether nginx may run with other files than those on disk: the marker is a file that exists from
// before the files are replaced until nginx has loaded them.
func isUnconfirmed(cfg config) bool {
	_, err := os.Lstat(markerPath(cfg))
	return err == nil
}

// newStage writes files to dir, which it creates again. The other files of the live directory are links there, so that
// relative includes work as they will in the live directory.
func newStage(dir string, cfg config, files []file) (*stage, error) {
	st := &stage{dir: dir, marker: markerPath(cfg), files: files}
	if err := errors.Join(st.fill(), st.link(filepath.Dir(cfg.ConfigFile))); err != nil {
		st.discard()
		return nil, fmt.Errorf("writing the new configuration: %w", err)
	}
	return st, nil
}

func (s *stage) fill() error {
	s.discard() // a plugin that was killed may have left files
	for _, dir := range []string{s.dir, filepath.Join(s.dir, "new"), filepath.Join(s.dir, "old")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	for _, f := range s.files {
		if err := writeSynced(s.newPath(f.path), f.content, permOf(f.path)); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) link(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err := os.Symlink(filepath.Join(dir, e.Name()), s.newPath(e.Name()))
		if err != nil && !errors.Is(err, fs.ErrExist) { // the document's own files exist
			return err
		}
	}
	return err
}

// permOf returns the permissions of the live file, so that a private file stays private.
func permOf(live string) fs.FileMode {
	if info, err := os.Stat(live); err == nil {
		return info.Mode().Perm()
	}
	return 0o644
}

func writeSynced(path string, content []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func (s *stage) newPath(live string) string { return filepath.Join(s.dir, "new", filepath.Base(live)) }
func (s *stage) oldPath(live string) string { return filepath.Join(s.dir, "old", filepath.Base(live)) }
func (s *stage) main() string               { return s.newPath(s.files[0].path) }
func (s *stage) pid() string                { return filepath.Join(s.dir, "pid") }

// original replaces the paths of the stage in nginx's output by the live ones.
func (s *stage) original(text string) string {
	return strings.ReplaceAll(text, filepath.Dir(s.main()), filepath.Dir(s.files[0].path))
}

// commit renames the files into place. If it fails, it restores the files that it has replaced.
func (s *stage) commit() error {
	if err := writeSynced(s.marker, nil, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("writing beside the live configuration: %w", err)
	}
	for _, f := range s.files { // a link needs no space, so that restoring works on a full disk
		if err := os.Link(f.path, s.oldPath(f.path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keeping the live configuration: %w", err)
		}
	}
	for _, f := range s.files {
		if err := os.Rename(s.newPath(f.path), f.path); err != nil {
			return errors.Join(fmt.Errorf("replacing %s: %w", f.path, err), s.restore())
		}
	}
	return nil
}

// restore restores the files before commit, and removes files that did not exist.
func (s *stage) restore() error {
	var faults []error
	for _, f := range s.files {
		err := os.Rename(s.oldPath(f.path), f.path)
		if errors.Is(err, fs.ErrNotExist) {
			err = os.Remove(f.path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, fmt.Errorf("restoring %s: %w", f.path, err))
		}
	}
	return errors.Join(faults...)
}

// confirm records that nginx runs with the files on disk.
func (s *stage) confirm() error { return os.Remove(s.marker) }

func (s *stage) discard() { _ = os.RemoveAll(s.dir) }
