package templates

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// places are names in folders: a change of one of them can change what a path leads to. The name "" means every name.
type places map[string]map[string]bool

func (p places) add(dir, name string) {
	if p[dir] == nil {
		p[dir] = map[string]bool{}
	}
	p[dir][name] = true
}

func (p places) equal(other places) bool {
	return maps.EqualFunc(p, other, maps.Equal[map[string]bool, map[string]bool])
}

// places returns what the files of the set hang on at the moment.
func (s *Set) places() places {
	p := places{}
	if s.cfg.Path != "" {
		p.addPath(s.cfg.Path)
	}
	for _, path := range s.cfg.Files {
		p.addPath(path)
	}
	for _, pattern := range s.cfg.Partials {
		p.addPattern(pattern)
	}
	partials, _ := s.partials()
	for _, path := range partials {
		p.addPath(path)
	}
	return p
}

// addPattern adds the folders in which files may appear that the pattern matches.
func (p places) addPattern(pattern string) {
	for dir := filepath.Dir(pattern); ; dir = filepath.Dir(dir) {
		p.addFolders(dir)
		if !hasMeta(dir) {
			return
		}
	}
}

// addFolders adds every name in the folders that the pattern matches. One without special characters may not exist yet.
func (p places) addFolders(pattern string) {
	if !hasMeta(pattern) {
		p.addPath(pattern)
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

// addPath follows path from the root of the file system, through symbolic links, and adds the places where somebody
// replaces things: the file, its folder, every link on the way, and what is missing. Folders far above, such as /tmp,
// are busy with other things and left alone; the poll sees when they move.
func (p places) addPath(path string) {
	const manyLinks = 40
	abs, err := filepath.Abs(path)
	if err != nil {
		return
	}
	dir, rest := "/", parts(abs)
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
		if links++; err != nil || links > manyLinks {
			return
		}
		if filepath.IsAbs(target) {
			dir = "/"
		}
		rest = slices.Concat(parts(target), rest)
	}
}

func parts(path string) []string {
	return slices.DeleteFunc(strings.Split(filepath.ToSlash(filepath.Clean(path)), "/"), func(part string) bool {
		return part == "" || part == "."
	})
}
