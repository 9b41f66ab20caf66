package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// A vocabulary is every name that documents can refer to.
type vocabulary struct {
	files     map[string]bool            // paths of files and directories in the repository
	pages     map[string]*page           // by path
	commands  map[string]map[string]bool // the flags of each command, and whether they take a value
	tables    map[string]map[string]bool // the keys of each table of the configuration
	keys      map[string]bool            // the last parts of all keys, also of the plugins in examples
	metrics   map[string]bool
	endpoints []string
	tests     map[string]bool
	targets   map[string]bool // of the Makefile
	words     map[string]bool // with underscores, in the code
}

func newVocabulary(t *testing.T) *vocabulary {
	t.Helper()
	names, err := trackedFiles()
	if err != nil {
		t.Fatal(err)
	}
	v := &vocabulary{
		files: map[string]bool{}, pages: map[string]*page{}, commands: map[string]map[string]bool{},
		tables: map[string]map[string]bool{}, keys: map[string]bool{}, metrics: map[string]bool{}, tests: map[string]bool{},
		targets: map[string]bool{}, words: map[string]bool{},
	}
	for _, name := range names {
		for at := name; at != "."; at = path.Dir(at) {
			v.files[at] = true
		}
		if err := v.readFile(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.readKeys(); err != nil {
		t.Fatal(err)
	}
	v.readCommands(t, filepath.Join(programs, "haproxy-api"), "haproxy-api")
	for what, count := range map[string]int{
		"pages": len(v.pages), "commands": len(v.commands), "keys": len(v.keys), "metrics": len(v.metrics),
		"endpoints": len(v.endpoints), "tests": len(v.tests), "targets": len(v.targets), "words": len(v.words),
	} {
		if count < 10 {
			t.Fatalf("the vocabulary has %d %s", count, what)
		}
	}
	return v
}

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	metricName   = regexp.MustCompile(`"(haproxy_api_[a-z_]+)":`)
	apiPath      = regexp.MustCompile(`(?m)^  (/\S*):$`)
	makeTarget   = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
	quoted       = regexp.MustCompile("[\"'`]([^\"'`\n]*)[\"'`]")
	snakeWord    = regexp.MustCompile(`[a-z0-9]+(?:_[a-z0-9]+)+`)
)

// readFile adds the names that a file of the repository defines.
func (v *vocabulary) readFile(name string) error {
	add := func(into map[string]bool, pattern *regexp.Regexp, content string) {
		for _, match := range pattern.FindAllStringSubmatch(content, -1) {
			into[match[1]] = true
		}
	}
	extension := path.Ext(name)
	isTest := strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "test/")
	if extension != ".go" && extension != ".md" && extension != ".yaml" && extension != ".proto" && extension != ".mjs" &&
		name != "Makefile" {
		return nil
	}
	source, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		return err
	}
	content := string(source)
	switch {
	case extension == ".md":
		v.pages[name], err = parsePage(name, source)
	case name == "Makefile":
		add(v.targets, makeTarget, content)
	case name == "engine/server/metrics_test.go": // it compares these names with those that the daemon has
		add(v.metrics, metricName, content)
		for metric := range v.metrics {
			v.words[strings.TrimPrefix(metric, "haproxy_api_")] = true
		}
		add(v.tests, testFunction, content)
	case name == "engine/server/openapi.yaml": // the tests of package server compare it with the endpoints
		for _, match := range apiPath.FindAllStringSubmatch(content, -1) {
			v.endpoints = append(v.endpoints, match[1])
		}
		v.addWords(content)
	case strings.HasSuffix(name, "_test.go"):
		add(v.tests, testFunction, content)
	case extension == ".proto":
		v.addWords(content)
	case !isTest && (extension == ".go" || extension == ".mjs"):
		for _, match := range quoted.FindAllStringSubmatch(content, -1) {
			v.addWords(match[1])
		}
	}
	return err
}

func (v *vocabulary) addWords(text string) {
	for _, word := range snakeWord.FindAllString(text, -1) {
		v.words[word] = true
	}
}

// structKey matches the key of a field in the configuration of a plugin.
var structKey = regexp.MustCompile("`json:\"([a-z][a-z0-9_]*)")

// readKeys adds the keys of the configuration, and those of the plugins in examples.
func (v *vocabulary) readKeys() error {
	add := func(table, key string) {
		if v.tables[table] == nil {
			v.tables[table] = map[string]bool{}
		}
		v.tables[table][key], v.keys[key] = true, true
	}
	for _, table := range config.Reference() {
		name, _, _ := strings.Cut(table.Path, ".")
		for _, key := range table.Keys {
			add(name, key.Name)
		}
	}
	for _, c := range builtIn {
		keys, err := c.Keys()
		if err != nil {
			return err
		}
		for _, key := range keys {
			add(strings.ToLower(c.Kind), key.Name)
		}
	}
	for name := range v.files {
		if !strings.HasPrefix(name, "examples/") || path.Ext(name) != ".go" {
			continue
		}
		source, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			return err
		}
		for _, match := range structKey.FindAllSubmatch(source, -1) {
			add("sinks", string(match[1]))
			add("sources", string(match[1]))
		}
	}
	// Those of the plugins in examples/sink-node and docs/plugin-authors.md.
	for _, key := range []string{"directory", "keep", "name"} {
		add("sinks", key)
	}
	return nil
}

var (
	helpCommand = regexp.MustCompile(`(?m)^  ([a-z]+)  `)
	helpFlag    = regexp.MustCompile(`(?m)^ +(?:(-\w), )?(--[a-z][a-z-]*)( \S+)?`)
)

// readCommands adds the command, whose name includes those of the commands above it, and its subcommands, from their help.
func (v *vocabulary) readCommands(t *testing.T, program, command string) {
	t.Helper()
	args := strings.Fields(command + " --help")[1:]
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	if err != nil {
		t.Fatalf("%s --help: %v", command, err)
	}
	help := string(out)
	flags := map[string]bool{}
	_, flagList, _ := strings.Cut(help, "lags:\n")
	for _, match := range helpFlag.FindAllStringSubmatch(flagList, -1) {
		takesValue := match[3] != "" && match[3] == strings.ToUpper(match[3])
		flags[match[2]] = takesValue
		if match[1] != "" {
			flags[match[1]] = takesValue
		}
	}
	v.commands[command] = flags
	_, list, found := strings.Cut(help, "\nCommands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	if !found {
		return
	}
	for _, match := range helpCommand.FindAllStringSubmatch("\n"+list, -1) {
		v.readCommands(t, program, command+" "+match[1])
	}
}

// hasFlag reports whether any command has the flag.
func (v *vocabulary) hasFlag(name string) bool {
	for _, flags := range v.commands {
		if _, ok := flags[name]; ok {
			return true
		}
	}
	return false
}

// A problem is a name in a document that does not exist.
type problem struct {
	page string
	line int
	text string
}

func (p problem) String() string { return fmt.Sprintf("%s:%d: %s", p.page, p.line, p.text) }
