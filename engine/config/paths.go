package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A PathUse says what the path in a key is used for. It decides where a relative path in a configuration file leads: see [Load].
type PathUse int

// Uses of a path. The zero value means that the key has no path.
const (
	ReadsFile       PathUse = iota + 1 // a file or a directory that is read
	ReadsPattern                       // a pattern of files that are read
	ReadsProgram                       // a program that is run; a name without a slash is found in PATH and is no path
	WritesFile                         // a file that is written
	WritesDirectory                    // a directory that files are written to
)

// A ComponentKey is a key in the block of each source or sink of one type.
type ComponentKey struct {
	Table string // "sources" or "sinks"
	Type  string
	Key   string
}

// resolvePaths replaces the relative paths in the layer of the configuration file by those that they lead to, and adds a warning
// for each path that could be meant differently.
func (l *loader) resolvePaths(file string, components map[ComponentKey]PathUse) {
	directory := filepath.Dir(file)
	if !l.hasFile || sameFile(directory, ".") {
		return
	}
	workingDir, err := os.Getwd()
	if err != nil {
		workingDir = "."
	}
	r := pathResolver{directory: directory, workingDir: workingDir, components: components, merged: l.merged().Raw()}
	tree := l.layers[0].content.Raw()
	r.resolve(nil, tree, (&Config{}).schema())
	l.layers[0] = newLayer(tree, l.layers[0].origin)
	l.warnings = append(l.warnings, r.warnings...)
}

// A pathResolver resolves the relative paths in one configuration file.
type pathResolver struct {
	directory  string // of the configuration file
	workingDir string // for warnings
	components map[ComponentKey]PathUse
	merged     map[string]any // all layers
	warnings   []string
}

// resolve returns v, the value at that path of the configuration, with the paths in it resolved. It changes tables in place.
func (r *pathResolver) resolve(at path, v any, k kind) any {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if child := k.child(name); child != nil {
				v[name] = r.resolve(at.with(name), v[name], child)
			}
		}
	case []any:
		for i, item := range v {
			v[i] = r.resolve(at, item, k)
		}
	case string:
		return r.resolvePath(at, v, r.useOf(at, k))
	}
	return v
}

// useOf returns what the path in a key is used for, or 0 if the key has none.
func (r *pathResolver) useOf(at path, k kind) PathUse {
	if s, ok := k.(scalar); ok {
		return s.use
	}
	if len(at) != 3 {
		return 0
	}
	typ, _ := get(r.merged, at[:2].with("type"))
	name, _ := typ.(string)
	return r.components[ComponentKey{Table: at[0], Type: name, Key: at[2]}]
}

// resolvePath returns the path that a relative path leads to.
func (r *pathResolver) resolvePath(at path, p string, use PathUse) string {
	if use == 0 || p == "" || filepath.IsAbs(p) || use == ReadsProgram && !strings.Contains(p, "/") {
		return p
	}
	beside := filepath.Join(r.directory, p)
	here, there := leads(p, use), leads(beside, use)
	reads := use == ReadsFile || use == ReadsProgram
	switch {
	case here && there && !r.isSame(p, beside, use):
		r.warnf(at, p, "the one in the working directory %s is used, and not %s in the directory of the configuration file; "+
			"an absolute path is unambiguous", r.workingDir, beside)
	case !here && there:
		r.warnf(at, p, "the working directory %s does not have it, so %s in the directory of the configuration file is used",
			r.workingDir, beside)
		return beside
	case !here && reads:
		r.warnf(at, p, "neither the working directory %s nor the directory of the configuration file, %s, has it",
			r.workingDir, r.directory)
	}
	return p
}

func (r *pathResolver) warnf(at path, p, format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf("%s names the relative path %s: ", at, p)+fmt.Sprintf(format, args...))
}

// leads reports whether a path leads to something: to a file that can be read, or to a directory that can be written to.
func leads(p string, use PathUse) bool {
	if use == ReadsPattern {
		matches, _ := filepath.Glob(p) // an invalid pattern was reported
		return len(matches) > 0
	}
	_, err := os.Stat(directoryOf(p, use))
	return err == nil
}

// isSame reports whether two paths that lead to something lead to the same.
func (r *pathResolver) isSame(a, b string, use PathUse) bool {
	if use == ReadsPattern {
		a, b = filepath.Dir(a), filepath.Dir(b)
	}
	return sameFile(directoryOf(a, use), directoryOf(b, use))
}

// directoryOf returns what has to exist for a path to lead to something: the directory of a file that is written, or else the
// path.
func directoryOf(p string, use PathUse) string {
	if use == WritesFile {
		return filepath.Dir(p)
	}
	return p
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}
