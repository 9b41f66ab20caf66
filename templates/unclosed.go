package templates

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"text/template"
	"text/template/parse"

	"github.com/haproxy-api/haproxy-api/templates/internal/parsetree"
)

// hintUnclosed names the blocks that src does not close. It closes them all behind a mark: whatever the mark is in then is
// not closed before.
func hintUnclosed(cfg Config, src source) string {
	const mark, most = "\x00the end\x00", 50
	left, right := cmp.Or(cfg.Delims[0], "{{"), cmp.Or(cfg.Delims[1], "}}")
	text := src.text + mark
	for range most {
		text += left + "end" + right
		set, err := newSet(cfg).New(src.name).Parse(text)
		if err != nil {
			continue
		}
		for _, t := range set.Templates() {
			if blocks := blocksAround(t.Root, mark); blocks != nil {
				return tellUnclosed(t, src, blocks)
			}
		}
	}
	return ""
}

func tellUnclosed(t *template.Template, src source, blocks []block) string {
	if t.Name() != src.name {
		blocks = append([]block{{keyword: fmt.Sprintf("define %q", t.Name())}}, blocks...)
	}
	innermost := blocks[len(blocks)-1]
	if innermost.line == 0 {
		return fmt.Sprintf("the {{ %s }} is not closed", innermost.keyword)
	}
	return fmt.Sprintf("the {{ %s }} in line %d is not closed", innermost.keyword, innermost.line)
}

// A block is what needs an end.
type block struct {
	keyword string
	line    int // 0 where it is not known
}

// blocksAround returns the blocks that the text is in, from the outermost in: nil where it is not below list at all.
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

var keywords = map[parse.NodeType]string{parse.NodeIf: "if", parse.NodeRange: "range", parse.NodeWith: "with"}
