package stage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/haproxy-api/haproxy-api/internal/replace"
)

// RecordSuffix is appended to the name of a sink's main file for that of its record.
const RecordSuffix = ".applied"

// Written contains the companions that a sink has written into the directory of its main file: by name, the hexadecimal SHA-256
// of each content that the file may have.
type Written map[string][]string

// Sum returns the SHA-256 of content in hexadecimal.
func Sum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Add adds the companions of files, which are all but the first, before they are written. It reports whether w changed: then the
// caller must record it first, so that a file is known to be the sink's after a crash.
func (w Written) Add(files []File) (changed bool) {
	for _, f := range files[1:] {
		name, sum := filepath.Base(f.Path), Sum(f.Content)
		if !slices.Contains(w[name], sum) {
			w[name] = append(w[name], sum)
			changed = true
		}
	}
	return changed
}

// Obsolete returns the companions that are not among files.
func (w Written) Obsolete(files []File) Written {
	obsolete := maps.Clone(w)
	for _, f := range files {
		delete(obsolete, filepath.Base(f.Path))
	}
	return obsolete
}

// Replace sets the content of the companions of files, which are in place, and returns the obsolete ones.
func (w Written) Replace(files []File) Written {
	for _, f := range files[1:] {
		w[filepath.Base(f.Path)] = []string{Sum(f.Content)}
	}
	return w.Obsolete(files)
}

// Remove removes the files of w, which are obsolete, from the directory of main, and from w. It keeps a file for a later call
// while one of the texts mentions its name, or while another sink with a record in that directory has such a file or mentions it.
// It removes a file from w only, and logs that, if the file was changed or is a symbolic link or a mount point. It returns the
// names that it removed from w, and the errors of files that cannot be removed yet.
func (w Written) Remove(main string, log *slog.Logger, texts ...[]byte) (removed []string, err error) {
	if len(w) == 0 {
		return nil, nil
	}
	others, texts := otherSinks(main, texts)
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(w)) {
		if others[name] || slices.ContainsFunc(texts, func(text []byte) bool { return mentions(text, name) }) {
			continue
		}
		path := filepath.Join(filepath.Dir(main), name)
		kept, err := removeUnchanged(path, w[name])
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("removing %s, which is no longer needed: %w", path, replace.Cause(err)))
			continue
		case kept != "":
			log.Warn("keeping a file that is no longer needed", "file", path, "reason", kept)
		default:
			log.Info("removed a file that is no longer needed", "file", path)
		}
		delete(w, name)
		removed = append(removed, name)
	}
	return removed, errors.Join(faults...)
}

// removeUnchanged removes the file at path if it has one of the contents. Otherwise it returns the reason why the file is kept.
func removeUnchanged(path string, sums []string) (kept string, err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "it is not a regular file", nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if !slices.Contains(sums, Sum(content)) {
		return "another program changed it", nil
	}
	err = os.Remove(path)
	if errors.Is(err, syscall.EBUSY) {
		return "it is a mount point", nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return "", nil
}

// otherSinks adds the main files of other sinks in the directory of main to texts, and returns the companions of these sinks.
func otherSinks(main string, texts [][]byte) (companions map[string]bool, all [][]byte) {
	companions = map[string]bool{}
	records, _ := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(main)), "*"+RecordSuffix))
	for _, path := range records {
		other := strings.TrimSuffix(path, RecordSuffix)
		if other == main {
			continue
		}
		if text, err := os.ReadFile(other); err == nil {
			texts = append(texts, text)
		}
		var r struct{ Files map[string]string }
		if content, err := os.ReadFile(path); err == nil && json.Unmarshal(content, &r) == nil {
			for name := range r.Files {
				companions[name] = true
			}
		}
	}
	return companions, texts
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// mentions reports whether text contains the name as a word or as the end of a path.
func mentions(text []byte, name string) bool {
	for {
		at := bytes.Index(text, []byte(name))
		if at < 0 {
			return false
		}
		end := at + len(name)
		if (at == 0 || text[at-1] == '/' || !inPath(text[at-1])) && (end == len(text) || !inPath(text[end])) {
			return true
		}
		text = text[at+1:]
	}
}
