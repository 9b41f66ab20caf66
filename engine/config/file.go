package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	jsonparser "github.com/knadh/koanf/parsers/json"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
)

// maxFile bounds the input of the parsers. The TOML parser recurses for every bracket: about 800 KiB of brackets overflow the
// stack, which ends the process.
const maxFile = 256 << 10

// byteOrderMark is what some editors write before text in UTF-8.
const byteOrderMark = "\ufeff"

// loadFile adds the layer of the configuration file. A missing file is a fault only if the user named it.
func (l *loader) loadFile(name string, named bool) {
	if name == "" {
		return
	}
	tree, err := readTree(name)
	switch syntax, isSyntax := errors.AsType[*syntaxError](err); {
	case err == nil:
		l.add(tree, func(path) string { return name })
		l.hasFile = len(l.layers) > 0
	case isSyntax:
		l.addFault(name+syntax.position(), syntax.problem)
	case !errors.Is(err, fs.ErrNotExist):
		l.addFault(name, reason(err))
	case named:
		l.addFault(name, "does not exist; create it, or name another file with --config-file")
	}
}

// ReadTable reads a table from a file of its own in TOML, YAML or JSON, depending on its extension. Values have the same types as
// in a configuration. The error names the file.
func ReadTable(name string) (map[string]any, error) {
	tree, err := readTree(name)
	if syntax, ok := errors.AsType[*syntaxError](err); ok {
		return nil, fmt.Errorf("%s%s %w", name, syntax.position(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s", name, reason(err))
	}
	return tree, nil
}

// readTree reads and parses a file.
func readTree(name string) (map[string]any, error) {
	p, err := parserFor(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("is larger than %d KiB", maxFile>>10)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return p.parse(bytes.TrimPrefix(content, []byte(byteOrderMark)))
}

// reason returns the text of err without the path of a file error.
func reason(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return "cannot be read: " + pathError.Err.Error()
	}
	return err.Error()
}

// A parser reads one configuration language.
type parser struct {
	koanf.Parser
	language    string
	wholeFloats bool // see normalizer
}

func parserFor(name string) (parser, error) {
	switch extension := strings.ToLower(filepath.Ext(name)); extension {
	case ".toml":
		return parser{Parser: toml.Parser(), language: "TOML"}, nil
	case ".yaml", ".yml":
		return parser{Parser: yaml.Parser(), language: "YAML"}, nil
	case ".json":
		return parser{Parser: jsonparser.Parser(), language: "JSON", wholeFloats: true}, nil
	default:
		return parser{}, fmt.Errorf("has the extension %q; a configuration is TOML (.toml), YAML (.yaml) or JSON (.json)",
			extension)
	}
}

// parse returns the content as a normalized tree. The error is a [*syntaxError] if the content is not valid in the language.
func (p parser) parse(content []byte) (map[string]any, error) {
	parsed, err := p.Unmarshal(content)
	if err != nil {
		return nil, p.syntaxError(content, err)
	}
	if parsed == nil {
		return map[string]any{}, nil
	}
	return newNormalizer(p.wholeFloats).table(parsed, 0)
}

// A syntaxError is a fault in the syntax of a file.
type syntaxError struct {
	line, column int // from 1 on; 0 if problem contains the position or the parser does not report it
	problem      string
}

func (e *syntaxError) Error() string { return e.problem }

func (e *syntaxError) position() string {
	if e.line == 0 {
		return ""
	}
	return fmt.Sprintf(":%d:%d", e.line, e.column)
}

// positionError is an error with a position, such as those of go-toml.
type positionError interface {
	error
	Position() (line, column int)
}

func (p parser) syntaxError(content []byte, err error) *syntaxError {
	detail := strings.Fields(strings.TrimPrefix(err.Error(), strings.ToLower(p.language)+": "))
	e := &syntaxError{problem: fmt.Sprintf("cannot be read as %s: %s", p.language, strings.Join(detail, " "))}
	if positioned, ok := errors.AsType[positionError](err); ok {
		e.line, e.column = positioned.Position()
	} else if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		e.line, e.column = position(content, syntax.Offset)
	} else if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		e.problem = "must be a single JSON object"
	}
	return e
}

// position converts the number of bytes that a parser read before it stopped to the line and column of the last of them.
func position(content []byte, offset int64) (line, column int) {
	before := string(content[:max(0, min(int(offset)-1, len(content)))])
	lastBreak := strings.LastIndexByte(before, '\n')
	return strings.Count(before, "\n") + 1, len(before) - lastBreak
}
