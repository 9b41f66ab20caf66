package file

import (
	"encoding/json"
	"errors"
	"iter"
	"math"
	"slices"
	"sort"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// A kind is the kind of a node, as error messages name it.
type kind string

const (
	null    kind = "nothing"
	boolean kind = "true or false"
	number  kind = "a number"
	text    kind = "a text"
	list    kind = "a list"
	mapping kind = "a mapping"
)

func kindOf(n *yaml.Node) kind {
	switch n.Kind {
	case yaml.SequenceNode:
		return list
	case yaml.MappingNode:
		return mapping
	}
	switch n.ShortTag() {
	case "!!null":
		return null
	case "!!bool":
		return boolean
	case "!!int", "!!float", jsonNumber:
		return number
	}
	return text // times too
}

// members yields the keys and values of a mapping.
func members(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		for pair := range slices.Chunk(n.Content, 2) {
			if !yield(pair[0], pair[1]) {
				return
			}
		}
	}
}

// jsonNumber is the tag of a number in JSON, whose value is already in JSON's notation.
const jsonNumber = "!!json"

// scalarJSON returns the JSON of a scalar, which YAML may write in another way: 0x10, True or ~.
func scalarJSON(n *yaml.Node) ([]byte, error) {
	switch kindOf(n) {
	case null:
		return []byte("null"), nil
	case boolean:
		var value bool
		err := n.Decode(&value)
		return strconv.AppendBool(nil, value), err
	case number:
		return numberJSON(n)
	}
	return json.Marshal(n.Value)
}

func numberJSON(n *yaml.Node) ([]byte, error) {
	if n.Tag == jsonNumber {
		return []byte(n.Value), nil
	}
	var whole int64
	// The YAML library truncates a float that it decodes into an integer.
	if n.ShortTag() == "!!int" && n.Decode(&whole) == nil {
		return strconv.AppendInt(nil, whole, 10), nil
	}
	var float float64
	if err := n.Decode(&float); err != nil {
		return nil, err
	}
	if math.IsInf(float, 0) || math.IsNaN(float) {
		return nil, errors.New("JSON has no such number")
	}
	return strconv.AppendFloat(nil, float, 'g', -1, 64), nil
}

// Bounds of what a file may hold. YAML's aliases can make a small file a huge tree, or one without end.
const (
	maxDepth   = 100
	maxAliased = 500_000 // nodes that aliases refer to, counted for each alias
)

// A resolver replaces aliases by what they refer to, applies merge keys, and checks the nodes.
type resolver struct {
	aliases int // around the current node
	aliased int // nodes inside aliases so far
}

func (r *resolver) node(y *yaml.Node, depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, faultAt(y, "the nesting is deeper than %d", maxDepth)
	}
	if r.aliases > 0 {
		r.aliased++
	}
	switch y.Kind {
	case yaml.DocumentNode:
		return r.node(y.Content[0], depth)
	case yaml.AliasNode:
		if r.aliased > maxAliased {
			return nil, faultAt(y, "the aliases stand for more than %d values", maxAliased)
		}
		r.aliases++
		defer func() { r.aliases-- }()
		return r.node(y.Alias, depth+1)
	case yaml.SequenceNode:
		n := &yaml.Node{Kind: y.Kind, Line: y.Line}
		for _, item := range y.Content {
			resolved, err := r.node(item, depth+1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, resolved)
		}
		return n, nil
	case yaml.MappingNode:
		return r.mapping(y, depth)
	}
	if _, err := scalarJSON(y); err != nil {
		return nil, faultAt(y, "%q cannot be used as %s", y.Value, kindOf(y))
	}
	return y, nil
}

func (r *resolver) mapping(y *yaml.Node, depth int) (*yaml.Node, error) {
	n := &yaml.Node{Kind: y.Kind, Line: y.Line}
	known := map[string]bool{}
	var merged []*yaml.Node
	for key, value := range members(y) {
		value, err := r.node(value, depth+1)
		switch {
		case err != nil:
			return nil, err
		case key.Kind != yaml.ScalarNode:
			return nil, faultAt(key, "a key must be a text")
		case key.Tag == "!!merge":
			merged = append(merged, value)
		case known[key.Value]:
			return nil, faultAt(key, "duplicate key %q", key.Value)
		default:
			known[key.Value] = true
			n.Content = append(n.Content, key, value)
		}
	}
	for _, from := range merged {
		if err := merge(n, known, from); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// merge adds the members of from, or of the mappings in the list from, whose keys are not known yet.
func merge(n *yaml.Node, known map[string]bool, from *yaml.Node) error {
	switch kindOf(from) {
	case mapping:
		for key, value := range members(from) {
			if !known[key.Value] {
				known[key.Value] = true
				n.Content = append(n.Content, key, value)
			}
		}
		return nil
	case list:
		for _, item := range from.Content {
			if kindOf(item) != mapping {
				return faultAt(item, "<< merges mappings, and this is %s", kindOf(item))
			}
			if err := merge(n, known, item); err != nil {
				return err
			}
		}
		return nil
	}
	return faultAt(from, "<< merges a mapping or a list of mappings, and this is %s", kindOf(from))
}

// A jsonWriter writes nodes as JSON and records the line of each.
type jsonWriter struct {
	content []byte
	offsets []int
	lines   []int
}

func (w *jsonWriter) write(n *yaml.Node) {
	w.offsets, w.lines = append(w.offsets, len(w.content)), append(w.lines, n.Line)
	switch kindOf(n) {
	case list:
		w.content = append(w.content, '[')
		for i, item := range n.Content {
			w.comma(i)
			w.write(item)
		}
		w.content = append(w.content, ']')
	case mapping:
		w.content = append(w.content, '{')
		first := len(w.content)
		for key, value := range members(n) {
			w.comma(len(w.content) - first)
			quoted, _ := json.Marshal(key.Value) // a string cannot fail
			w.content = append(append(w.content, quoted...), ':')
			w.write(value)
		}
		w.content = append(w.content, '}')
	default:
		scalar, _ := scalarJSON(n) // the resolver has checked it
		w.content = append(w.content, scalar...)
	}
}

func (w *jsonWriter) comma(before int) {
	if before > 0 {
		w.content = append(w.content, ',')
	}
}

// lineOf returns the line of the node at offset, or 0 for a negative offset.
func (w *jsonWriter) lineOf(offset int64) int {
	if offset < 0 {
		return 0
	}
	// Sidecar's codec points behind a value that has the wrong type, which is still before the next one.
	after := sort.SearchInts(w.offsets, int(offset))
	return w.lines[max(after-1, 0)]
}
