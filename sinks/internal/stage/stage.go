// Package stage puts a document's files in place so that either all of them are there or none is.
//
// Files are written under temporary names in the folders where they are to be: there a rename is atomic, and a full
// disk shows before anything live is touched. They can be checked under those names, renamed into place, and the ones
// before put back.
package stage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/google/renameio/v2"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A File is a file with the path at which it is to be.
type File struct {
	Path    string
	Content []byte
	Name    string // in the document
}

// Place says where the files of doc go: the first one is the main file, the others go into its folder under their own
// names. A name that leaves the folder, is hidden, or is one of taken is a rejection.
func Place(main string, doc sdk.Document, taken ...string) ([]File, error) {
	if len(doc.Files) == 0 {
		return nil, sdk.Rejectf("the document has no file")
	}
	dir := filepath.Dir(main)
	files := []File{{Path: main, Content: doc.Files[0].Content, Name: doc.Files[0].Name}}
	used := map[string]bool{main: true}
	for _, path := range taken {
		used[path] = true
	}
	for _, f := range doc.Files[1:] {
		path := filepath.Join(dir, f.Name)
		if !isPlain(f.Name) || used[path] {
			return nil, sdk.Rejectf("the file name %q cannot be used: it must be a plain name that is not taken, for a file "+
				"in %s", f.Name, dir)
		}
		used[path] = true
		files = append(files, File{Path: path, Content: f.Content, Name: f.Name})
	}
	return files, nil
}

// isPlain reports whether name is that of a visible file, and leads nowhere.
func isPlain(name string) bool {
	return filepath.IsLocal(name) && name == filepath.Base(name) && !strings.HasPrefix(name, ".") &&
		!strings.ContainsFunc(name, unicode.IsControl)
}

// A Stage holds files under temporary names. [Stage.Discard] has to be called in the end, whatever became of them.
type Stage struct {
	files   []staged
	checked string
	copied  *renameio.PendingFile // the main file for the check, if it is not the staged one itself
	backups []backup
}

type staged struct {
	File
	pending *renameio.PendingFile
}

// defaultMode is the mode of a file that is new: people's other tools read configurations as well.
const defaultMode fs.FileMode = 0o644

// New stages files, the main one first, beside where they are to be; with a dir they all go in there and can only be
// checked. A mode of 0 is for the mode that a file has, or 0644. Nothing is left of the files if New fails.
func New(dir string, files []File, mode fs.FileMode) (*Stage, error) {
	s := &Stage{}
	for _, f := range files {
		f.Path = followLink(f.Path)
		pending, err := write(dir, f, mode)
		if err != nil {
			s.Discard()
			return nil, err
		}
		s.files = append(s.files, staged{f, pending})
	}
	s.checked = s.files[0].pending.Name()
	if err := s.redirect(dir); err != nil {
		s.Discard()
		return nil, err
	}
	return s, nil
}

// Checked returns the path of the main file as it is to be checked: where it refers to companions by their paths, it
// leads to the staged ones. So does a bare name after HAProxy's default-path, which makes names relative to the folder.
func (s *Stage) Checked() string { return s.checked }

// Files returns the files, in order, each with the path that [Stage.Original] tells.
func (s *Stage) Files() []File {
	var files []File
	for _, f := range s.files {
		files = append(files, f.File)
	}
	return files
}

// redirect writes the copy of the main file that is checked where it refers to companions.
func (s *Stage) redirect(dir string) error {
	main := string(s.files[0].Content)
	checked := main
	for _, f := range s.files[1:] {
		checked = ReplacePath(checked, f.Path, f.pending.Name())
		if strings.Contains(main, "default-path") {
			checked = ReplacePath(checked, filepath.Base(f.Path), filepath.Base(f.pending.Name()))
		}
	}
	if checked == main {
		return nil
	}
	copied, err := write(dir, File{Path: s.files[0].Path, Content: []byte(checked)}, 0)
	if err != nil {
		return err
	}
	s.copied, s.checked = copied, copied.Name()
	return nil
}

func write(dir string, f File, mode fs.FileMode) (*renameio.PendingFile, error) {
	dir = cmp.Or(dir, filepath.Dir(f.Path))
	pending, err := renameio.NewPendingFile(filepath.Join(dir, filepath.Base(f.Path)),
		renameio.WithTempDir(dir), renameio.WithStaticPermissions(cmp.Or(mode, modeOf(f.Path))))
	if err != nil {
		return nil, writeError(dir, err)
	}
	_, err = pending.Write(f.Content)
	if err == nil {
		err = pending.Sync()
	}
	if err != nil {
		_ = pending.Cleanup()
		return nil, writeError(dir, err)
	}
	return pending, nil
}

func modeOf(path string) fs.FileMode {
	if info, err := os.Stat(path); err == nil {
		return info.Mode().Perm()
	}
	return defaultMode
}

// writeError names the folder and not the temporary file in it, which is gone when somebody reads the sentence.
func writeError(dir string, err error) error {
	return fmt.Errorf("cannot write the new configuration into the folder %s: %w", dir, Cause(err))
}

// Cause returns what is below the name of the operation and the path in an error about a file.
func Cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Err
	}
	return err
}

// Original undoes the temporary names in what a program says about the staged files.
func (s *Stage) Original(text string) string {
	text = strings.ReplaceAll(text, s.checked, s.files[0].Path)
	for _, f := range s.files {
		text = strings.ReplaceAll(text, f.pending.Name(), f.Path)
		text = strings.ReplaceAll(text, filepath.Base(f.pending.Name()), filepath.Base(f.Path))
	}
	return text
}

// Discard removes everything temporary. It may be called at any point and more than once.
func (s *Stage) Discard() {
	for _, f := range s.files {
		remove(f.pending)
	}
	if s.copied != nil {
		remove(s.copied)
	}
	for _, b := range s.backups {
		_ = os.Remove(b.name)
	}
	s.backups = nil
}

func remove(f *renameio.PendingFile) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// followLink returns the file that a symbolic link leads to, so that the link stays one.
func followLink(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}
