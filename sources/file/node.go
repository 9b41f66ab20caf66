package file

import (
	"bytes"
	"encoding/json"
	"slices"
	"sort"
)

type kind int

const (
	null kind = iota
	boolean
	number
	text
	list
	mapping
)

// String returns how a person calls it.
func (k kind) String() string {
	return [...]string{"nothing", "true or false", "a number", "a text", "a list", "a mapping"}[k]
}

// A node is a value of a file with the line on which it begins: what JSON and YAML have in common.
type node struct {
	kind    kind
	line    int
	value   string // of a text; of a number or boolean in JSON's notation
	raw     string // of a number as it stands in the file: 1.10 may have been meant as a text
	items   []*node
	members []member
}

// A member is one entry of a mapping, in the file's order.
type member struct {
	key   string
	line  int
	value *node
}

func (n *node) has(key string) bool {
	return slices.ContainsFunc(n.members, func(m member) bool { return m.key == key })
}

// Bounds of what a file may hold. YAML's aliases can make a small file a huge tree, or one without end.
const (
	maxDepth   = 100
	maxAliased = 500_000 // values that are there by way of an alias
)

// A written is a node in JSON, and which of its lines went where.
type written struct {
	content []byte
	offsets []int
	lines   []int
}

func (n *node) json() *written {
	w := &written{}
	w.write(n)
	return w
}

// lineOf returns the line of what is at offset, or 0 for a negative one.
func (w *written) lineOf(offset int64) int {
	if offset < 0 {
		return 0
	}
	// Sidecar's codec points behind a value that has the wrong type, which is still before the next one.
	after := sort.SearchInts(w.offsets, int(offset))
	return w.lines[max(after-1, 0)]
}

func (w *written) write(n *node) {
	w.offsets, w.lines = append(w.offsets, len(w.content)), append(w.lines, n.line)
	switch n.kind {
	case null:
		w.content = append(w.content, "null"...)
	case boolean, number:
		w.content = append(w.content, n.value...)
	case text:
		w.text(n.value)
	case list:
		w.content = append(w.content, '[')
		for i, item := range n.items {
			w.comma(i)
			w.write(item)
		}
		w.content = append(w.content, ']')
	case mapping:
		w.content = append(w.content, '{')
		for i, m := range n.members {
			w.comma(i)
			w.text(m.key)
			w.content = append(w.content, ':')
			w.write(m.value)
		}
		w.content = append(w.content, '}')
	}
}

func (w *written) comma(index int) {
	if index > 0 {
		w.content = append(w.content, ',')
	}
}

func (w *written) text(s string) {
	quoted, _ := json.Marshal(s) // no text can fail
	w.content = append(w.content, quoted...)
}

// lineAt returns the line of the byte at offset.
func lineAt(content []byte, offset int64) int {
	return 1 + bytes.Count(content[:min(max(offset, 0), int64(len(content)))], []byte{'\n'})
}
