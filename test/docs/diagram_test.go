package docs_test

import (
	"errors"
	"fmt"
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
