package docs_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A runner runs blocks of one kind.
type runner struct {
	name   string
	claims func(b block) bool
	// run returns an error if the block is wrong. It is nil for the runners of sessions, whose blocks are run together.
	run func(t *testing.T, b block) error
}

// The names of the runners of sessions.
const (
	shell   = "commands in a session"
	machine = "commands on a Debian machine"
)

// runners lists every kind of block.
var runners = []runner{
	{shell, inShell, nil},
	{machine, inMachine, nil},
	{"checks of a change", func(b block) bool { return b.is("sh", "ci") }, runInCI},
	{"configuration", func(b block) bool { return b.is("toml", "") || b.is("yaml", "") || b.is("json", "") }, runConfiguration},
	{"instance", func(b block) bool { return b.is("json", "instance") }, runInstance},
	{"template", func(b block) bool { return b.is("gotemplate", "", "fragment") }, runTemplate},
	{"HAProxy's configuration", func(b block) bool { return b.is("haproxy", "") }, runHAProxy},
	{"log lines", func(b block) bool { return b.is("text", "log") }, runLogLines},
	{"diagram", func(b block) bool { return b.is("mermaid", "") }, runDiagram},
	{"drawing", func(b block) bool { return b.is("text", "drawing") }, runDrawing},
	{"part of a file", func(b block) bool { return strings.HasPrefix(b.role, "part ") }, runPart},
	{"golden file", func(b block) bool { return b.language == "text" && strings.HasPrefix(b.role, "golden ") }, runGolden},
}

func inShell(b block) bool {
	if _, known := sessions[b.document]; !known {
		return false
	}
	return b.is("sh", "", "fails", "runs") || b.file() != "" ||
		b.is("text", "") && slices.Contains([]string{"sh", "sh fails", "sh runs"}, b.after)
}

func inMachine(b block) bool {
	if _, known := machines[b.document]; !known {
		return false
	}
	_, hasShell := sessions[b.document]
	return b.is("sh", "machine") || b.file() != "" && !hasShell || b.is("text", "") && b.after == "sh machine"
}

// is reports whether the block has that language and one of those roles.
func (b block) is(language string, roles ...string) bool {
	return b.language == language && slices.Contains(roles, b.role)
}

// runnerFor returns the only runner that claims the block.
func runnerFor(b block) (runner, error) {
	switch {
	case !b.fenced:
		return runner{}, fmt.Errorf("%s: %w", b.at(), errIndented)
	case b.language == "":
		return runner{}, fmt.Errorf("%s: %w", b.at(), errNoLanguage)
	}
	var found []runner
	for _, r := range runners {
		if r.claims(b) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return runner{}, fmt.Errorf("%s: %w: %s %s", b.at(), errUnclaimed, b.language, b.role)
	case 1:
		return found[0], nil
	}
	return runner{}, fmt.Errorf("%s: %w: %s and %s", b.at(), errAmbiguous, found[0].name, found[1].name)
}

var (
	errIndented   = errors.New("an indented code block: use a fence with a language")
	errNoLanguage = errors.New("a code block without a language")
	errUnclaimed  = errors.New("no runner claims this block; a document with commands needs a session")
	errAmbiguous  = errors.New("several runners claim this block")
)
