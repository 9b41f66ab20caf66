package file

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads the one document in content. Anchors, aliases and merge keys are resolved.
func parseYAML(content []byte) (*node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, &fault{reason: "the file has nothing but comments" + orNobody}
	} else if err != nil {
		return nil, &fault{reason: err.Error()} // it names the line
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		return nil, &fault{line: second.Line, reason: "a second YAML document begins here, and there can only be one"}
	} else if !errors.Is(err, io.EOF) {
		return nil, &fault{reason: err.Error()}
	}
	return (&yamlParser{}).value(&document, 0)
}

type yamlParser struct {
	aliases int // how many of them we are inside of
	aliased int // how many values they have brought
}

func (p *yamlParser) value(y *yaml.Node, depth int) (*node, error) {
	n := &node{line: y.Line}
	if depth > maxDepth {
		return nil, faultAt(n, "the nesting is deeper than %d", maxDepth)
	}
	if p.aliases > 0 {
		p.aliased++
	}
	switch y.Kind {
	case yaml.DocumentNode:
		return p.value(y.Content[0], depth)
	case yaml.AliasNode:
		return p.alias(n, y, depth)
	case yaml.SequenceNode:
		return n, p.list(n, y, depth)
	case yaml.MappingNode:
		return n, p.mapping(n, y, depth)
	default:
		return n, scalar(n, y)
	}
}

func (p *yamlParser) alias(n *node, y *yaml.Node, depth int) (*node, error) {
	p.aliases++
	defer func() { p.aliases-- }()
	if p.aliased > maxAliased {
		return nil, faultAt(n, "the aliases bring more than %d values", maxAliased)
	}
	return p.value(y.Alias, depth+1)
}

func (p *yamlParser) list(n *node, y *yaml.Node, depth int) error {
	n.kind = list
	for _, item := range y.Content {
		value, err := p.value(item, depth+1)
		if err != nil {
			return err
		}
		n.items = append(n.items, value)
	}
	return nil
}

func (p *yamlParser) mapping(n *node, y *yaml.Node, depth int) error {
	n.kind = mapping
	var merged []*node
	seen := map[string]bool{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		value, err := p.value(y.Content[i+1], depth+1)
		switch {
		case err != nil:
			return err
		case key.Kind != yaml.ScalarNode:
			return &fault{line: key.Line, reason: "a key is not a text"}
		case key.Tag == "!!merge":
			merged = append(merged, value)
		case seen[key.Value]:
			return &fault{line: key.Line, reason: "the key " + strconv.Quote(key.Value) + " is there twice"}
		default:
			seen[key.Value] = true
			n.members = append(n.members, member{key.Value, key.Line, value})
		}
	}
	for _, from := range merged {
		if err := n.merge(from); err != nil {
			return err
		}
	}
	return nil
}

// merge adds the members of from, or of the mappings in the list from, that n has not got itself.
func (n *node) merge(from *node) error {
	switch from.kind {
	case mapping:
		for _, m := range from.members {
			if !n.has(m.key) {
				n.members = append(n.members, m)
			}
		}
		return nil
	case list:
		for _, item := range from.items {
			if item.kind != mapping {
				return faultAt(item, "%v cannot be merged; << wants mappings", item.kind)
			}
			if err := n.merge(item); err != nil {
				return err
			}
		}
		return nil
	default:
		return faultAt(from, "%v cannot be merged; << wants a mapping", from.kind)
	}
}

func scalar(n *node, y *yaml.Node) error {
	switch y.ShortTag() {
	case "!!null":
		n.kind = null
	case "!!bool":
		var value bool
		if err := y.Decode(&value); err != nil {
			return faultAt(n, "%q is neither true nor false", y.Value)
		}
		n.kind, n.value = boolean, strconv.FormatBool(value)
	case "!!int", "!!float":
		return yamlNumber(n, y)
	default: // times too: they are texts in JSON
		n.kind, n.value = text, y.Value
	}
	return nil
}

// yamlNumber brings YAML's many notations to JSON's one.
func yamlNumber(n *node, y *yaml.Node) error {
	n.kind, n.raw = number, y.Value
	var whole int64
	if y.ShortTag() == "!!int" && y.Decode(&whole) == nil {
		n.value = strconv.FormatInt(whole, 10)
		return nil
	}
	var broken float64
	if err := y.Decode(&broken); err != nil || math.IsInf(broken, 0) || math.IsNaN(broken) {
		return faultAt(n, "%q is no number that can be used", y.Value)
	}
	n.value = strconv.FormatFloat(broken, 'g', -1, 64)
	return nil
}
