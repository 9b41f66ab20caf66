package terminal

import (
	"cmp"
	"io"
	"os"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// progressDelay is how long a command may take before its progress is shown.
const progressDelay = time.Second

// A Progress shows on the last line of a terminal what a command is doing, once the command has taken a second. It shows nothing
// elsewhere. Its methods may be called from several goroutines.
type Progress struct {
	w     io.Writer
	width int // 0 if nothing is shown

	mu      sync.Mutex
	timer   *time.Timer // nil before the first text
	isDue   bool        // the delay has passed
	text    string      // "" for none
	isShown bool        // the line has a text
}

// NewProgress returns a progress on w. Close must be called when the command is done.
func NewProgress(w io.Writer) *Progress {
	p := &Progress{w: w}
	if width, _, ok := sizeOf(w); ok && os.Getenv("TERM") != "dumb" {
		p.width = cmp.Or(width, 80)
	}
	return p
}

// Show replaces the text that is shown.
func (p *Progress) Show(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
	if p.timer == nil && p.width > 0 {
		p.timer = time.AfterFunc(progressDelay, p.setDue)
	}
	p.draw()
}

func (p *Progress) setDue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isDue = true
	p.draw()
}

// draw writes the text. A terminal that cannot be written to is no error of the command.
func (p *Progress) draw() {
	if !p.isDue || p.text == "" {
		return
	}
	_, _ = io.WriteString(p.w, "\r"+ansi.Truncate(p.text, p.width-1, "…")+ansi.EraseLineRight)
	p.isShown = true
}

// Hide removes the text until Show is called again, so that something else can be written.
func (p *Progress) Hide() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = ""
	if p.isShown {
		_, _ = io.WriteString(p.w, "\r"+ansi.EraseLineRight)
		p.isShown = false
	}
}

// Close removes the text for good.
func (p *Progress) Close() {
	p.Hide()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.width = 0
}

// Over returns a writer to w that hides the progress before it writes.
func (p *Progress) Over(w io.Writer) io.Writer { return hidingWriter{p, w} }

type hidingWriter struct {
	p *Progress
	w io.Writer
}

func (h hidingWriter) Write(content []byte) (int, error) {
	h.p.Hide()
	return h.w.Write(content)
}
