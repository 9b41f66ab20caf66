// Package stage replaces the files of a document, all of them or none.
//
// Files are written under temporary names in their target directories: there a rename is atomic, and a full disk is noticed
// before any target changes. They can be checked under those names, renamed into place, and the previous ones restored. Package
// replace describes what happens where a rename is impossible.
package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A File is a file of a document with its target path.
type File struct {
	Path    string
	Content []byte
	Name    string // in the document
}

// Place returns the files of doc with their target paths: the first one is the main file, the others are companions in its
// directory. It rejects the document if a companion's name leaves the directory, is hidden, or is one of taken.
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
			return nil, sdk.Rejectf("the file name %q is not allowed: it must be the name of a visible file in %s that no other "+
				"file has", f.Name, dir)
		}
		used[path] = true
		files = append(files, File{Path: path, Content: f.Content, Name: f.Name})
	}
	return files, nil
}

// isPlain reports whether name is that of a visible file in the same directory.
func isPlain(name string) bool {
	return filepath.IsLocal(name) && name == filepath.Base(name) && !strings.HasPrefix(name, ".") &&
		!strings.ContainsFunc(name, unicode.IsControl)
}

// A Stage holds files under temporary names. [Stage.Discard] must be called at the end in any case.
type Stage struct {
	owner   string
	files   []staged
	checked string
	copied  *replace.File // the copy of the main file for the check; nil if that is the staged one
}

type staged struct {
	File
	pending *replace.File
}

// defaultMode is the mode of new files. Other tools read configurations too.
const defaultMode fs.FileMode = 0o644

// New stages files, the main one first, beside their targets or, if that is impossible, in a private directory. A mode of 0 keeps
// the mode of a file, or is 0644 for a new one. [replace.RemoveTemporary] removes what a crash leaves for that owner. If New
// fails, it leaves nothing.
func New(owner string, files []File, mode fs.FileMode) (*Stage, error) {
	return newStage(files, replace.Options{Mode: mode, New: defaultMode, Owner: owner})
}

// NewCheck stages files that are only checked: no directory needs to exist or to be writable.
func NewCheck(owner string, files []File) (*Stage, error) {
	return newStage(files, replace.Options{New: defaultMode, Owner: owner, Check: true})
}

func newStage(files []File, o replace.Options) (*Stage, error) {
	s := &Stage{owner: o.Owner}
	for _, f := range files {
		pending, err := replace.New(f.Path, f.Content, o)
		if err != nil {
			s.Discard()
			return nil, err
		}
		s.files = append(s.files, staged{f, pending})
	}
	s.checked = s.files[0].pending.Name()
	if err := s.redirect(); err != nil {
		s.Discard()
		return nil, err
	}
	return s, nil
}

// Checked returns the path of the main file for the check. In it, paths of companions are replaced by those of the staged ones,
// and so are bare names if HAProxy's default-path makes names relative to the directory.
func (s *Stage) Checked() string { return s.checked }

// Files returns the files, in order.
func (s *Stage) Files() []File {
	var files []File
	for _, f := range s.files {
		files = append(files, f.File)
	}
	return files
}

// redirect writes a copy of the main file for the check if it refers to companions, or if it is not staged in its own directory
// and makes names relative to that.
func (s *Stage) redirect() error {
	main := string(s.files[0].Content)
	checked := main
	for _, f := range s.files[1:] {
		checked = ReplacePath(checked, f.Path, f.pending.Name())
		if strings.Contains(main, "default-path") {
			name := f.pending.Name()
			if filepath.Dir(name) == filepath.Dir(s.checked) {
				name = filepath.Base(name)
			}
			checked = ReplacePath(checked, filepath.Base(f.Path), name)
		}
	}
	if directory := filepath.Dir(s.files[0].Path); filepath.Dir(s.checked) != directory {
		checked = replaceDefaultPath(checked, directory)
	}
	if checked == main {
		return nil
	}
	copied, err := replace.New(s.files[0].Path, []byte(checked), replace.Options{Owner: s.owner, Check: true})
	if err != nil {
		return err
	}
	s.copied, s.checked = copied, copied.Name()
	return nil
}

var defaultPath = regexp.MustCompile(`(?m)^(\s*default-path\s+)(config|parent)(\s|$)`)

// replaceDefaultPath makes names that are relative to the configuration file, or to the parent of its directory, relative to the
// target directory instead of the one from which the file is read.
func replaceDefaultPath(config, directory string) string {
	return defaultPath.ReplaceAllStringFunc(config, func(line string) string {
		m := defaultPath.FindStringSubmatch(line)
		origin := directory
		if m[2] == "parent" {
			origin = filepath.Dir(directory)
		}
		return m[1] + "origin " + strings.ReplaceAll(origin, " ", `\ `) + m[3]
	})
}

// Commit puts the files in place, companions first, and keeps the previous ones for [Stage.Restore]. It undoes a partial failure.
func (s *Stage) Commit() error {
	for _, f := range slices.Backward(s.files) {
		if err := f.pending.Commit(); err != nil {
			return errors.Join(err, s.Restore())
		}
	}
	if err := s.sync(); err != nil {
		return errors.Join(err, s.Restore())
	}
	return nil
}

// Restore restores the files before [Stage.Commit]. Without a Commit it does nothing.
func (s *Stage) Restore() error {
	var faults []error
	for _, f := range s.files {
		faults = append(faults, f.pending.Restore())
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("restoring the previous configuration on disk: %w", err)
	}
	return s.sync()
}

// sync makes the change durable.
func (s *Stage) sync() error {
	for _, f := range s.files {
		if err := f.pending.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// Original replaces the temporary names in the output of a program by those of the targets.
func (s *Stage) Original(text string) string {
	text = strings.ReplaceAll(text, s.checked, s.files[0].Path)
	for _, f := range s.files {
		text = strings.ReplaceAll(text, f.pending.Name(), f.Path)
		text = strings.ReplaceAll(text, filepath.Base(f.pending.Name()), filepath.Base(f.Path))
	}
	return text
}

// Discard removes all temporary files. It may be called at any time and repeatedly.
func (s *Stage) Discard() {
	for _, f := range s.files {
		f.pending.Discard()
	}
	if s.copied != nil {
		s.copied.Discard()
	}
}

// ReplacePath replaces path in text, except as a part of a longer path.
func ReplacePath(text, path, by string) string {
	var out strings.Builder
	done := 0
	for path != "" {
		at := strings.Index(text[done:], path)
		if at < 0 {
			break
		}
		start, end := done+at, done+at+len(path)
		out.WriteString(text[done:start])
		if (start > 0 && inPath(text[start-1])) || (end < len(text) && inPath(text[end])) {
			out.WriteString(path)
		} else {
			out.WriteString(by)
		}
		done = end
	}
	return out.String() + text[done:]
}

func inPath(c byte) bool {
	return strings.IndexByte("/.-_", c) >= 0 || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
