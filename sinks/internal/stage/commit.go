package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
)

// A backup is a second name of a live file, so that putting it back takes no space on a disk that is full by then. The
// name is empty where there was no file.
type backup struct{ path, name string }

// Commit renames the files into place, companions first, and keeps what was there for [Stage.Restore]. A failure
// half-way is undone.
func (s *Stage) Commit() error {
	for _, f := range slices.Backward(s.files) {
		kept, err := keep(f)
		if err == nil {
			s.backups = append(s.backups, kept)
			err = os.Rename(f.pending.Name(), f.Path)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("cannot replace %s: %w", f.Path, Cause(err)), s.Restore())
		}
	}
	if err := s.sync(); err != nil {
		return errors.Join(err, s.Restore())
	}
	return nil
}

// keep gives the live file a second name, one digit longer than that of the file that is to replace it.
func keep(f staged) (backup, error) {
	name := f.pending.Name() + "0"
	err := os.Link(f.Path, name)
	if errors.Is(err, fs.ErrNotExist) {
		return backup{path: f.Path}, nil
	}
	if err != nil { // some file systems know no second names
		err = copyFile(f.Path, name)
	}
	return backup{f.Path, name}, err
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return renameio.WriteFile(to, content, modeOf(from), renameio.WithTempDir(filepath.Dir(to)))
}

// Restore puts back what was there before [Stage.Commit], and does nothing without one.
func (s *Stage) Restore() error {
	var faults []error
	for _, b := range slices.Backward(s.backups) {
		if b.name == "" {
			faults = append(faults, removeIfThere(b.path))
		} else {
			faults = append(faults, os.Rename(b.name, b.path))
		}
	}
	s.backups = nil
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("the previous configuration could not be put back on disk: %w", err)
	}
	return s.sync()
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sync makes the renames survive a power cut.
func (s *Stage) sync() error {
	for _, f := range s.files {
		if err := syncDir(filepath.Dir(f.Path)); err != nil {
			return fmt.Errorf("cannot make the change of %s durable: %w", f.Path, Cause(err))
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil // some network file systems have no such thing
	}
	return err
}

// RemoveTemporary removes what a crash in the middle of a change has left in dir of the files with those names. Nothing
// may be staged for them meanwhile.
func RemoveTemporary(dir string, names []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // whoever writes there next will say so
	}
	for _, e := range entries {
		if slices.ContainsFunc(names, func(name string) bool { return isTemporary(e.Name(), name) }) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// isTemporary reports whether name is one that is made for a file in the making: a dot, its name, a large random
// number.
func isTemporary(name, of string) bool {
	digits, found := strings.CutPrefix(name, "."+of)
	return found && len(digits) > 8 && strings.Trim(digits, "0123456789") == ""
}

// ReplacePath replaces path in text wherever it is not only a part of a longer one.
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
