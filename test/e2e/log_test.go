package e2e_test

import (
	"bytes"
	"strings"
	"sync"
)

// logFile is a log that can be read while it is written.
type logFile struct {
	mu     sync.Mutex
	b      bytes.Buffer
	longer chan struct{} // closed by the next Write
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.longer != nil {
		close(l.longer)
		l.longer = nil
	}
	return l.b.Write(p)
}

func (l *logFile) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// next returns a channel that the next Write closes.
func (l *logFile) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.longer == nil {
		l.longer = make(chan struct{})
	}
	return l.longer
}

// reset discards what was written.
func (l *logFile) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// prepend inserts text at the beginning.
func (l *logFile) prepend(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	content := text + l.b.String()
	l.b.Reset()
	l.b.WriteString(content)
}

// lastLine returns the last line of the log that contains text, or an empty string.
func lastLine(log *logFile, text string) string {
	last := ""
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, text) {
			last = strings.TrimSpace(line)
		}
	}
	return last
}
