package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

// parse returns the one document in content as a tree of YAML nodes without aliases and merge keys, in which every key is a text
// and occurs once. A name that ends in .json requires JSON.
func parse(name string, content []byte) (*yaml.Node, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // a byte order mark, which JSON does not allow
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, &fault{reason: "the file is empty" + emptyListHint}
	}
	parse := parseYAML
	if isJSON(name, content) || json.Valid(content) {
		parse = parseJSON
	}
	root, err := parse(content)
	if err != nil {
		return nil, err
	}
	return (&resolver{}).node(root, 0)
}

// emptyListHint is what to write for a catalogue without services. An empty file is more often a save that is not complete.
const emptyListHint = "; write [] for a catalogue without services"

func isJSON(name string, content []byte) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json":
		return true
	case ".yaml", ".yml":
		return false
	default:
		first := bytes.TrimSpace(content)[0]
		return first == '{' || first == '['
	}
}

func parseYAML(content []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, &fault{reason: "the file contains only comments" + emptyListHint}
	} else if err != nil {
		return nil, &fault{reason: err.Error()} // it names the line
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, &fault{line: second.Line, reason: "a second YAML document begins here, and only one is allowed"}
	case !errors.Is(err, io.EOF):
		return nil, &fault{reason: err.Error()}
	}
	return &document, nil
}

// parseJSON exists because the YAML library rejects JSON with escapes such as \/ and \ud83d\ude00, with long keys, or with a tab
// before the first bracket, and accepts what is no JSON, such as a comma before a closing bracket.
func parseJSON(content []byte) (*yaml.Node, error) {
	err := catalog.CheckJSON(content)
	if bad, ok := errors.AsType[*catalog.Error](err); ok {
		before := content[:min(max(bad.Offset, 0), int64(len(content)))]
		return nil, &fault{line: 1 + bytes.Count(before, []byte("\n")), reason: bad.Reason}
	}
	if err != nil {
		return nil, err
	}
	r := &jsonReader{Decoder: json.NewDecoder(bytes.NewReader(content)), content: content, line: 1}
	r.UseNumber()
	return r.node()
}

// A jsonReader makes YAML nodes of the tokens of valid JSON.
type jsonReader struct {
	*json.Decoder
	content []byte
	offset  int64 // up to which lines were counted
	line    int
}

func (r *jsonReader) node() (*yaml.Node, error) {
	token, err := r.Token()
	if err != nil {
		return nil, err
	}
	end := r.InputOffset()
	r.line += bytes.Count(r.content[r.offset:end], []byte("\n"))
	r.offset = end
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.line}
	switch t := token.(type) {
	case string:
		n.Tag, n.Value = "!!str", t
		return n, nil
	case json.Delim:
		n.Kind = yaml.SequenceNode
		if t == '{' {
			n.Kind = yaml.MappingNode
		}
		for r.More() { // the keys and values of an object alternate, as in a mapping node
			child, err := r.node()
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := r.Token()
		return n, err
	case json.Number:
		n.Tag, n.Value = jsonNumber, t.String()
	case bool:
		n.Value = strconv.FormatBool(t)
	case nil:
		n.Value = "null"
	}
	return n, nil
}
