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

// place says where the files of doc go. Names come from outside, and must not lead out of the folder.
func place(cfg config, doc sdk.Document) ([]file, error) {
	if len(doc.Files) == 0 {
		return nil, sdk.Rejectf("the document has no file")
	}
	folder := filepath.Dir(cfg.ConfigFile)
	files := []file{{cfg.ConfigFile, doc.Files[0].Content}}
	taken := map[string]bool{cfg.ConfigFile: true, cfg.PidFile: true, cfg.errorLog: true}
	for _, f := range doc.Files[1:] {
		path := filepath.Join(folder, f.Name)
		if f.Name != filepath.Base(path) || strings.HasPrefix(f.Name, ".") || taken[path] {
			return nil, sdk.Rejectf("the file name %q cannot be used: it must be a plain name that is not taken in %s",
				f.Name, folder)
		}
		taken[path] = true
		files = append(files, file{path, f.Content})
	}
	return files, nil
}

// A stage is a folder with a document's files in "new" and, once they are live, the ones before them in "old". It is on
// the disk where the files are to be, so that they are moved by renaming.
type stage struct {
	dir   string
	doubt string
	files []file
}

func beside(cfg config) string  { return hidden(cfg, "staged") }
func doubtOf(cfg config) string { return hidden(cfg, "doubt") }

func hidden(cfg config, what string) string {
	return filepath.Join(filepath.Dir(cfg.ConfigFile), "."+filepath.Base(cfg.ConfigFile)+"."+what)
}

// inDoubt reports whether it is not known what nginx runs with: the doubt is a file that is there from before the files
// change until nginx is known to have loaded them.
func inDoubt(cfg config) bool {
	_, err := os.Lstat(doubtOf(cfg))
	return err == nil
}

// newStage writes files into dir, which is made anew. The other files of the live folder are there as links, so that
// relative includes lead to where they will.
func newStage(dir string, cfg config, files []file) (*stage, error) {
	st := &stage{dir: dir, doubt: doubtOf(cfg), files: files}
	if err := errors.Join(st.fill(), st.link(filepath.Dir(cfg.ConfigFile))); err != nil {
		st.discard()
		return nil, fmt.Errorf("cannot write the new configuration: %w", err)
	}
	return st, nil
}

func (s *stage) fill() error {
	s.discard() // what a plugin that was killed left behind
	for _, dir := range []string{s.dir, filepath.Join(s.dir, "new"), filepath.Join(s.dir, "old")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	for _, f := range s.files {
		if err := writeSynced(s.fresh(f.path), f.content, permOf(f.path)); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) link(folder string) error {
	neighbours, err := os.ReadDir(folder)
	for _, n := range neighbours {
		err := os.Symlink(filepath.Join(folder, n.Name()), s.fresh(n.Name()))
		if err != nil && !errors.Is(err, fs.ErrExist) { // it exists for the document's own files
			return err
		}
	}
	return err
}

// permOf keeps to itself what somebody made so.
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

func (s *stage) fresh(live string) string { return filepath.Join(s.dir, "new", filepath.Base(live)) }
func (s *stage) old(live string) string   { return filepath.Join(s.dir, "old", filepath.Base(live)) }
func (s *stage) main() string             { return s.fresh(s.files[0].path) }
func (s *stage) pid() string              { return filepath.Join(s.dir, "pid") }

// original undoes the stage's paths in what nginx says about the staged files.
func (s *stage) original(text string) string {
	return strings.ReplaceAll(text, filepath.Dir(s.main()), filepath.Dir(s.files[0].path))
}

// commit renames the files into place. If it fails half-way, it has put back what it had moved.
func (s *stage) commit() error {
	if err := writeSynced(s.doubt, nil, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot write beside the live configuration: %w", err)
	}
	for _, f := range s.files { // a second name takes no space, should the disk be full by the time it is needed
		if err := os.Link(f.path, s.old(f.path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot keep the live configuration for the way back: %w", err)
		}
	}
	for _, f := range s.files {
		if err := os.Rename(s.fresh(f.path), f.path); err != nil {
			return errors.Join(fmt.Errorf("cannot replace %s: %w", f.path, err), s.restore())
		}
	}
	return nil
}

// restore puts back what was there before commit, and removes what was not.
func (s *stage) restore() error {
	var faults []error
	for _, f := range s.files {
		err := os.Rename(s.old(f.path), f.path)
		if errors.Is(err, fs.ErrNotExist) {
			err = os.Remove(f.path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, fmt.Errorf("%s could not be put back as it was: %w", f.path, err))
		}
	}
	return errors.Join(faults...)
}

// settled says that nginx is known to run with the files on disk.
func (s *stage) settled() error { return os.Remove(s.doubt) }

func (s *stage) discard() { _ = os.RemoveAll(s.dir) }
