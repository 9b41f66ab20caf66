package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

// parseJSON reads the one value in content.
func parseJSON(content []byte) (*node, error) {
	if err := catalog.CheckJSON(content); err != nil {
		bad, ok := errors.AsType[*catalog.Error](err)
		if !ok {
			return nil, err
		}
		return nil, &fault{line: lineAt(content, bad.Offset), reason: bad.Reason}
	}
	p := &jsonParser{content: content, decoder: json.NewDecoder(bytes.NewReader(content)), line: 1}
	p.decoder.UseNumber()
	return p.value(0)
}

// A jsonParser makes nodes of JSON that is known to be right.
type jsonParser struct {
	content []byte
	decoder *json.Decoder
	offset  int64 // up to which lines were counted
	line    int
}

// here returns the line up to which tokens were read.
func (p *jsonParser) here() int {
	now := p.decoder.InputOffset()
	p.line += bytes.Count(p.content[p.offset:now], []byte{'\n'})
	p.offset = now
	return p.line
}

func (p *jsonParser) value(depth int) (*node, error) {
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	n := &node{line: p.here()}
	if depth > maxDepth {
		return nil, faultAt(n, "the nesting is deeper than %d", maxDepth)
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '[' {
			return n, p.list(n, depth)
		}
		return n, p.mapping(n, depth)
	case string:
		n.kind, n.value = text, t
	case json.Number:
		n.kind, n.value, n.raw = number, t.String(), t.String()
	case bool:
		n.kind, n.value = boolean, strconv.FormatBool(t)
	}
	return n, nil
}

func (p *jsonParser) list(n *node, depth int) error {
	n.kind = list
	for p.decoder.More() {
		item, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, err := p.decoder.Token()
	return err
}

func (p *jsonParser) mapping(n *node, depth int) error {
	n.kind = mapping
	seen := map[string]bool{}
	for p.decoder.More() {
		token, err := p.decoder.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		line := p.here()
		if seen[key] {
			return &fault{line: line, reason: "the key " + strconv.Quote(key) + " is there twice"}
		}
		seen[key] = true
		value, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		n.members = append(n.members, member{key, line, value})
	}
	_, err := p.decoder.Token()
	return err
}
