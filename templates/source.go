package templates

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// A source is one template file as it was read.
type source struct {
	name string // in the set; the document file's name for main file and companions, the base name for partials
	path string // as configured
	text string
	err  error // why it could not be read
}

// read reads the whole set: the main file, then the companions by name, then the partials by path. The error is about
// the configuration; the error of reading a file is in its source.
func (s *Set) read() ([]source, error) {
	sources := []source{s.readMain()}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Files)) {
		sources = append(sources, readSource(name, s.cfg.Files[name]))
	}
	partials, err := s.partials()
	for _, path := range partials {
		sources = append(sources, readSource(filepath.Base(path), path))
	}
	return sources, err
}

func (s *Set) readMain() source {
	if s.cfg.Path == "" {
		return source{name: s.cfg.Name, path: builtinPath, text: string(builtin)}
	}
	return readSource(s.cfg.Name, s.cfg.Path)
}

func readSource(name, path string) source {
	text, err := os.ReadFile(path)
	return source{name: name, path: path, text: strings.TrimPrefix(string(text), byteOrderMark), err: err}
}

// byteOrderMark is what some editors put before a text in UTF-8. HAProxy would read it as a part of the first word.
const byteOrderMark = "\ufeff"

// checkText returns an error for a file with a NUL byte, which files contain after a crash or in
// UTF-16. Line ends of any system, form feeds and vertical tabs are white space to HAProxy and stay as they are.
func (s source) checkText() error {
	before, _, found := strings.Cut(s.text, "\x00")
	if !found {
		return nil
	}
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return &Error{
		File: s.path, Line: line, Column: column, Message: "the template contains a NUL byte",
		Hint: "the file is truncated or not in UTF-8: save it as UTF-8",
	}
}

// partials returns the files that the patterns match, without directories, sorted.
func (s *Set) partials() ([]string, error) {
	var found []string
	for _, pattern := range s.cfg.Partials {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("partials pattern %q is not a valid pattern: %w", pattern, err)
		}
		for _, path := range matches {
			// Editors keep their swap files beside the edited one, under names with a leading dot.
			hidden := strings.HasPrefix(filepath.Base(path), ".") && !strings.HasPrefix(filepath.Base(pattern), ".")
			if info, err := os.Stat(path); !hidden && (err != nil || !info.IsDir()) {
				found = append(found, path)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// content identifies what the files of a set had at one moment.
type content struct {
	digest string
	files  map[string]string // the digest of each file, by path
}

// newContent returns the content of what read has returned.
func newContent(sources []source, err error) content {
	c := content{files: map[string]string{}}
	all := sha256.New()
	fmt.Fprintf(all, "%v\n", err)
	for _, src := range sources {
		file := sha256.Sum256(fmt.Appendf(nil, "%q %v", src.text, src.err))
		c.files[src.path] = hex.EncodeToString(file[:])
		fmt.Fprintf(all, "%q %s\n", src.path, c.files[src.path])
	}
	c.digest = hex.EncodeToString(all.Sum(nil))
	return c
}

// changedPath returns the first path, by name, of a file that differs between c and before; empty if there is none.
func (c content) changedPath(before content) string {
	changed := ""
	for _, files := range []map[string]string{c.files, before.files} {
		for path := range files {
			if c.files[path] != before.files[path] && (changed == "" || path < changed) {
				changed = path
			}
		}
	}
	return changed
}

// withoutPath returns err without the operation and the path, which the caller's message contains already.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
