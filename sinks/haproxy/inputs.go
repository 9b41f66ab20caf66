package haproxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/internal/fingerprint"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

const (
	// maxInputs bounds the number of files whose changes are noticed.
	maxInputs = 10_000
	// maxParsed bounds what is read of a file to find the names of other files, in bytes.
	maxParsed = 4 << 20
)

// inputs are the files that HAProxy reads beside the document, by the path of the file or directory that its configuration
// names. A path that does not exist has none.
type inputs map[string]map[string]fingerprint.File

// changed returns the path of a file that differs between loaded and now, or "" if there is none. Files that only one of them
// names do not count: servers may have been added or removed at run time, with the files that their lines name.
func (loaded inputs) changed(now inputs) string {
	for _, reference := range slices.Sorted(maps.Keys(loaded)) {
		before, is := loaded[reference], now[reference]
		if _, both := now[reference]; !both {
			continue
		}
		files := slices.AppendSeq(slices.Collect(maps.Keys(before)), maps.Keys(is))
		slices.Sort(files)
		for _, file := range files {
			was, existed := before[file]
			state, exists := is[file]
			if existed != exists || !was.Same(state) {
				return file
			}
		}
	}
	return ""
}

// readInputs returns the files that HAProxy would read beside doc now. Files that have not changed since known are not read
// again.
func (s *Sink) readInputs(ctx context.Context, doc *document, known inputs) inputs {
	r := inputReader{found: inputs{}, known: map[string]fingerprint.File{}, own: map[string]bool{s.paths.BaseFile: true}}
	for _, files := range known {
		maps.Copy(r.known, files)
	}
	for _, f := range doc.files {
		r.own[f.Path] = true
	}
	start, err := s.controller.Invocation(ctx)
	if err != nil { // starting HAProxy fails for the same reason, with a better error
		start = process.Invocation{}
	}
	r.at = syntax.Place{Config: s.paths.ConfigFile, Dir: start.Dir, Environment: start.Env}
	if r.at.Dir == "" {
		r.at.Dir, _ = os.Getwd()
	}
	if r.at.Environment == nil {
		r.at.Environment = procinfo.OwnEnvironment()
	}
	beside := slices.DeleteFunc(start.Files(), r.isOwn)
	for _, path := range beside {
		r.at.Beside = append(r.at.Beside, syntax.Parse(contentOf(path), nil))
	}
	r.read(doc.config.Files(r.at))
	for _, path := range beside {
		r.include(path)
	}
	if r.files > maxInputs {
		s.unwatched.Warn(s.log, "HAProxy reads too many files beside the configuration; changes of some are not noticed",
			fmt.Errorf("there are more than %d", maxInputs))
	} else {
		s.unwatched.Resolve(s.log, "changes of all files that HAProxy reads beside the configuration are noticed again")
	}
	return r.found
}

// An inputReader collects files and the files that they name.
type inputReader struct {
	found inputs
	known map[string]fingerprint.File // by path
	own   map[string]bool             // the files of the document; true until they are read
	at    syntax.Place
	files int
}

func (r *inputReader) isOwn(path string) bool {
	_, own := r.own[path]
	return own
}

func (r *inputReader) read(files *syntax.Files) {
	for _, f := range files.All {
		switch unread, own := r.own[f.Path]; {
		case own && !unread, !own && !r.add(files, f):
			continue
		case own: // it is compared as part of the document, unlike the files that it names
			r.own[f.Path] = false
		}
		switch f.Kind {
		case syntax.CertificateList:
			for line := range bytes.Lines(contentOf(f.Path)) {
				r.read(&syntax.Files{All: files.Listed(string(line)), Bare: files.Bare})
			}
		case syntax.LuaScript:
			r.require(f.Path, append(slices.Clone(files.LuaPath), r.at.Dir+"/?.lua", r.at.Dir+"/?/init.lua"))
		case syntax.Included:
			r.include(f.Path)
		}
	}
}

// include adds a file with lines of a configuration, and the files that they name.
func (r *inputReader) include(path string) {
	r.add(nil, syntax.File{Path: path})
	at := r.at
	at.Config = path
	r.read(syntax.Parse(contentOf(path), nil).Files(at))
}

var required = regexp.MustCompile(`\brequire\s*\(?\s*["']([A-Za-z0-9_.-]+)["']`)

// require adds the modules that a Lua script requires, if they are in a directory that the configuration names. Modules of the
// system change with its packages.
func (r *inputReader) require(script string, patterns []string) {
	for _, m := range required.FindAllSubmatch(contentOf(script), -1) {
		module := strings.ReplaceAll(string(m[1]), ".", "/")
		for _, pattern := range patterns {
			path := strings.ReplaceAll(pattern, "?", module)
			if _, err := os.Stat(path); err == nil {
				if r.add(nil, syntax.File{Path: path}) {
					r.require(path, patterns)
				}
				break
			}
		}
	}
}

// related are the suffixes that HAProxy adds to the name of a certificate, for its parts and for its variants.
var related = func() []string {
	all := []string{".key", ".ocsp", ".sctl", ".issuer"}
	parts := slices.Clone(all)
	for _, variant := range []string{".rsa", ".ecdsa", ".dsa"} {
		all = append(all, variant)
		for _, part := range parts {
			all = append(all, variant+part)
		}
	}
	return all
}()

// add adds a file, or the files in a directory. It returns false if it was added before.
func (r *inputReader) add(files *syntax.Files, f syntax.File) bool {
	if _, known := r.found[f.Path]; known || r.files > maxInputs {
		return false
	}
	here := map[string]fingerprint.File{}
	r.found[f.Path] = here
	addFile := func(path string) {
		if state, ok := fingerprint.Of(path, r.known[path]); ok && r.files <= maxInputs {
			here[path] = state
			r.files++
		}
	}
	if info, err := os.Stat(f.Path); err == nil && info.IsDir() {
		entries, _ := os.ReadDir(f.Path) // one that cannot be read counts as empty
		for _, entry := range entries {
			addFile(filepath.Join(f.Path, entry.Name()))
		}
		return true
	}
	addFile(f.Path)
	if f.Kind == syntax.Certificate {
		for _, extension := range related {
			addFile(f.Path + extension)
			if files != nil && files.Bare {
				addFile(strings.TrimSuffix(f.Path, filepath.Ext(f.Path)) + extension)
			}
		}
	}
	return true
}

// contentOf returns the content of a regular file, up to maxParsed, and nothing if it cannot be read.
func contentOf(path string) []byte {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	content, _ := io.ReadAll(io.LimitReader(file, maxParsed))
	return content
}
