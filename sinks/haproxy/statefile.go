package haproxy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A stateFile says what HAProxy serves. The sink writes it beside the configuration after each change that it has verified, so
// that the next process knows what HAProxy serves and need not reload it.
type stateFile struct {
	Files  map[string]string `json:"files"` // SHA-256 of each file of the applied document, by name
	Pids   []int             `json:"pids"`
	Worker int               `json:"worker,omitempty"`

	Written stage.Written `json:"written,omitempty"` // companions that may be on disk besides those in Files

	Generation  uint64 `json:"generation,omitempty"`  // of the document
	Environment string `json:"environment,omitempty"` // identifies the values that the variables in the main file had

	Inputs  inputs `json:"inputs,omitempty"`  // the files that HAProxy loaded beside these
	Watched string `json:"watched,omitempty"` // see [sdk.Watched]
}

func newStateFile(doc *document, now process.Instance, inputs *loadedInputs) stateFile {
	r := stateFile{Files: make(map[string]string, len(doc.files)), Pids: now.Pids, Worker: now.Worker, Generation: doc.generation}
	r.Environment = process.EnvironmentDigest(doc.config)
	r.Inputs, r.Watched = inputs.files, inputs.watched
	for _, f := range doc.files {
		r.Files[filepath.Base(f.Path)] = stage.Sum(f.Content)
	}
	return r
}

// readStateFile reads the state file at path. It returns false if that does not say what HAProxy serves: it may be missing, be
// damaged, or only list written companions.
func readStateFile(path string) (stateFile, bool) {
	content, err := os.ReadFile(path)
	if err != nil {
		return stateFile{}, false
	}
	var r stateFile
	if err := json.Unmarshal(content, &r); err != nil {
		return stateFile{}, false
	}
	return r, len(r.Files) > 0
}

// companions returns the files that the sink has written besides the main one, applied or not.
func (r stateFile) companions(main string) stage.Written {
	written := stage.Written{}
	for name, sums := range r.Written {
		if name == filepath.Base(name) {
			written[name] = sums
		}
	}
	for name, sum := range r.Files {
		if name == filepath.Base(name) && name != filepath.Base(main) && !slices.Contains(written[name], sum) {
			written[name] = append(written[name], sum)
		}
	}
	return written
}

// write replaces the file at path.
func (r stateFile) write(path string) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	owner := strings.TrimSuffix(path, stage.RecordSuffix)
	if err := replace.Write(path, content, replace.Options{New: 0o600, Owner: owner}); err != nil {
		return fmt.Errorf("writing the state file: %w", err)
	}
	return nil
}

// inEnvironment reports whether the environment variables in doc have the values that they had when r was written.
func (r stateFile) inEnvironment(doc *document) bool {
	return r.Environment == process.EnvironmentDigest(doc.config)
}

// isFor reports whether r is about the processes in now.
func (r stateFile) isFor(now process.Instance) bool {
	return now.Same(process.Instance{Pids: r.Pids, Worker: r.Worker, Unseen: len(r.Pids) == 0})
}

// load returns the files that r is about, the main one first. It returns false if they have changed on disk.
func (r stateFile) load(p paths) ([]stage.File, bool) {
	main := filepath.Base(p.ConfigFile)
	names := []string{main}
	for name := range r.Files {
		if name != main && name == filepath.Base(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names[1:])
	var files []stage.File
	for _, name := range names {
		path := filepath.Join(p.dir(), name)
		content, err := os.ReadFile(path)
		if err != nil || stage.Sum(content) != r.Files[name] {
			return nil, false
		}
		files = append(files, stage.File{Path: path, Content: content})
	}
	return files, true
}

// recordedState is what the state file on disk is about.
type recordedState struct {
	doc     *document
	running process.Instance
	inputs  *loadedInputs
}

// updateStateFile writes the state file if it has changed. If the served document is unknown, the previous state file stays: it
// matches neither the files nor the processes. The caller holds s.files.
func (s *Sink) updateStateFile() {
	st := s.state.Load()
	is := recordedState{st.appliedOnDisk(), st.running, st.loaded}
	if is.doc == nil || is.doc == s.recorded.doc && is.inputs == s.recorded.inputs && is.running.Same(s.recorded.running) {
		return
	}
	f := newStateFile(is.doc, is.running, is.inputs)
	f.Written = s.companions.replace(is.doc.files, st.loads)
	if s.saveStateFile(f) {
		s.recorded = is
	}
}

// saveStateFile writes the state file, and reports whether it was written. The caller holds s.files.
func (s *Sink) saveStateFile(f stateFile) bool {
	if err := s.writeStateFile(f, s.paths.state); err != nil {
		s.recording.Warn(s.log, "cannot write the state file; a restart of haproxy-api will reload HAProxy", err)
		return false
	}
	s.recording.Resolve(s.log, "wrote the state file again; a restart of haproxy-api does not reload HAProxy")
	return true
}
