package haproxyapi_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A logLine is a line that the daemon can log.
type logLine struct{ level, message string }

// logWrappers lists the functions that log a message which their callers pass, with the index of the message. A call passes the
// level too, or the function logs at the level given here.
var logWrappers = map[string]struct {
	message int
	level   string
	keys    []string // nil for those in the calling function
}{
	"logEach":          {2, "", nil},
	"reportTexts":      {1, "", []string{"detail", "more"}},
	"report":           {1, "", []string{"service", "instance", "hostname", "reason", "more"}},
	"recordNotStarted": {0, "error", []string{"plugin", "error"}},
}

// variadicWrappers log a message of their own with the attributes that their callers pass.
var variadicWrappers = []string{"reportFault"}

var logLevels = map[string]string{
	"Debug": "debug", "Info": "info", "Warn": "warn", "Error": "error", "Resolve": "info",
	"LevelInfo": "info", "LevelWarn": "warn", "LevelError": "error",
}

// logLines returns every line that the code of the daemon and its plugins can log, with the keys of its attributes. It
// reports messages that are not literals.
func logLines(t *testing.T) map[logLine]map[string]bool {
	t.Helper()
	found := logSource{
		t: t, lines: map[logLine]map[string]bool{}, functions: map[string]*ast.FuncDecl{}, extra: map[string][]string{},
	}
	var files []*ast.File
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		skip := []string{".git", ".go", "examples", "test", "testdata", "sidecartest", "sdktest", "templatetest", "demo",
			"node_modules"}
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(skip, entry.Name()):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.HasPrefix(path, "internal/logdedup"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		files = append(files, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, declared := range file.Decls {
			if f, ok := declared.(*ast.FuncDecl); ok && f.Body != nil {
				found.functions[f.Name.Name] = f
			}
		}
	}
	for _, keysOnly := range []bool{true, false} {
		for _, file := range files {
			for _, declared := range file.Decls {
				if f, ok := declared.(*ast.FuncDecl); ok && f.Body != nil {
					found.scan(f, keysOnly)
				}
			}
		}
	}
	return found.lines
}

type logSource struct {
	t         *testing.T
	lines     map[logLine]map[string]bool
	functions map[string]*ast.FuncDecl // by name, which is precise enough
	extra     map[string][]string      // keys that callers pass to variadicWrappers
}

// scan adds the lines of f, or only the keys that it passes to variadicWrappers.
func (s *logSource) scan(f *ast.FuncDecl, keysOnly bool) {
	ast.Inspect(f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		name := lastName(call.Fun)
		if keysOnly {
			if slices.Contains(variadicWrappers, name) {
				s.extra[name] = append(s.extra[name], s.keysOf(f, call.Args[1:])...)
			}
			return true
		}
		selector, isMethod := call.Fun.(*ast.SelectorExpr)
		wrapper, wraps := logWrappers[name]
		_, isLevel := logLevels[name]
		switch {
		case wraps && len(call.Args) > wrapper.message:
			level := wrapper.level
			for _, arg := range call.Args {
				level = cmp.Or(level, logLevels[lastName(arg)])
			}
			if _, literal := textOf(call.Args[wrapper.message]); !literal && s.functions[f.Name.Name] != nil && level == "" {
				return true // the wrapper itself, or another function of that name
			}
			keys := wrapper.keys
			if keys == nil {
				keys = append(s.keysIn(f.Body), "more")
			}
			s.add(f, level, call.Args[wrapper.message], keys)
		case !isMethod || !isLevel || len(call.Args) == 0:
		case isLogger(selector.X): // log.Info("message", "key", value)
			s.add(f, logLevels[name], call.Args[0], s.keysOf(f, call.Args[1:]))
		case isLogger(call.Args[0]) && len(call.Args) > 1 && name == "Resolve": // fault.Resolve(log, "message", "key", value)
			s.add(f, "info", call.Args[1], s.keysOf(f, call.Args[2:]))
		case isLogger(call.Args[0]) && len(call.Args) > 2: // fault.Warn(log, "message", err, "key", value)
			s.add(f, logLevels[name], call.Args[1], append(s.keysOf(f, call.Args[3:]), "error"))
		}
		return true
	})
}

func (s *logSource) add(f *ast.FuncDecl, level string, message ast.Expr, keys []string) {
	texts := s.texts(f, message)
	if len(texts) == 0 && logWrappers[f.Name.Name].message == 0 && logWrappers[f.Name.Name].level == "" {
		s.t.Errorf("%s logs a message that is not a literal", f.Name.Name)
	}
	for _, text := range texts {
		line := logLine{level, text}
		if s.lines[line] == nil {
			s.lines[line] = map[string]bool{}
		}
		for _, key := range append(keys, s.extra[f.Name.Name]...) {
			s.lines[line][key] = true
		}
	}
}

// texts returns the literals that the expression can stand for.
func (s *logSource) texts(f *ast.FuncDecl, e ast.Expr) (texts []string) {
	if text, ok := textOf(e); ok {
		return []string{text}
	}
	name := lastName(e)
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if lastName(n.Lhs[0]) == name {
				if text, ok := textOf(n.Rhs[0]); ok {
					texts = append(texts, text)
				}
			}
		case *ast.ValueSpec:
			if n.Names[0].Name == name && len(n.Values) > 0 {
				if text, ok := textOf(n.Values[0]); ok {
					texts = append(texts, text)
				}
			}
		}
		return true
	})
	return texts
}

// keysOf returns the keys of a list of alternating keys and values.
func (s *logSource) keysOf(f *ast.FuncDecl, args []ast.Expr) (keys []string) {
	for i := 0; i < len(args); i++ {
		if key, ok := textOf(args[i]); ok {
			keys = append(keys, key)
			i++
			continue
		}
		switch arg := args[i].(type) {
		case *ast.CallExpr:
			if lastName(arg.Fun) == "append" {
				keys = append(keys, s.keysOf(f, arg.Args)...)
			} else if called := s.functions[lastName(arg.Fun)]; called != nil {
				keys = append(keys, s.keysIn(called.Body)...)
			}
		case *ast.CompositeLit:
			keys = append(keys, s.keysOf(f, arg.Elts)...)
		case *ast.Ident:
			if i == len(args)-1 || i == 0 { // args...
				keys = append(keys, s.keysIn(f.Body)...)
			}
		}
	}
	return keys
}

// keysIn returns the keys in all literals of type []any within body, and in what is appended to lists there.
func (s *logSource) keysIn(body ast.Node) (keys []string) {
	ast.Inspect(body, func(n ast.Node) bool {
		var list []ast.Expr
		switch n := n.(type) {
		case *ast.CompositeLit:
			if array, ok := n.Type.(*ast.ArrayType); ok && lastName(array.Elt) == "any" {
				list = n.Elts
			}
		case *ast.CallExpr:
			if lastName(n.Fun) == "append" && len(n.Args) > 2 {
				list = n.Args[1:]
			}
		}
		for i := 0; i+1 < len(list); i += 2 {
			if key, ok := textOf(list[i]); ok {
				keys = append(keys, key)
			}
		}
		return true
	})
	return keys
}

func isLogger(e ast.Expr) bool { return strings.EqualFold(lastName(e), "log") }

// lastName returns the name of an identifier or a selector, and "" for other expressions.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// textOf returns the text of a literal, also of a sum of literals.
func textOf(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		left, ok := textOf(e.X)
		right, rightOK := textOf(e.Y)
		return left + right, ok && rightOK
	}
	return "", false
}

// loggingDoc returns the lines and the keys in the tables of docs/logging.md.
func loggingDoc(t *testing.T) (lines map[logLine][]string, keys []string) {
	t.Helper()
	content, err := os.ReadFile("docs/logging.md")
	if err != nil {
		t.Fatal(err)
	}
	lines = map[logLine][]string{}
	code := regexp.MustCompile("`([a-z_]+)`")
	for line := range strings.Lines(string(content)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) == 4 && slices.Contains([]string{"error", "warn", "info", "debug"}, cells[1]):
			var named []string
			for _, match := range code.FindAllStringSubmatch(cells[2], -1) {
				named = append(named, match[1])
			}
			slices.Sort(named)
			key := logLine{cells[1], cells[0]}
			if _, twice := lines[key]; twice {
				t.Errorf("docs/logging.md has two rows of %q", key.message)
			}
			lines[key] = named
		case len(cells) == 2 && strings.HasPrefix(cells[0], "`"):
			for _, match := range code.FindAllStringSubmatch(cells[0], -1) {
				keys = append(keys, match[1])
			}
		}
	}
	return lines, keys
}

func TestLoggingDoc_ListsEveryLogLine(t *testing.T) {
	documented, _ := loggingDoc(t)
	logged := logLines(t)
	for line, keys := range logged {
		want := slices.Sorted(maps.Keys(keys))
		got, ok := documented[line]
		if !ok {
			t.Errorf("docs/logging.md lacks the row:\n| %s | %s | %s | |", line.message, line.level, asCode(want))
		} else if !slices.Equal(got, want) {
			t.Errorf("docs/logging.md has the keys %s of %q, want %s", asCode(got), line.message, asCode(want))
		}
	}
	for line := range documented {
		if logged[line] == nil {
			t.Errorf("docs/logging.md has a line that is not logged: %s, %s", line.level, line.message)
		}
	}
	if len(logged) < 80 {
		t.Errorf("only %d log lines were found", len(logged))
	}
}

func asCode(keys []string) string {
	var all []string
	for _, key := range keys {
		all = append(all, "`"+key+"`")
	}
	return strings.Join(all, " ")
}

// TestLoggingDoc_NamesTheRecoveryOfEveryFailure checks that each line of level error or warn says which line follows when it is
// over, or that it is about something that happens once.
func TestLoggingDoc_NamesTheRecoveryOfEveryFailure(t *testing.T) {
	content, err := os.ReadFile("docs/logging.md")
	if err != nil {
		t.Fatal(err)
	}
	documented, _ := loggingDoc(t)
	infos := map[string]bool{}
	for line := range documented {
		if line.level == "info" {
			infos[line.message] = true
		}
	}
	over := regexp.MustCompile(`Over: \*([^*]+)\*`)
	for line := range strings.Lines(string(content)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 4 || strings.TrimSpace(cells[1]) != "error" && strings.TrimSpace(cells[1]) != "warn" {
			continue
		}
		matches := over.FindAllStringSubmatch(cells[3], -1)
		if len(matches) == 0 && !strings.HasPrefix(strings.TrimSpace(cells[3]), "Once. ") {
			t.Errorf("docs/logging.md does not say which line follows %q when it is over", cells[0])
		}
		for _, match := range matches {
			if !infos[match[1]] {
				t.Errorf("docs/logging.md: no line of level info is %q", match[1])
			}
		}
	}
}

// TestLoggingDoc_ListsEveryKey keeps the keys few: a new one has to be described, or be one that exists.
func TestLoggingDoc_ListsEveryKey(t *testing.T) {
	_, documented := loggingDoc(t)
	used := map[string]bool{"pipeline": true, "sink": true, "error_lines": true} // which are set elsewhere
	for line, keys := range logLines(t) {
		for key := range keys {
			if used[key] = true; !slices.Contains(documented, key) {
				t.Errorf("docs/logging.md does not describe the key %q of %q", key, line.message)
			}
		}
	}
	for _, key := range documented {
		if !used[key] {
			t.Errorf("docs/logging.md describes the key %q, which no line has", key)
		}
	}
}
