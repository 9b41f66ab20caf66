package haproxy

import (
	"bytes"
	"os"
	"sync"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A document is an [sdk.Document] with the paths of its files, and with its main file parsed. It is never modified.
type document struct {
	files      []stage.File // the main one first
	config     *syntax.Config
	generation uint64 // 0 if unknown
	digest     string // empty if unknown
	retry      bool   // load it although it, or a document like it, failed to load before
	watched    string // the state of the watched files when it was offered, see [sdk.Watched]
	failure    string // why a document like it failed to load before, as far as the daemon knows; empty if none did
	reread     string // why HAProxy has to load it once more although it serves it; empty for no reason

	hostnames func() []syntax.Hostname // of the main file
}

func (s *Sink) newDocument(from sdk.Document) (*document, error) {
	files, err := s.paths.place(from)
	if err != nil {
		return nil, err
	}
	doc := parseDocument(files, s.state.Load().desired)
	doc.generation, doc.digest = from.Generation, from.Digest
	doc.retry, doc.watched, doc.failure = from.Retry, from.Watched, from.LoadFailure
	return doc, nil
}

// parseDocument parses the main file of files. Sections that like, which may be nil, has as well are taken from there.
func parseDocument(files []stage.File, like *document) *document {
	var config *syntax.Config
	if like != nil {
		config = like.config
	}
	d := &document{files: files, config: syntax.Parse(files[0].Content, config)}
	d.hostnames = sync.OnceValue(d.config.Hostnames)
	return d
}

// with returns d with another main file.
func (d *document) with(main []byte) *document {
	files := append([]stage.File{{Name: d.files[0].Name, Path: d.files[0].Path, Content: main}}, d.files[1:]...)
	partial := parseDocument(files, d)
	partial.generation = d.generation
	return partial
}

// onDisk reports whether all files are on disk with the content of the document.
func (d *document) onDisk() bool {
	for _, f := range d.files {
		if content, err := os.ReadFile(f.Path); err != nil || !bytes.Equal(content, f.Content) {
			return false
		}
	}
	return true
}
