package filewatch

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Paths are what a [Watcher] watches: names by their directory. When one of them changes, a path may lead to another file. The
// name "" stands for every name in the directory.
type Paths map[string]map[string]bool

func (p Paths) add(dir, name string) {
	if p[dir] == nil {
		p[dir] = map[string]bool{}
	}
	p[dir][name] = true
}

func (p Paths) equal(other Paths) bool {
	return maps.EqualFunc(p, other, maps.Equal[map[string]bool, map[string]bool])
}

// contain reports whether an event of that name is about one of the paths, or about a watched directory itself.
func (p Paths) contain(name string) bool {
	if _, ok := p[name]; ok {
		return true
	}
	names := p[filepath.Dir(name)]
	return names[""] || names[filepath.Base(name)]
}

// Add follows path from the root of the file system, through symbolic links, and adds what is replaced when the file is: the
// file, its directory, every link on the way, and what is missing. Directories further above, such as /tmp, have other events and
// are not added; the poll notices when they move.
func (p Paths) Add(path string) {
	const maxLinks = 40
	abs, err := filepath.Abs(path)
	if err != nil {
		return
	}
	dir, rest := "/", pathElements(abs)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		here := filepath.Join(dir, name)
		info, err := os.Lstat(here)
		isLink := err == nil && info.Mode()&os.ModeSymlink != 0
		if err != nil || isLink || len(rest) < 2 {
			p.add(dir, name)
		}
		switch {
		case err != nil:
			return
		case !isLink:
			dir = here
			continue
		}
		target, err := os.Readlink(here)
		if links++; err != nil || links > maxLinks {
			return
		}
		if filepath.IsAbs(target) {
			dir = "/"
		}
		rest = slices.Concat(pathElements(target), rest)
	}
}

// AddPattern adds the directories in which files may appear that the pattern, as of [filepath.Glob], matches.
func (p Paths) AddPattern(pattern string) {
	for dir := filepath.Dir(pattern); ; dir = filepath.Dir(dir) {
		p.addDirs(dir)
		if !hasMeta(dir) {
			return
		}
	}
}

// addDirs adds every name in the directories that the pattern matches. One without special characters need not exist yet.
func (p Paths) addDirs(pattern string) {
	if !hasMeta(pattern) {
		p.Add(pattern)
	}
	dirs, _ := filepath.Glob(pattern)
	for _, dir := range dirs {
		if target, err := filepath.EvalSymlinks(dir); err == nil {
			if abs, err := filepath.Abs(target); err == nil {
				p.add(abs, "")
			}
		}
	}
}

func hasMeta(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

func pathElements(path string) []string {
	return slices.DeleteFunc(strings.Split(filepath.ToSlash(filepath.Clean(path)), "/"), func(element string) bool {
		return element == "" || element == "."
	})
}
