package terminal

import (
	"bytes"
	"io"
	"os"
)

// ANSI escape sequences.
const (
	bold   = "\x1b[1m"
	faint  = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	reset  = "\x1b[0m"
)

// A Palette colors text for one writer. The zero value returns all text unchanged.
type Palette struct{ colored bool }

// PaletteFor returns the palette for w. It colors text only if w is a terminal, TERM is not "dumb" and NO_COLOR is empty or not
// set (see no-color.org).
func PaletteFor(w io.Writer) Palette {
	return Palette{IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// Bold returns text in bold.
func (p Palette) Bold(text string) string { return p.paint(bold, text) }

// Faint returns text that is less important.
func (p Palette) Faint(text string) string { return p.paint(faint, text) }

// Warning returns text in the color of warnings.
func (p Palette) Warning(text string) string { return p.paint(yellow, text) }

// Failure returns text in the color of failures.
func (p Palette) Failure(text string) string { return p.paint(red, text) }

// Success returns text in the color of success.
func (p Palette) Success(text string) string { return p.paint(green, text) }

func (p Palette) paint(color, text string) string {
	if !p.colored || text == "" {
		return text
	}
	return color + text + reset
}

// Diff returns a unified diff with each line colored. Lines before the first hunk are file headers; they also begin with - and +.
func (p Palette) Diff(text []byte) []byte {
	if !p.colored {
		return text
	}
	var out bytes.Buffer
	header := true
	for line := range bytes.Lines(text) {
		content, newline := bytes.CutSuffix(line, []byte("\n"))
		header = header && !bytes.HasPrefix(content, []byte("@@"))
		out.WriteString(p.paint(diffColor(header, content), string(content)))
		if newline {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

func diffColor(header bool, line []byte) string {
	switch {
	case header:
		return bold
	case bytes.HasPrefix(line, []byte("@@")):
		return cyan
	case bytes.HasPrefix(line, []byte("-")):
		return red
	case bytes.HasPrefix(line, []byte("+")):
		return green
	}
	return ""
}
