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

// A record is kept beside the file. What is on disk alone tells neither what the program was told of, since we may have ended
// between writing it and telling, nor which companion files are ours.
type record struct {
	Files   map[string]string `json:"files,omitempty"`   // SHA-256 of each file in effect, by name; none where that is not known
	Written stage.Written     `json:"written,omitempty"` // companions that may be on disk besides those in Files
	Watched string            `json:"watched,omitempty"` // the state of the watched files that the program has loaded
}

func (s *Sink) recordPath() string { return s.cfg.Path + stage.RecordSuffix }

// readRecord returns an empty one where there is none that can be read.
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
		return fmt.Errorf("cannot record what is in effect: %w", err)
	}
	return nil
}

// takeOver finds out what the process before us has written, and removes what a crash has left of its temporary files.
func (s *Sink) takeOver() {
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

// announce records that files are about to be written, and that nothing is known to be in effect until they are.
func (s *Sink) announce(files []stage.File) error {
	s.written.Add(files)
	if len(s.written) > 0 {
		return s.write(record{Written: s.written})
	}
	if err := replace.Remove(s.recordPath()); err != nil {
		return fmt.Errorf("cannot remove the record of what is in effect: %w", err)
	}
	return nil
}

// settle records that files are in effect, and were loaded with the watched files in that state, and removes companions that are
// not among them.
func (s *Sink) settle(files []stage.File, watched string) {
	s.watched = watched
	s.written.Settle(files)
	s.record(files)
	s.removeObsolete(files)
}

func (s *Sink) record(files []stage.File) {
	if len(s.cfg.ReloadCmd) == 0 && len(s.written) == 0 { // there is nothing that the files do not tell
		_ = replace.Remove(s.recordPath()) // an old record does no harm
		return
	}
	s.save(record{Files: sums(files), Written: s.written.Obsolete(files), Watched: s.watched})
}

func (s *Sink) save(r record) {
	if err := s.write(r); err != nil {
		s.unrecorded.Warn(s.log, "a restart of haproxy-api will not know what is in effect", err)
	} else {
		s.unrecorded.Resolve(s.log, "what is in effect is recorded again")
	}
}

// removeObsolete removes the companions that files, which are in effect, have no more.
func (s *Sink) removeObsolete(files []stage.File) {
	var texts [][]byte
	for _, f := range files {
		texts = append(texts, f.Content)
	}
	forgot, err := s.written.Obsolete(files).Remove(s.cfg.Path, s.log, texts...)
	if err != nil {
		s.unremoved.Warn(s.log, "files that are no longer needed stay for now", err)
	} else {
		s.unremoved.Resolve(s.log, "files that are no longer needed can be removed again")
	}
	if len(forgot) == 0 {
		return
	}
	for _, name := range forgot {
		delete(s.written, name)
	}
	s.record(files)
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
	if !maps.Equal(s.readRecord().Files, sums(files)) {
		return "whether the program was told of the files is not known"
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

// missing says what is wrong with the file on disk, or "" if it is there.
func (s *Sink) missing() string {
	info, err := os.Stat(s.cfg.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%s does not exist", s.cfg.Path)
	case err != nil:
		return fmt.Sprintf("%s cannot be looked at: %v", s.cfg.Path, replace.Cause(err))
	case !info.Mode().IsRegular():
		return fmt.Sprintf("%s is not a file", s.cfg.Path)
	default:
		return ""
	}
}
