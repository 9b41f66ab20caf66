package config

import (
	"errors"
	"fmt"
	"os"
)

// ReadTable reads a table from a file of its own, in TOML, YAML or JSON by its extension. Values have the types that they
// would have in a configuration. The error is a sentence that names the file.
func ReadTable(name string) (map[string]any, error) {
	parser, err := parserFor(name)
	if err == nil {
		err = readable(name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s", name, reason(err))
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s %s", name, reason(err))
	}
	table, err := parser.Unmarshal(content)
	if syntax, ok := errors.AsType[*syntaxError](err); ok {
		return nil, fmt.Errorf("%s%s %w", name, syntax.position(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	return table, nil
}
