package terminal

import (
	"bytes"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// A Page is text that is composed before it is written. Its methods expect text without control characters, except for the escape
// sequences of a [Palette].
type Page struct {
	Palette
	width int // 0 for no limit
	text  bytes.Buffer
}

// NewPage returns an empty page for w.
func NewPage(w io.Writer) *Page { return &Page{Palette: PaletteFor(w), width: wrapWidth(w)} }

// NewPlainPage returns an empty page without colors whose lines are wrapped at that width; 0 for no limit.
func NewPlainPage(width int) *Page { return &Page{width: width} }

// WriteTo writes the page to w.
func (p *Page) WriteTo(w io.Writer) (int64, error) { return p.text.WriteTo(w) }

// String returns the page.
func (p *Page) String() string { return p.text.String() }

// Line writes text as one line or, if it is too long, several ones.
func (p *Page) Line(text string) { p.Hanging("", text) }

// NoBreak is a space at which lines are not broken.
const NoBreak = "\u00a0"

// Hanging writes lead and then text. The lines that text is wrapped to begin below its first one.
func (p *Page) Hanging(lead, text string) {
	indent := ansi.StringWidth(lead)
	if p.width > 0 {
		text = wrap(text, max(p.width-indent, minWidth/2))
	}
	text = strings.ReplaceAll(text, NoBreak, " ")
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			lead = strings.Repeat(" ", indent)
		}
		p.write(lead + line)
	}
}

// wrap wraps text at spaces. Only what is longer than a line is broken elsewhere: a path that is broken cannot be copied.
func wrap(text string, width int) string {
	const unbreakable = "\u2011" // ansi.Wrap breaks at each hyphen
	return strings.ReplaceAll(ansi.Wrap(strings.ReplaceAll(text, "-", unbreakable), width, ""), unbreakable, "-")
}

// Verbatim writes text, which may have several lines, below each other with an indent. Lines that are too long are cut off.
func (p *Page) Verbatim(indent int, text string) {
	for line := range strings.Lines(text) {
		line = strings.Repeat(" ", indent) + strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "    ")
		p.write(p.cut(line))
	}
}

// Fields writes names and their values in two columns.
func (p *Page) Fields(indent int, fields [][2]string) {
	widest := 0
	for _, f := range fields {
		widest = max(widest, ansi.StringWidth(f[0]))
	}
	for _, f := range fields {
		p.Hanging(strings.Repeat(" ", indent)+p.Faint(pad(f[0], widest))+"  ", f[1])
	}
}

// minLastColumn is how wide the last column of a table must be for a text.
const minLastColumn = 30

// Table writes rows of equally many cells in columns. A cell that begins with a tab is aligned to the right. Lines that are too
// long are cut off; if that would leave little of a last column that is wide, it is written below the others instead.
func (p *Page) Table(rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ansi.StringWidth(strings.TrimPrefix(cell, "\t")))
		}
	}
	below := p.lastColumnIsBelow(widths)
	for _, full := range rows {
		var line strings.Builder
		row, last := full, len(full)-1
		if below {
			row = full[:last]
		}
		for i, cell := range row {
			text, right := strings.CutPrefix(cell, "\t")
			space := strings.Repeat(" ", widths[i]-ansi.StringWidth(text))
			if right {
				text, space = space+text, ""
			}
			line.WriteString(text)
			if i < len(row)-1 {
				line.WriteString(space + "  ")
			}
		}
		p.write(p.cut(line.String()))
		if below && full[last] != "" {
			p.Hanging("    ", full[last])
		}
	}
}

// lastColumnIsBelow reports whether a table with columns of these widths has too little space for the last one.
func (p *Page) lastColumnIsBelow(widths []int) bool {
	if p.width == 0 || len(widths) == 0 {
		return false
	}
	before := 0
	for _, width := range widths[:len(widths)-1] {
		before += width + 2
	}
	last := widths[len(widths)-1]
	return last > minLastColumn && before+minLastColumn > p.width
}

// cut cuts a line off at the width of the page.
func (p *Page) cut(line string) string {
	if p.width == 0 {
		return line
	}
	return ansi.Truncate(line, p.width, "…")
}

func (p *Page) write(line string) {
	p.text.WriteString(strings.TrimRight(line, " ") + "\n")
}

// pad returns text with spaces up to a width.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
}
