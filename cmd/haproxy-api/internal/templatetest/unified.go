package main

import (
	"bytes"
	"fmt"

	"github.com/rogpeppe/go-internal/diff"
)

// A side is one of the two states of a file that are compared.
type side struct {
	path    string
	from    string // where it comes from, for people; may be empty
	content []byte
	missing bool
}

// label is the side's name in a diff's header, in which a tab ends the path for programs such as patch.
func (s side) label() string {
	switch {
	case s.missing:
		return "/dev/null"
	case s.from == "":
		return s.path
	}
	return s.path + "\t" + s.from
}

// unified returns the unified diff of two sides, which is empty where they are the same.
func unified(before, after side) []byte {
	changes := diff.Diff(before.label(), before.content, after.label(), after.content)
	if changes == nil {
		if before.missing == after.missing {
			return nil
		}
		// An empty file that comes or goes has no line to tell of it.
		return fmt.Appendf(nil, "--- %s\n+++ %s\n", before.label(), after.label())
	}
	// It begins with the command that would make it, which diff itself does not print.
	_, changes, _ = bytes.Cut(changes, []byte("\n"))
	return changes
}
