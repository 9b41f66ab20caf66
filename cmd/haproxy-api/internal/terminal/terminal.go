// Package terminal writes text to terminals: in color, in columns, wrapped at the width of the terminal, and redrawn in place.
// What it writes to files and pipes has neither escape sequences nor line breaks that depend on a width.
package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

const (
	minWidth = 40  // narrower terminals show broken lines
	maxWidth = 120 // longer lines are hard to read
)

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// sizeOf returns the size of w in characters. ok is false if w is no terminal. A pseudo-terminal may have the size 0.
func sizeOf(w io.Writer) (width, height int, ok bool) {
	file, isFile := w.(*os.File)
	if !isFile {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(file.Fd()))
	return width, height, err == nil
}

// wrapWidth returns the width at which text for w is wrapped, and 0 if it is not wrapped because the width is unknown.
func wrapWidth(w io.Writer) int {
	width, _, ok := sizeOf(w)
	if !ok || width <= 0 {
		return 0
	}
	return min(max(width, minWidth), maxWidth)
}
