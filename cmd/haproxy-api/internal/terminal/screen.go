package terminal

import (
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// A Screen shows one page after another: in place on a terminal, and below each other elsewhere.
type Screen struct {
	w       io.Writer
	started bool
}

// NewScreen returns a screen on w.
func NewScreen(w io.Writer) *Screen { return &Screen{w: w} }

// Show replaces the page that is shown. The end of a page that is longer than the terminal is high is not shown.
func (s *Screen) Show(p *Page) error {
	if !IsTerminal(s.w) {
		_, err := p.WriteTo(s.w)
		return err
	}
	lines := strings.SplitAfter(strings.TrimSuffix(p.String(), "\n"), "\n")
	if _, height, ok := sizeOf(s.w); ok && height > 2 && len(lines) > height-1 {
		lines = append(lines[:height-2], "…")
	}
	var out strings.Builder
	if !s.started {
		out.WriteString(ansi.EraseEntireScreen)
		s.started = true
	}
	out.WriteString(ansi.CursorHomePosition)
	for _, line := range lines {
		out.WriteString(strings.TrimSuffix(line, "\n") + ansi.EraseLineRight + "\n")
	}
	out.WriteString(ansi.EraseScreenBelow)
	_, err := io.WriteString(s.w, out.String())
	return err
}
