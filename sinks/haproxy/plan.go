package haproxy

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"

	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A need is the least that has to be done to bring files into effect.
type need int

const (
	needNothing need = iota // they are in effect and on disk
	needWriting             // what runs has the same meaning, what is on disk differs
	needRenewal             // HAProxy has to load them
)

// A plan is a need and, for people, why not less.
type plan struct {
	need   need
	reason string
}

// compare plans how files come into effect where running ones are in effect now; nil is for not knowing.
//
// The main files are compared by meaning. Companions may be anything, so any other byte in them counts.
func compare(inEffect, files []stage.File) plan {
	if inEffect == nil {
		return plan{needRenewal, "what HAProxy serves now is not known"}
	}
	before, after := normalize(inEffect[0].Content), normalize(files[0].Content)
	if !bytes.Equal(before, after) {
		return plan{needRenewal, firstChange(before, after)}
	}
	if name := changedCompanion(inEffect[1:], files[1:]); name != "" {
		return plan{needRenewal, "the file " + name + " differs"}
	}
	for _, f := range files {
		if content, err := os.ReadFile(f.Path); err != nil || !bytes.Equal(content, f.Content) {
			return plan{needWriting, "only comments and white space differ"}
		}
	}
	return plan{needNothing, "the configuration is in effect"}
}

// changedCompanion returns the name of the first file that is in only one of the two or differs, and "" if none does.
func changedCompanion(before, after []stage.File) string {
	byPath := func(a, b stage.File) int { return cmp.Compare(a.Path, b.Path) }
	before, after = slices.SortedFunc(slices.Values(before), byPath), slices.SortedFunc(slices.Values(after), byPath)
	for i := range max(len(before), len(after)) {
		switch {
		case i >= len(after):
			return filepath.Base(before[i].Path)
		case i >= len(before) || before[i].Path != after[i].Path || !bytes.Equal(before[i].Content, after[i].Content):
			return filepath.Base(after[i].Path)
		}
	}
	return ""
}
