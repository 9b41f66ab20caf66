package hints

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/haproxy-api/haproxy-api/templates/internal/parsetree"
)

// ForUnclosed returns which block of a file is not closed. parse parses a text in place of the file, and end is an action that
// closes a block. ForUnclosed puts a mark at the end of the text and closes all blocks behind it: the blocks that the mark is in
// are then those that the file does not close.
func ForUnclosed(name, text, end string, parse func(text string) (*template.Template, error)) string {
	const mark, maxBlocks = "\x00the end\x00", 50
	for n := range maxBlocks {
		set, err := parse(text + mark + strings.Repeat(end, n+1))
		if err != nil {
			continue
		}
		for _, t := range set.Templates() {
			blocks := blocksAround(t.Root, mark)
			if blocks == nil {
				continue
			}
			if t.Name() != name {
				blocks = append([]block{{keyword: fmt.Sprintf("define %q", t.Name())}}, blocks...)
			}
			return blocks[len(blocks)-1].hint()
		}
	}
	return ""
}

// A block is what needs an end.
type block struct {
	keyword string
	line    int // 0 if it is not known
}

func (b block) hint() string {
	if b.line == 0 {
		return fmt.Sprintf("the {{ %s }} is not closed", b.keyword)
	}
	return fmt.Sprintf("the {{ %s }} in line %d is not closed", b.keyword, b.line)
}

var keywords = map[parse.NodeType]string{parse.NodeIf: "if", parse.NodeRange: "range", parse.NodeWith: "with"}

// blocksAround returns the blocks that contain the text, from the outermost, and nil if list does not contain it.
func blocksAround(list *parse.ListNode, text string) []block {
	if list == nil {
		return nil
	}
	for _, n := range slices.Backward(list.Nodes) {
		if t, ok := n.(*parse.TextNode); ok && bytes.Contains(t.Text, []byte(text)) {
			return []block{}
		}
		b := parsetree.Branch(n)
		if b == nil {
			continue
		}
		for _, inside := range []*parse.ListNode{b.List, b.ElseList} {
			if blocks := blocksAround(inside, text); blocks != nil {
				return append([]block{{keywords[b.NodeType], b.Line}}, blocks...)
			}
		}
	}
	return nil
}
