package haproxy

import (
	"bytes"
	"os"
	"sync"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A document is a document whose files know where they go, and whose main file has been read. It is never modified.
type document struct {
	files      []stage.File // the main one first
	config     *syntax.Config
	generation uint64 // of the document; 0 where that is not known
	digest     string // of the document; empty where that is not known
	retry      bool   // to be loaded although it, or one like it, failed to load before
	watched    string // the state of the watched files when it was offered, see [sdk.Watched]
	failure    string // why a document like it failed to load before, as far as the daemon knows; empty if none did
	again      string // why HAProxy has to load it although it is in effect; empty for no reason

	hostnames func() []syntax.Hostname // those in the main file
}

// read reads the main file of files. What stands in like as well is taken from there.
func read(files []stage.File, like *document) *document {
	var config *syntax.Config
	if like != nil {
		config = like.config
	}
	p := &document{files: files, config: syntax.Parse(files[0].Content, config)}
	p.hostnames = sync.OnceValue(p.config.Hostnames)
	return p
}

// with returns p with another main file.
func (p *document) with(main []byte) *document {
	files := append([]stage.File{{Name: p.files[0].Name, Path: p.files[0].Path, Content: main}}, p.files[1:]...)
	half := read(files, p)
	half.generation = p.generation
	return half
}

// onDisk reports whether all files are there as they are.
func (p *document) onDisk() bool {
	for _, f := range p.files {
		if content, err := os.ReadFile(f.Path); err != nil || !bytes.Equal(content, f.Content) {
			return false
		}
	}
	return true
}
