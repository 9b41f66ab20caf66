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

// RecordSuffix is what the name of a sink's record has behind that of its main file.
const RecordSuffix = ".applied"

// Written is the companion files that a sink has written into the folder of its main file: the SHA-256 in hexadecimal of each
// content that they may have, by name.
type Written map[string][]string

// Sum returns the SHA-256 of content in hexadecimal.
func Sum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Add notes that the companions among files, which are all but the first, are about to be written. It reports whether that is
// news, so that it has to be recorded first: a crash must not make a file one that nobody has written.
func (w Written) Add(files []File) (news bool) {
	for _, f := range files[1:] {
		name, sum := filepath.Base(f.Path), Sum(f.Content)
		if !slices.Contains(w[name], sum) {
			w[name] = append(w[name], sum)
			news = true
		}
	}
	return news
}

// Obsolete returns those that are not among files.
func (w Written) Obsolete(files []File) Written {
	obsolete := maps.Clone(w)
	for _, f := range files {
		delete(obsolete, filepath.Base(f.Path))
	}
	return obsolete
}

// Settle notes that files are in place, whatever else their companions may have been, and returns the obsolete ones.
func (w Written) Settle(files []File) Written {
	for _, f := range files[1:] {
		w[filepath.Base(f.Path)] = []string{Sum(f.Content)}
	}
	return w.Obsolete(files)
}

// Remove removes the files in w, which are obsolete, from the folder of main, and forgets them. A file stays, for a later call,
// while one of the texts mentions its name, or a sink with a record in that folder has such a file or mentions it. A file that is
// not as the sink has written it, is a symbolic link or a mount point stays for good. It returns the names that it forgot, and
// why some cannot be removed yet.
func (w Written) Remove(main string, log *slog.Logger, texts ...[]byte) (forgot []string, err error) {
	if len(w) == 0 {
		return nil, nil
	}
	others, texts := neighbours(main, texts)
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(w)) {
		if others[name] || slices.ContainsFunc(texts, func(text []byte) bool { return mentions(text, name) }) {
			continue
		}
		path := filepath.Join(filepath.Dir(main), name)
		left, err := removeOwn(path, w[name])
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("cannot remove %s, which is no longer needed: %w", path, replace.Cause(err)))
			continue
		case left != "":
			log.Warn("a file that is no longer needed is left alone", "file", path, "reason", left)
		default:
			log.Info("a file that is no longer needed was removed", "file", path)
		}
		delete(w, name)
		forgot = append(forgot, name)
	}
	return forgot, errors.Join(faults...)
}

// removeOwn removes the file at path if it has one of the contents, and says why it is left alone otherwise.
func removeOwn(path string, sums []string) (left string, err error) {
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
		return "it was changed by somebody else", nil
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

// neighbours adds the main files of other sinks in the folder of main to texts, and returns the companions that these have.
func neighbours(main string, texts [][]byte) (companions map[string]bool, all [][]byte) {
	companions = map[string]bool{}
	records, _ := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(main)), "*"+RecordSuffix))
	for _, path := range records {
		theirs := strings.TrimSuffix(path, RecordSuffix)
		if theirs == main {
			continue
		}
		if text, err := os.ReadFile(theirs); err == nil {
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

// mentions reports whether the name is in text as a word of its own, or as the end of a path.
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
