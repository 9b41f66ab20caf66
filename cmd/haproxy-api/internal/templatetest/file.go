package templatetest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rogpeppe/go-internal/diff"
)

// A file is one of the two versions of a file that are compared.
type file struct {
	path    string
	version string // what the version is called in a diff; may be empty
	content []byte
	missing bool
}

// readFile reads the file at path. A file that does not exist is no error.
func readFile(path, version string) (file, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file{path: path, missing: true}, nil
	}
	if err != nil {
		return file{}, fmt.Errorf("cannot read the file to compare with: %w", err)
	}
	return file{path: path, version: version, content: content}, nil
}

// label returns the file's name in the header of a diff. For programs such as patch, a tab ends the path.
func (f file) label() string {
	switch {
	case f.missing:
		return "/dev/null"
	case f.version == "":
		return f.path
	}
	return f.path + "\t" + f.version
}

// unifiedDiff returns the unified diff of two versions of a file. It is empty if they are equal.
func unifiedDiff(before, after file) []byte {
	changes := diff.Diff(before.label(), before.content, after.label(), after.content)
	if changes == nil {
		if before.missing == after.missing {
			return nil
		}
		// An empty file was added or removed, so there is no line to show.
		return fmt.Appendf(nil, "--- %s\n+++ %s\n", before.label(), after.label())
	}
	// The first line is a diff command, which diff(1) does not print either.
	_, changes, _ = bytes.Cut(changes, []byte("\n"))
	return changes
}
