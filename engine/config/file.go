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
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// maxFile bounds what is given to the parsers. The one for TOML recurses for every bracket, and from about 800 KiB of
// nothing else it overflows the stack, which ends the process.
const maxFile = 256 << 10

// file adds the layer of the configuration file.
func (l *loader) file(name string, named bool) {
	if name == "" {
		return
	}
	parser, err := parserFor(name)
	if err == nil {
		err = readable(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if named {
			l.fail(name, "there is no such file; write it, or name another one with --config-file")
		}
		return
	}
	if err != nil {
		l.fail(name, reason(err))
		return
	}
	l.parse(name, file.Provider(name), parser)
}

func (l *loader) parse(name string, provider koanf.Provider, parser parser) {
	content := koanf.New(delimiter)
	if err := content.Load(provider, parser); err != nil {
		syntax, ok := errors.AsType[*syntaxError](err)
		if !ok {
			l.fail(name, reason(err))
			return
		}
		l.fail(name+syntax.position(), syntax.problem)
		return
	}
	l.add(layer{content, func(path) string { return name }})
}

// reason leaves out the path that a file error repeats.
func reason(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return "cannot be read: " + pathError.Err.Error()
	}
	return err.Error()
}

func readable(name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("is not a regular file")
	case info.Size() > maxFile:
		return fmt.Errorf("is larger than %d KiB, which no configuration needs", maxFile>>10)
	}
	return nil
}

// byteOrderMark is what some editors put before a text in UTF-8.
const byteOrderMark = "\ufeff"

// A parser is one of koanf's that returns plain trees, and a [*syntaxError] for what is not its language.
type parser struct {
	koanf.Parser
	language    string
	wholeFloats bool
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

// Unmarshal implements [koanf.Parser].
func (p parser) Unmarshal(content []byte) (map[string]any, error) {
	content = bytes.TrimPrefix(content, []byte(byteOrderMark))
	parsed, err := p.Parser.Unmarshal(content)
	if err != nil {
		return nil, p.explain(content, err)
	}
	if parsed == nil {
		return map[string]any{}, nil
	}
	return newPlainer(p.wholeFloats).tree(parsed)
}

// A syntaxError says where a file stops being what its extension promises.
type syntaxError struct {
	row, column int // from 1 on; 0 where the parser says it in problem or not at all
	problem     string
}

func (e *syntaxError) Error() string { return e.problem }

func (e *syntaxError) position() string {
	if e.row == 0 {
		return ""
	}
	return fmt.Sprintf(":%d:%d", e.row, e.column)
}

// positioned is an error that knows its place: go-toml's do.
type positioned interface {
	error
	Position() (row, column int)
}

func (p parser) explain(content []byte, err error) error {
	detail := strings.Fields(strings.TrimPrefix(err.Error(), strings.ToLower(p.language)+": "))
	e := &syntaxError{problem: fmt.Sprintf("cannot be read as %s: %s", p.language, strings.Join(detail, " "))}
	if placed, ok := errors.AsType[positioned](err); ok {
		e.row, e.column = placed.Position()
	} else if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		e.row, e.column = place(content, syntax.Offset)
	} else if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		e.problem = "must be a single JSON object"
	}
	return e
}

// place turns the number of bytes that a parser read before it stopped into row and column of the last of them.
func place(content []byte, offset int64) (row, column int) {
	before := string(content[:max(0, min(int(offset)-1, len(content)))])
	lastBreak := strings.LastIndexByte(before, '\n')
	return strings.Count(before, "\n") + 1, len(before) - lastBreak
}

var _ koanf.Parser = parser{}
