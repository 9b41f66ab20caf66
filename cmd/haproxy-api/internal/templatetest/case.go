package templatetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// The names of the files that hold what a case wants.
const (
	wantMain      = "want.cfg"
	wantDirectory = "want"
	wantError     = "want.error"
)

// A goldenCase is a directory with a state and the expected rendering.
type goldenCase struct{ root, name string }

func (c goldenCase) directory() string       { return filepath.Join(c.root, c.name) }
func (c goldenCase) path(name string) string { return filepath.Join(c.directory(), name) }

// A difference is a file whose rendering is not the wanted one.
type difference struct{ want, got file }

// accept writes the rendering as the wanted file, or removes the wanted file if nothing is rendered for it.
func (d difference) accept() error {
	if d.got.missing {
		return os.Remove(d.want.path)
	}
	if err := os.MkdirAll(filepath.Dir(d.want.path), 0o755); err != nil { //nolint:gosec // it is the user's own directory
		return err
	}
	return replace.Write(d.want.path, d.got.content, replace.Options{})
}

// configure returns set with the case's template and vars. If fixTemplate is set, the template is not replaced.
func (c goldenCase) configure(set templates.Config, fixTemplate bool) (templates.Config, error) {
	if !fixTemplate {
		path, err := c.templatePath()
		if err != nil {
			return set, err
		}
		if path != "" {
			set.Path = path
		}
	}
	vars, err := c.findFile("vars", ".toml", ".yaml", ".yml", ".json")
	if err != nil || vars == "" {
		return set, err
	}
	table, err := config.ReadTable(vars)
	set.Vars = mergeTables(set.Vars, table)
	return set, err
}

// templatePath returns the path in the file "template" in the case's directory, or in the nearest directory above it up to the
// root. It returns "" if there is no such file.
func (c goldenCase) templatePath() (string, error) {
	for name := filepath.Clean(c.name); ; name = filepath.Dir(name) {
		file := filepath.Join(c.root, name, "template")
		if info, err := os.Stat(file); err == nil && !info.IsDir() { // a directory may be a case of that name
			content, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("cannot read which template to use: %w", err)
			}
			path := strings.TrimSpace(string(content))
			if !filepath.IsAbs(path) {
				path = filepath.Join(filepath.Dir(file), path)
			}
			return path, nil
		}
		if name == "." {
			return "", nil
		}
	}
}

func (c goldenCase) state(ctx context.Context) (states.State, error) {
	file, err := c.findFile("state", ".json", ".yaml", ".yml")
	if err != nil {
		return states.State{}, err
	}
	if file == "" {
		return states.State{}, errors.New("the case has no state: write one to state.json or state.yaml")
	}
	return states.Read(ctx, file, nil)
}

// findFile returns the path of the case's only file with that name and one of the extensions, and "" if there is none.
func (c goldenCase) findFile(name string, extensions ...string) (string, error) {
	var found []string
	for _, extension := range extensions {
		if _, err := os.Stat(c.path(name + extension)); err == nil {
			found = append(found, c.path(name+extension))
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("the case has several files of one kind: keep one of %s", strings.Join(found, ", "))
}

// compareFiles returns the files that differ from the wanted ones, and the wanted companions that are not rendered.
func (c goldenCase) compareFiles(files []sdk.File) ([]difference, error) {
	companions, err := c.wantedCompanions()
	if err != nil {
		return nil, err
	}
	var all []difference
	for i, f := range files {
		path := c.path(wantMain)
		if i > 0 {
			path = c.path(filepath.Join(wantDirectory, f.Name))
			delete(companions, path)
		}
		want, err := readFile(path, "wanted")
		if err != nil {
			return nil, err
		}
		all = append(all, difference{want, file{path: path, version: "rendered", content: f.Content}})
	}
	for _, path := range slices.Sorted(maps.Keys(companions)) {
		all = append(all, difference{companions[path], file{missing: true}})
	}
	return slices.DeleteFunc(all, func(d difference) bool {
		return d.want.missing == d.got.missing && bytes.Equal(d.want.content, d.got.content)
	}), nil
}

func (c goldenCase) wantedCompanions() (map[string]file, error) {
	entries, err := os.ReadDir(c.path(wantDirectory))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	wanted := map[string]file{}
	for _, entry := range entries {
		path := c.path(filepath.Join(wantDirectory, entry.Name()))
		if wanted[path], err = readFile(path, "wanted"); err != nil {
			return nil, err
		}
	}
	return wanted, nil
}

// compareError returns a difference unless the error contains the wanted words. It does not compare the whole error, which
// changes whenever a line moves.
func compareError(want file, renderErr error) []difference {
	words := strings.TrimSpace(string(want.content))
	if words != "" && strings.Contains(renderErr.Error(), words) {
		return nil
	}
	message := renderErr.Error()
	if e, ok := errors.AsType[*templates.Error](renderErr); ok {
		message = e.Message
	}
	return []difference{{want, file{path: want.path, version: "returned", content: []byte(message + "\n")}}}
}

// mergeTables returns base with the values of over. Tables are merged; all other values are replaced.
func mergeTables(base, over map[string]any) map[string]any {
	merged := maps.Clone(base)
	if merged == nil {
		merged = map[string]any{}
	}
	for key, value := range over {
		table, ok := value.(map[string]any)
		baseTable, both := merged[key].(map[string]any)
		if ok && both {
			value = mergeTables(baseTable, table)
		}
		merged[key] = value
	}
	return merged
}
