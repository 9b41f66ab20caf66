package filewatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/fingerprint"
)

// MaxWatched bounds how many files [Globs] watch.
const MaxWatched = 4096

// Globs are complete when they have not changed for globsQuiet, or after maxGlobsQuiet. That is longer than for
// templates, since a program that reads an incomplete file does more harm.
const (
	globsQuiet    = 250 * time.Millisecond
	maxGlobsQuiet = 2 * time.Second
)

// Globs are the files that patterns match, whatever their content. Its methods may be called from any goroutine.
type Globs struct {
	patterns []string
	ignore   func(path string) bool

	mu    sync.Mutex
	files map[string]fingerprint.File // by path, as they were read last; nil before
}

// NewGlobs returns the files that the patterns match, as of [filepath.Glob]. Of a directory that a pattern matches these are the
// files in it, without those in its subdirectories. As in a shell, a leading dot must be matched explicitly. ignore, if it
// is not nil, returns true for files that do not count.
func NewGlobs(patterns []string, ignore func(path string) bool) *Globs {
	if ignore == nil {
		ignore = func(string) bool { return false }
	}
	return &Globs{patterns: patterns, ignore: ignore}
}

// Patterns returns the patterns of g.
func (g *Globs) Patterns() []string { return slices.Clone(g.patterns) }

// Match returns the files that the pattern matches now, in the order of their paths, including the ignored ones.
func Match(pattern string) []string {
	var found []string
	matches, _ := filepath.Glob(pattern) // the configuration reports wrong patterns
	dotted := strings.HasPrefix(filepath.Base(pattern), ".")
	for _, path := range matches {
		if strings.HasPrefix(filepath.Base(path), ".") && !dotted {
			continue
		}
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			found = append(found, path)
			continue
		}
		entries, _ := os.ReadDir(path) // one that cannot be read has no files
		for _, entry := range entries {
			if !strings.HasPrefix(entry.Name(), ".") {
				found = append(found, filepath.Join(path, entry.Name()))
			}
		}
	}
	slices.Sort(found)
	return found
}

// Read returns for each file a text that is the same for the same content. It returns at most [MaxWatched] files.
func (g *Globs) Read() map[string]string {
	g.mu.Lock()
	before := g.files
	g.mu.Unlock()
	files := map[string]fingerprint.File{}
	for _, pattern := range g.patterns {
		for _, path := range Match(pattern) {
			if len(files) >= MaxWatched {
				break
			}
			if _, known := files[path]; known || g.ignore(path) {
				continue
			}
			if f, ok := fingerprint.Of(path, before[path]); ok {
				files[path] = f
			}
		}
	}
	g.mu.Lock()
	g.files = files
	g.mu.Unlock()
	return contents(files)
}

func contents(files map[string]fingerprint.File) map[string]string {
	all := make(map[string]string, len(files))
	for path, f := range files {
		all[path] = f.Digest
		if f.Digest == "" {
			all[path] = fmt.Sprintf("%d %d %d", f.Size, f.Modified, f.Inode)
		}
	}
	return all
}

// Watch calls changed with the result of [Globs.Read] when it has changed, as soon as the files have not changed for 250 ms, and
// after 2 s in any case. Changes since the last Read count. changed runs on the goroutine of Watch.
//
// Watch blocks until ctx is done and then returns nil.
func (g *Globs) Watch(ctx context.Context, changed func(map[string]string)) error {
	g.watch(ctx, Watcher{}, changed)
	return nil
}

// watch is Watch with the poll of w.
func (g *Globs) watch(ctx context.Context, w Watcher, changed func(map[string]string)) {
	g.mu.Lock()
	last := digest(contents(g.files))
	g.mu.Unlock()
	var now map[string]string
	w.Paths, w.Quiet, w.MaxQuiet = g.watchPaths, globsQuiet, maxGlobsQuiet
	w.Read = func() string {
		now = g.Read()
		return digest(now)
	}
	w.Changed = func() { changed(now) }
	w.Run(ctx, last)
}

func digest(files map[string]string) string {
	h := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %q\n", path, files[path])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// watchPaths returns what the files depend on at the moment: their own paths, the directories in which some may appear, and the
// directories that a pattern names and that do not exist yet.
func (g *Globs) watchPaths() Paths {
	paths := Paths{}
	for _, pattern := range g.patterns {
		paths.AddPattern(pattern)
		matches, _ := filepath.Glob(pattern)
		for _, path := range matches {
			paths.Add(path)
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				paths.addDirs(path)
			}
		}
	}
	for _, path := range g.lastRead() {
		paths.Add(path)
	}
	return paths
}

// lastRead returns the paths of the files that were read last.
func (g *Globs) lastRead() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.files))
}
