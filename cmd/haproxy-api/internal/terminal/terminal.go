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

// widthOf returns the width at which text for w is wrapped; 0 if w is no terminal, and text is not wrapped.
func widthOf(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		return 0
	}
	return min(max(width, minWidth), maxWidth)
}

// heightOf returns the number of lines that w shows, or 0 if w is no terminal.
func heightOf(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	_, height, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return height
}
