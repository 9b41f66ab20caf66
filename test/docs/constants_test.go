package docs_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// durationInCode returns the value of a constant in a file of the repository, such as 1.5 s, 30 s, 5 min and 1 h.
func durationInCode(file, name string) (string, error) {
	value, err := constantInCode(file, name)
	switch d := time.Duration(value); {
	case d < time.Minute:
		return fmt.Sprintf("%g s", d.Seconds()), err
	case d < time.Hour:
		return fmt.Sprintf("%g min", d.Minutes()), err
	default:
		return fmt.Sprintf("%g h", d.Hours()), err
	}
}

// sizeInCode returns the value of a constant that is a number of bytes.
func sizeInCode(file, name string) (string, error) {
	value, err := constantInCode(file, name)
	switch {
	case value%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", value>>20), err
	case value%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", value>>10), err
	default:
		return fmt.Sprintf("%d bytes", value), err
	}
}

// numberInCode returns the value of a constant, with commas between thousands.
func numberInCode(file, name string) (string, error) {
	value, err := constantInCode(file, name)
	text := strconv.FormatInt(value, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text, err
}

// units replaces the units of package time by numbers.
var units = strings.NewReplacer("time.Millisecond", "1_000_000", "time.Second", "1_000_000_000",
	"time.Minute", "60_000_000_000", "time.Hour", "3600_000_000_000")

// constantInCode returns the value of an integer constant in a file of the repository.
func constantInCode(file, name string) (int64, error) {
	source, err := os.ReadFile(filepath.Join(repository, file))
	if err != nil {
		return 0, err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, 0)
	if err != nil {
		return 0, err
	}
	expression := ""
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && spec.Names[0].Name == name && len(spec.Values) == 1 {
			value := spec.Values[0]
			expression = string(source[files.Position(value.Pos()).Offset:files.Position(value.End()).Offset])
		}
		return true
	})
	if expression == "" {
		return 0, fmt.Errorf("%s has no constant %s", file, name)
	}
	evaluated, err := types.Eval(files, nil, token.NoPos, units.Replace(expression))
	if err != nil {
		return 0, fmt.Errorf("%s: the constant %s: %w", file, name, err)
	}
	value, exact := constant.Int64Val(evaluated.Value)
	if !exact {
		return 0, fmt.Errorf("%s: the constant %s is no integer", file, name)
	}
	return value, nil
}
