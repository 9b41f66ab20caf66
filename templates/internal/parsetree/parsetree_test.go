package parsetree

import (
	"slices"
	"strings"
	"testing"
	"text/template"
	"text/template/parse"
)

const text = `{{define "x"}}{{end}}a{{$v := .A.B | len}}{{if eq (len .C) 1}}b{{else if .D}}c{{else}}d{{end}}` +
	`{{range $i, $e := $v.E}}{{$i = 2}}{{break}}{{end}}{{with (index .F 0).G}}{{template "x" .H}}{{template "x"}}{{end}}`

func root(t *testing.T) *parse.ListNode {
	t.Helper()
	set, err := template.New("main").Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return set.Root
}

func TestNodes_EveryNodeInOrder(t *testing.T) {
	t.Parallel()
	var leaves []string
	for n := range Nodes(root(t)) {
		switch n.(type) {
		case *parse.TextNode, *parse.FieldNode, *parse.VariableNode, *parse.NumberNode, *parse.BreakNode, *parse.IdentifierNode:
			leaves = append(leaves, n.String())
		}
	}
	want := "a .A.B len eq len .C 1 b .D c d $v.E 2 {{break}} index .F 0 .H"
	if got := strings.Join(leaves, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNodes_StopsEarly(t *testing.T) {
	t.Parallel()
	n := 0
	for range Nodes(root(t)) {
		if n++; n == 5 {
			break
		}
	}
	if n != 5 {
		t.Errorf("%d nodes, want 5", n)
	}
}

func TestLists_InnerListsFirst(t *testing.T) {
	t.Parallel()
	root := root(t)
	lists := Lists(root)
	for i, list := range lists {
		for n := range Nodes(list) {
			if inner, ok := n.(*parse.ListNode); ok && slices.Index(lists, inner) > i {
				t.Errorf("%q comes before %q, which it contains", list, inner)
			}
		}
	}
	if len(lists) != 7 || lists[6] != root {
		t.Errorf("%d lists, want 7, the root last", len(lists))
	}
}
