package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// liveAt returns the path where a pipeline's sink keeps its main file. The sinks that are built in, and plugins that follow
// their example, say it in their block.
func liveAt(cfg *config.Config, p config.Pipeline) (string, error) {
	sink := cfg.Sinks[p.Sink]
	for _, key := range []string{"config_file", "path"} {
		if path, ok := sink.Block[key].(string); ok && path != "" {
			return path, nil
		}
	}
	return "", &usageError{fmt.Errorf("only the sink %s (type %s) knows where it keeps what is live: diff can compare it if "+
		"[sinks.%s] has the key config_file or path", p.Sink, sink.Type, p.Sink)}
}

// liveSides returns for each file of a rendering what is on disk in its place: the first one's at path, the others' in its
// folder under their own names.
func liveSides(path string, files []sdk.File) ([]side, error) {
	var sides []side
	for i, f := range files {
		at := path
		if i > 0 {
			at = filepath.Join(filepath.Dir(path), f.Name)
		}
		s, err := readSide(at)
		if err != nil {
			return nil, err
		}
		s.from = "live"
		sides = append(sides, s)
	}
	return sides, nil
}

func readSide(path string) (side, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return side{path: path, missing: true}, nil
	}
	if err != nil {
		return side{}, fmt.Errorf("cannot read what is there to compare with: %w", err)
	}
	return side{path: path, content: content}, nil
}
