package history

import (
	"bytes"
	"fmt"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// maxDiff bounds a diff, in bytes.
const maxDiff = 64 << 10

// contextLines is how many unchanged lines a diff has before and after a change.
const contextLines = 3

// A Diff is the difference between two documents.
type Diff struct {
	Text           string // unified, at most maxDiff bytes
	Added, Removed int    // how many lines of the whole difference are
	Truncated      bool   // Text lacks the rest of the difference
}

// DiffDocuments returns the difference between the files of two documents. The main files are compared whatever their names are,
// because the name is that of the template, and companions by name. The names of the files are followed by the generation of
// their document. Its cost is about that of reading both once and of comparing what is between the first and the last line that
// differ.
func DiffDocuments(before, after sdk.Document) Diff {
	var d Diff
	var text bytes.Buffer
	oldMain, oldCompanions := split(before.Files)
	newMain, newCompanions := split(after.Files)
	compare := func(old, file *sdk.File) {
		switch {
		case old != nil && file != nil:
			d.add(&text, label(before, old.Name), label(after, file.Name), old.Content, file.Content)
		case file != nil:
			d.add(&text, noFile, label(after, file.Name), nil, file.Content)
		case old != nil:
			d.add(&text, label(before, old.Name), noFile, old.Content, nil)
		}
	}
	compare(oldMain, newMain)
	for i := range newCompanions {
		compare(find(oldCompanions, newCompanions[i].Name), &newCompanions[i])
	}
	for i := range oldCompanions {
		if find(newCompanions, oldCompanions[i].Name) == nil {
			compare(&oldCompanions[i], nil)
		}
	}
	d.Text = text.String()
	return d
}

// split returns the main file of a document, or nil if it has no file, and the companions.
func split(files []sdk.File) (*sdk.File, []sdk.File) {
	if len(files) == 0 {
		return nil, nil
	}
	return &files[0], files[1:]
}

// noFile stands for a file that one of the documents lacks.
const noFile = "/dev/null"

// label returns the header of a file of doc in a diff. For programs such as patch, a tab ends the name.
func label(doc sdk.Document, name string) string {
	return fmt.Sprintf("%s\tgeneration %d", name, doc.Generation)
}

// find returns the file with that name, or nil.
func find(files []sdk.File, name string) *sdk.File {
	for i := range files {
		if files[i].Name == name {
			return &files[i]
		}
	}
	return nil
}

// add appends the difference of one file to text.
func (d *Diff) add(text *bytes.Buffer, oldName, newName string, before, after []byte) {
	if oldName != noFile && newName != noFile && bytes.Equal(before, after) {
		return
	}
	d.addLine(text, fmt.Appendf(nil, "--- %s\n", oldName))
	d.addLine(text, fmt.Appendf(nil, "+++ %s\n", newName))
	prefix, suffix := common(before, after)
	skipped := bytes.Count(before[:prefix], []byte("\n"))
	changes := diff.Diff("", before[prefix:len(before)-suffix], "", after[prefix:len(after)-suffix])
	for range 3 { // the header
		_, changes, _ = bytes.Cut(changes, []byte("\n"))
	}
	for line := range bytes.Lines(changes) {
		switch line[0] {
		case '@':
			line = shifted(line, skipped)
		case '+':
			d.Added++
		case '-':
			d.Removed++
		}
		d.addLine(text, line)
	}
}

// addLine appends a line to text, unless the line or one before it exceeds the bound.
func (d *Diff) addLine(text *bytes.Buffer, line []byte) {
	d.Truncated = d.Truncated || text.Len()+len(line) > maxDiff
	if !d.Truncated {
		text.Write(line)
	}
}

// shifted returns the header of a hunk with its line numbers increased by skipped.
func shifted(header []byte, skipped int) []byte {
	var start, lines, newStart, newLines int
	_, _ = fmt.Sscanf(string(header), "@@ -%d,%d +%d,%d @@", &start, &lines, &newStart, &newLines) // as package diff writes it
	return fmt.Appendf(nil, "@@ -%d,%d +%d,%d @@\n", start+skipped, lines, newStart+skipped, newLines)
}

// common returns the lengths of the beginning and of the end that a and b have in common, without the lines that a diff shows as
// context. Both consist of whole lines, and do not overlap in either text.
func common(a, b []byte) (prefix, suffix int) {
	prefix = commonPrefix(a, b)
	suffix = min(commonSuffix(a, b), min(len(a), len(b))-prefix)
	prefix = lineStart(a, prefix, contextLines)
	suffix = len(a) - lineEnd(a, len(a)-suffix, contextLines)
	return prefix, suffix
}

// chunk is how many bytes are compared at once.
const chunk = 4 << 10

func commonPrefix(a, b []byte) int {
	n := 0
	for n+chunk <= min(len(a), len(b)) && bytes.Equal(a[n:n+chunk], b[n:n+chunk]) {
		n += chunk
	}
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b []byte) int {
	n := 0
	for n+chunk <= min(len(a), len(b)) && bytes.Equal(a[len(a)-n-chunk:len(a)-n], b[len(b)-n-chunk:len(b)-n]) {
		n += chunk
	}
	for n < min(len(a), len(b)) && a[len(a)-n-1] == b[len(b)-n-1] {
		n++
	}
	return n
}

// lineStart returns the start of the line that is lines before the one that contains text[at].
func lineStart(text []byte, at, lines int) int {
	at = bytes.LastIndexByte(text[:at], '\n') + 1
	for ; lines > 0 && at > 0; lines-- {
		at = bytes.LastIndexByte(text[:at-1], '\n') + 1
	}
	return at
}

// lineEnd returns the end of the line that is lines after the one that contains text[at-1].
func lineEnd(text []byte, at, lines int) int {
	for ; lines >= 0; lines-- {
		n := bytes.IndexByte(text[at:], '\n')
		if n < 0 {
			return len(text)
		}
		at += n + 1
	}
	return at
}
