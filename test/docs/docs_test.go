// Package docs_test runs every code block of every document of the repository.
//
// Each block is claimed by exactly one runner, by its document, its language and its role, which is the rest of the info string.
// A block that no runner claims, a block without a language and an indented block fail the test.
package docs_test

import (
	"fmt"
	"testing"
)

// TestBlocks runs every block of every document.
func TestBlocks(t *testing.T) {
	t.Parallel()
	names, err := documents()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blocks, err := blocksOf(name)
			if err != nil {
				t.Fatal(err)
			}
			runDocument(t, name, blocks)
		})
	}
}

// runDocument runs the blocks of a document: those of its session in order, and each other one by itself.
func runDocument(t *testing.T, name string, blocks []block) {
	inSession := map[string][]block{}
	for _, b := range blocks {
		r, err := runnerFor(b)
		if err != nil {
			t.Error(err)
			continue
		}
		if r.run == nil {
			inSession[r.name] = append(inSession[r.name], b)
			continue
		}
		t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) {
			if err := r.run(t, b); err != nil {
				t.Errorf("%s: %v", b.at(), err)
			}
		})
	}
	if steps := inSession[shell]; len(steps) > 0 {
		t.Run("session", func(t *testing.T) {
			if err := sessions[name].run(t, steps); err != nil {
				t.Error(err)
			}
		})
	}
	if steps := inSession[machine]; len(steps) > 0 {
		t.Run("machine", func(t *testing.T) {
			if err := machines[name].run(t, steps); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSessions_HaveBlocks checks that no session is left behind when the commands of its document are removed.
func TestSessions_HaveBlocks(t *testing.T) {
	t.Parallel()
	has := func(name, runner string) bool {
		blocks, err := blocksOf(name)
		if err != nil {
			t.Error(err)
		}
		for _, b := range blocks {
			if r, err := runnerFor(b); err == nil && r.name == runner {
				return true
			}
		}
		return false
	}
	for name := range sessions {
		if !has(name, shell) {
			t.Errorf("there is a session for %s, which has no commands", name)
		}
	}
	for name := range machines {
		if !has(name, machine) {
			t.Errorf("there is a machine for %s, which has no commands for one", name)
		}
	}
}
