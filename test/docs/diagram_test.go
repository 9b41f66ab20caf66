package docs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The lines of a sequence diagram.
var (
	diagramParticipant = regexp.MustCompile(`^(?:participant|actor) (\w+)(?: as .+)?$`)
	diagramMessage     = regexp.MustCompile(`^(\w+)(?:--?>>?|--?[x)])(\w+): .+$`)
	diagramNote        = regexp.MustCompile(`^Note (?:(?:right|left) of|over) (\w+)(?:,(\w+))?: .+$`)
	diagramOpen        = regexp.MustCompile(`^(?:loop|opt|alt|par|critical|break) .+$`)
	diagramPart        = regexp.MustCompile(`^(?:else|and|option)\b`)
)

// runDiagram checks the syntax of a sequence diagram: every line, that each participant is declared, and that blocks are closed.
func runDiagram(_ *testing.T, b block) error {
	first, rest, _ := strings.Cut(b.text, "\n")
	if strings.TrimSpace(first) != "sequenceDiagram" {
		return errors.New("only sequence diagrams can be checked")
	}
	declared := map[string]bool{"": true}
	depth := 0
	for line := range strings.Lines(rest) {
		line = strings.TrimSpace(line)
		participant, message, note := diagramParticipant.FindStringSubmatch(line), diagramMessage.FindStringSubmatch(line),
			diagramNote.FindStringSubmatch(line)
		switch {
		case participant != nil:
			declared[participant[1]] = true
		case message != nil || note != nil:
			for _, name := range append(message, note...) {
				if name != line && !declared[name] {
					return fmt.Errorf("%s is not a participant", name)
				}
			}
		case diagramOpen.MatchString(line):
			depth++
		case line == "end":
			depth--
		case line != "" && (depth == 0 || !diagramPart.MatchString(line)):
			return fmt.Errorf("not a line of a sequence diagram: %s", line)
		}
		if depth < 0 {
			return errors.New("an end without a beginning")
		}
	}
	if depth > 0 {
		return errors.New("a block without an end")
	}
	return nil
}

// The names in a drawing.
var (
	drawnPath = regexp.MustCompile(`\b[a-z]+(?:/[a-z-]+)+\b`)
	drawnType = regexp.MustCompile(`\b[A-Z][a-z]+\b`)
)

// runDrawing checks that a drawing has names, and that they are directories of the repository, or types of plugins/sdk, engine or
// engine/config.
func runDrawing(_ *testing.T, b block) error {
	var source strings.Builder
	for _, pattern := range []string{"plugins/sdk/*.go", "engine/*.go", "engine/config/*.go"} {
		names, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			source.Write(content)
		}
	}
	types, paths := drawnType.FindAllString(b.text, -1), drawnPath.FindAllString(b.text, -1)
	for _, name := range types {
		if !strings.Contains(source.String(), "\ntype "+name+" ") {
			return fmt.Errorf("there is no type %s", name)
		}
	}
	for _, path := range paths {
		if _, err := os.Stat(filepath.Join(repository, path)); err != nil {
			return err
		}
	}
	if len(types)+len(paths) == 0 {
		return errors.New("the drawing names nothing")
	}
	return nil
}
