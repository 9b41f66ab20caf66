package haproxy

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
)

// shownLines bounds what a sentence quotes of a program's output.
const shownLines = 6

// shell runs a command line of the user's through bash, as the older haproxy-api did.
func shell(ctx context.Context, line string) (program.Outcome, error) {
	return program.Run(ctx, "bash", "-c", line)
}

// findBinary returns the absolute path of the HAProxy program: the master executes itself again under that name.
func findBinary(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return filepath.Abs(path)
	}
	where := fmt.Sprintf("there is no %q in PATH", name)
	if strings.ContainsRune(name, filepath.Separator) {
		where = fmt.Sprintf("there is no program %s", name)
	}
	return "", &missingError{fmt.Sprintf("HAProxy is not installed: %s; install it or set haproxy.binary", where), err}
}

// A missingError says that a program is not there, which may change.
type missingError struct {
	sentence string
	cause    error
}

func (e *missingError) Error() string { return e.sentence }
func (e *missingError) Unwrap() error { return e.cause }

// logLines returns the lines that HAProxy logged, without its notices about itself. A line reads
// "[ALERT]    (15110) : text", older ones "[ALERT] 325/140250 (15110) : text".
func logLines(text string) []string {
	var lines []string
	for _, line := range program.Lines(text) {
		if level, _ := splitLevel(line); level != "NOTICE" {
			lines = append(lines, line)
		}
	}
	return lines
}

// linesOf returns the texts of the lines that HAProxy logged with that level.
func linesOf(level, text string) []string {
	var texts []string
	for _, line := range program.Lines(text) {
		if l, said := splitLevel(line); l == level {
			texts = append(texts, strings.TrimSuffix(said, ".")) // what quotes it goes on
		}
	}
	return texts
}

func splitLevel(line string) (level, text string) {
	if !strings.HasPrefix(line, "[") {
		return "", line
	}
	level, rest, found := strings.Cut(line[1:], "]")
	if !found {
		return "", line
	}
	if _, said, found := strings.Cut(rest, ") : "); found {
		return level, said
	}
	return level, strings.TrimSpace(rest)
}

// complaint condenses a failed program's output into what a sentence can carry: HAProxy's alerts if there are any, the
// last lines otherwise.
func complaint(o program.Outcome) string {
	lines := linesOf("ALERT", o.Output)
	if len(lines) == 0 {
		lines = program.Lines(o.Output)
		lines = lines[max(0, len(lines)-shownLines):]
	}
	if len(lines) == 0 {
		return fmt.Sprintf("it ended with exit code %d and said nothing", o.Code)
	}
	if len(lines) > shownLines {
		lines = append(lines[:shownLines:shownLines], fmt.Sprintf("(%d more)", len(lines)-shownLines))
	}
	return strings.Join(lines, "; ")
}
