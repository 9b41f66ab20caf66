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

// A stateFile is what the sink leaves beside the configuration after each change that it has verified, so that the
// process after it knows what HAProxy serves without telling it anything.
type stateFile struct {
	Files  map[string]string `json:"files"` // SHA-256 of each file that is in effect, by name
	Pids   []int             `json:"pids"`
	Worker int               `json:"worker,omitempty"`

	Written stage.Written `json:"written,omitempty"` // companions that may be on disk besides those in Files

	Generation  uint64 `json:"generation,omitempty"`  // of the document
	Environment string `json:"environment,omitempty"` // identifies the values that the variables in the main file had

	Inputs  inputs `json:"inputs,omitempty"`  // the files that HAProxy loaded beside these
	Watched string `json:"watched,omitempty"` // see [sdk.Watched]
}

func newStateFile(doc *document, now process.Instance, beside *loaded) stateFile {
	r := stateFile{Files: make(map[string]string, len(doc.files)), Pids: now.Pids, Worker: now.Worker, Generation: doc.generation}
	r.Environment = process.EnvironmentDigest(doc.config)
	r.Inputs, r.Watched = beside.files, beside.watched
	for _, f := range doc.files {
		r.Files[filepath.Base(f.Path)] = stage.Sum(f.Content)
	}
	return r
}

// readStateFile returns false where there is none that can be read: one that is damaged is as good as none, and costs a
// reload. One that tells only what was written is returned beside false.
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

// companions returns the files that the sink had written besides the main one, in effect or not.
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

func (r stateFile) write(path string) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	owner := strings.TrimSuffix(path, stage.RecordSuffix)
	if err := replace.Write(path, content, replace.Options{New: 0o600, Owner: owner}); err != nil {
		return fmt.Errorf("cannot record what is in effect: %w", err)
	}
	return nil
}

// inEnvironment reports whether the variables in doc have the values now that they had then.
func (r stateFile) inEnvironment(doc *document) bool {
	return r.Environment == process.EnvironmentDigest(doc.config)
}

// isFor reports whether r was written about those very processes.
func (r stateFile) isFor(now process.Instance) bool {
	return now.Same(process.Instance{Pids: r.Pids, Worker: r.Worker, Unseen: len(r.Pids) == 0})
}

// load returns the files that r is about, the main one first, if they are on disk as they were.
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
