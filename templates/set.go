// Package templates renders snapshots into documents: it reads a set of text/template files, compiles them, and renders the
// services of a snapshot with them.
//
// A [Set] describes where the files are. [Set.Load] reads them as they are at that moment into a [Template], which never changes
// afterwards and renders as a pure function of the snapshot; [Set.Watch] reports when loading again would return something else.
// The caller decides which Template is active: this package knows neither pipelines, sources and sinks nor the purpose of
// documents.
//
// A template sees the fields of its root (.Services, .User, .Group, .Vars, .Cluster, .Source), the functions of [Functions], and
// all text functions of sprig v3. Those include env and expandenv, so anyone who can write a template can read the daemon's
// environment, secrets included: give write access to templates only to people who may see it.
package templates

import (
	"context"
	_ "embed" // for the built-in template
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/filewatch"
)

// Config describes the files of a set and what they are rendered with.
type Config struct {
	// Name is the main file's name in the document. It defaults to the base name of Path, or "haproxy.cfg".
	Name string
	// Path is the main template. Empty means the built-in one.
	Path string
	// Files are the companions: from their name in the document to the path of their template.
	Files map[string]string
	// Partials are patterns, as of [filepath.Glob], of files that define templates for the others to use. Each is also
	// a template itself, named by its base name. As in a shell, a leading dot must be matched explicitly.
	Partials []string
	// Delims replace {{ and }} if they are not empty.
	Delims [2]string
	// Vars is .Vars. Every rendered file gets a copy of its own, so a template may modify it.
	Vars map[string]any

	BindIP       string // what the function bindIP returns
	UseHostnames bool   // makes ipFor return hostnames
	User, Group  string // .User and .Group

	// Now replaces [time.Now], for tests.
	Now func() time.Time
}

//go:embed builtin/haproxy.cfg
var builtin []byte

// The path of the built-in template in errors, and the name of its file in the document.
const (
	builtinPath = "builtin/haproxy.cfg"
	builtinName = "haproxy.cfg"
)

// Builtin returns a copy of the built-in HAProxy template.
func Builtin() []byte { return append([]byte(nil), builtin...) }

// A Set is a set of template files. Its methods may be called from any goroutine.
type Set struct {
	cfg    Config
	random *randomSource

	mu     sync.Mutex
	loaded content // what Load read last; empty before the first time
}

// New returns the set that cfg describes. It reads nothing yet. The maps and slices of cfg must not change from now on.
func New(cfg Config) *Set {
	if cfg.Name == "" {
		cfg.Name = builtinName
		if cfg.Path != "" {
			cfg.Name = filepath.Base(cfg.Path)
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Set{cfg: cfg, random: newRandomSource()}
}

// Load reads and compiles every file of the set as it is now. The error joins the faults of all files, each of them an [*Error]
// if its position is known.
func (s *Set) Load() (*Template, error) {
	sources, err := s.read()
	s.mu.Lock()
	s.loaded = newContent(sources, err)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := check(sources); err != nil {
		return nil, err
	}
	t, err := newTemplate(s.cfg, sources, s.random)
	if err != nil {
		return nil, err
	}
	t.addCache()
	return t, nil
}

// unreadable returns the error for a file that cannot be read. It names the directory that a relative path is relative to.
func unreadable(path string, err error) error {
	in := ""
	if workingDir, wdErr := os.Getwd(); wdErr == nil && !filepath.IsAbs(path) {
		in = " in the working directory " + workingDir
	}
	return fmt.Errorf("template %s cannot be read%s: %w", path, in, withoutPath(err))
}

// check returns the faults of the files that can be found without parsing.
func check(sources []source) error {
	var faults []error
	seen := map[string]string{}
	for _, src := range sources {
		if src.err != nil {
			faults = append(faults, unreadable(src.path, src.err))
		}
		if err := src.checkText(); err != nil {
			faults = append(faults, err)
		}
		if other, ok := seen[src.name]; ok {
			faults = append(faults, fmt.Errorf("two files of the template set are called %s: %s and %s; rename one",
				src.name, other, src.path))
		}
		seen[src.name] = src.path
	}
	// An editor that truncates a file and then writes it leaves it empty for a moment. That would render an empty document.
	if main := sources[0]; main.err == nil && strings.TrimSpace(main.text) == "" {
		faults = append(faults, &Error{File: main.path, Message: "the template is empty"})
	}
	return errors.Join(faults...)
}

// Watch calls changed when a file of the set changed, appeared or was removed, as soon as it has not changed for 25 ms, and
// after 100 ms in any case, with the path of a file that has. It does not call changed if all files have the same content as
// before, nor for other files nearby. Changes since the last [Set.Load] count, so an edit between Load and Watch is not lost.
// changed runs on the goroutine of Watch.
//
// Watch blocks until ctx is done and then returns nil. If the system provides no events, it reads the files every two seconds.
func (s *Set) Watch(ctx context.Context, changed func(path string)) error {
	if s.cfg.Path == "" && len(s.cfg.Files) == 0 && len(s.cfg.Partials) == 0 {
		<-ctx.Done()
		return nil
	}
	s.watch(ctx, filewatch.Watcher{}, changed)
	return nil
}

// watch is Watch with the poll of w.
func (s *Set) watch(ctx context.Context, w filewatch.Watcher, changed func(path string)) {
	last := s.lastLoaded()
	now := last
	w.Paths = s.watchPaths
	w.Read = func() string {
		now = newContent(s.read())
		return now.digest
	}
	w.Changed = func() {
		path := now.changedPath(last)
		last = now
		changed(path)
	}
	w.Run(ctx, last.digest)
}

// watchPaths returns what the files of the set depend on at the moment.
func (s *Set) watchPaths() filewatch.Paths {
	paths := filewatch.Paths{}
	if s.cfg.Path != "" {
		paths.Add(s.cfg.Path)
	}
	for _, path := range s.cfg.Files {
		paths.Add(path)
	}
	for _, pattern := range s.cfg.Partials {
		paths.AddPattern(pattern)
	}
	partials, _ := s.partials()
	for _, path := range partials {
		paths.Add(path)
	}
	return paths
}

func (s *Set) lastLoaded() content {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded.digest != "" {
		return s.loaded
	}
	return newContent(s.read())
}
