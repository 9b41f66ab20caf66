package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A record is stored beside the file. The files alone show neither which content the program has loaded, since the daemon may
// have ended between writing and reloading, nor which companions the sink has written.
type record struct {
	Files   map[string]string `json:"files,omitempty"`   // SHA-256 of each loaded file by name; empty if it is unknown
	Written stage.Written     `json:"written,omitempty"` // companions that may be on disk besides Files
	Watched string            `json:"watched,omitempty"` // the state of the watched files that the program has loaded
}

func (s *Sink) recordPath() string { return s.cfg.Path + stage.RecordSuffix }

// readRecord returns the record, and an empty one if it cannot be read.
func (s *Sink) readRecord() record {
	var r record
	if content, err := os.ReadFile(s.recordPath()); err != nil || json.Unmarshal(content, &r) != nil {
		return record{}
	}
	return r
}

func (s *Sink) write(r record) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := replace.Write(s.recordPath(), content, replace.Options{New: 0o600, Owner: s.cfg.Path}); err != nil {
		return fmt.Errorf("recording the applied files: %w", err)
	}
	return nil
}

// loadRecord reads which companions a previous process has written, and removes its temporary files after a crash.
func (s *Sink) loadRecord() {
	r := s.readRecord()
	s.written, s.watched = stage.Written{}, r.Watched
	for name, sums := range r.Written {
		if name == filepath.Base(name) {
			s.written[name] = sums
		}
	}
	for name, sum := range r.Files {
		if name == filepath.Base(name) && name != filepath.Base(s.cfg.Path) {
			s.written[name] = append(s.written[name], sum)
		}
	}
	paths := []string{s.cfg.Path, s.recordPath()}
	for name := range s.written {
		paths = append(paths, filepath.Join(filepath.Dir(s.cfg.Path), name))
	}
	replace.RemoveTemporary(s.cfg.Path, paths...)
}

// recordWriting records that files are about to be written, and that what the program has loaded is unknown until it has
// reloaded.
func (s *Sink) recordWriting(files []stage.File) error {
	s.written.Add(files)
	if len(s.written) > 0 {
		return s.write(record{Written: s.written})
	}
	if err := replace.Remove(s.recordPath()); err != nil {
		return fmt.Errorf("removing the record of the applied files: %w", err)
	}
	return nil
}

// recordApplied records that the program has loaded files, with the watched files in that state, and removes companions that are
// not among them.
func (s *Sink) recordApplied(files []stage.File, watched string) {
	s.watched = watched
	s.written.Replace(files)
	s.record(files)
	s.removeObsolete(files)
}

func (s *Sink) record(files []stage.File) {
	if len(s.cfg.ReloadCmd) == 0 && len(s.written) == 0 { // the files contain all that is known
		_ = replace.Remove(s.recordPath()) // an old record is harmless
		return
	}
	s.save(record{Files: sums(files), Written: s.written.Obsolete(files), Watched: s.watched})
}

func (s *Sink) save(r record) {
	if err := s.write(r); err != nil {
		s.recordFault.Warn(s.log, "cannot record the applied files; the next start will reload the program", err)
	} else {
		s.recordFault.Resolve(s.log, "the applied files are recorded again")
	}
}

// removeObsolete removes companions that are not among files, which are applied.
func (s *Sink) removeObsolete(files []stage.File) {
	var texts [][]byte
	for _, f := range files {
		texts = append(texts, f.Content)
	}
	removed, err := s.written.Obsolete(files).Remove(s.cfg.Path, s.log, texts...)
	if err != nil {
		s.removeFault.Warn(s.log, "cannot remove files that are no longer needed; retrying with the next document", err)
	} else {
		s.removeFault.Resolve(s.log, "files that are no longer needed can be removed again")
	}
	if len(removed) == 0 {
		return
	}
	for _, name := range removed {
		delete(s.written, name)
	}
	s.record(files)
}

// difference returns the reason why files must be applied, or "" if they are applied already.
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
	if !maps.Equal(s.readRecord().Files, sums(files)) {
		return "it is unknown which files the program has loaded"
	}
	return ""
}

func sums(files []stage.File) map[string]string {
	sums := make(map[string]string, len(files))
	for _, f := range files {
		sums[filepath.Base(f.Path)] = stage.Sum(f.Content)
	}
	return sums
}

// fileProblem returns what is wrong with the file on disk, or "".
func (s *Sink) fileProblem() string {
	info, err := os.Stat(s.cfg.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%s does not exist", s.cfg.Path)
	case err != nil:
		return fmt.Sprintf("cannot access %s: %v", s.cfg.Path, replace.Cause(err))
	case !info.Mode().IsRegular():
		return fmt.Sprintf("%s is not a file", s.cfg.Path)
	default:
		return ""
	}
}
