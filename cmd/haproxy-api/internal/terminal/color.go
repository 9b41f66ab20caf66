package main

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/term"
)

// What a terminal takes for a colour.
const (
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	cyan  = "\x1b[36m"
	plain = "\x1b[0m"
)

// A palette colours text for a terminal, and leaves it alone for everything else. All commands have the same one, so that
// red means the same everywhere.
type palette struct{ colored bool }

// paletteFor honours NO_COLOR as no-color.org has it: set to anything but nothing.
func paletteFor(w io.Writer) palette {
	file, ok := w.(*os.File)
	return palette{ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd()))}
}

func (p palette) bad(text string) string  { return p.paint(red, text) }
func (p palette) good(text string) string { return p.paint(green, text) }

func (p palette) paint(color, text string) string {
	if !p.colored || text == "" {
		return text
	}
	return color + text + plain
}

// diff colours a unified diff line by line. Up to the first hunk its lines are headers, which begin like changes do.
func (p palette) diff(text []byte) []byte {
	if !p.colored {
		return text
	}
	var out bytes.Buffer
	header := true
	for line := range bytes.Lines(text) {
		content, end := bytes.CutSuffix(line, []byte("\n"))
		header = header && !bytes.HasPrefix(content, []byte("@@"))
		out.WriteString(p.paint(diffColor(header, content), string(content)))
		if end {
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
