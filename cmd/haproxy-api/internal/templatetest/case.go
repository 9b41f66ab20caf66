package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// What a case wants, by the names in its folder.
const (
	wantMain   = "want.cfg"
	wantFolder = "want"
	wantError  = "want.error"
)

// A goldenCase is a folder with a state and with what it has to render to.
type goldenCase struct{ root, name string }

func (c goldenCase) folder() string          { return filepath.Join(c.root, c.name) }
func (c goldenCase) path(name string) string { return filepath.Join(c.folder(), name) }

// A difference is a file that is not as it is wanted.
type difference struct{ want, got side }

// accept makes what was rendered what is wanted.
func (d difference) accept() error {
	if d.got.missing {
		return os.Remove(d.want.path)
	}
	if err := os.MkdirAll(filepath.Dir(d.want.path), 0o755); err != nil { //nolint:gosec // it is the person's own folder
		return err
	}
	return replace.Write(d.want.path, d.got.content, replace.Options{})
}

// try renders the case and returns what is not as it is wanted. An error is about the case itself, or about a rendering that
// failed and should not. With fixed the pipeline's template holds, whatever the case says.
func (c goldenCase) try(cmd *cobra.Command, p config.Pipeline, fixed bool) ([]difference, error) {
	ctx := cmd.Context()
	p, err := c.configure(p, fixed)
	if err != nil {
		return nil, err
	}
	state, err := c.state(ctx)
	if err != nil {
		return nil, err
	}
	state.tell(cmd)
	files, _, failure := renderAt(ctx, p, state.as(p.Source), goldenNow)
	wanted, err := readSide(c.path(wantError))
	switch {
	case err != nil:
		return nil, err
	case wanted.missing && failure != nil:
		return nil, failure
	case wanted.missing:
		return c.compare(files)
	case c.hasOne(wantMain) || c.hasOne(wantFolder):
		return nil, fmt.Errorf("it wants both an error and files: remove %s, or the others", wantError)
	case failure == nil:
		return nil, fmt.Errorf("it renders, and %s wants it to fail: remove that file, or mend the template", wantError)
	}
	return compareError(wanted, failure), nil
}

// configure returns p with what the case says of template and vars.
func (c goldenCase) configure(p config.Pipeline, fixed bool) (config.Pipeline, error) {
	if !fixed {
		if err := c.chooseTemplate(&p); err != nil {
			return p, err
		}
	}
	file, err := c.only("vars", ".toml", ".yaml", ".yml", ".json")
	if err != nil || file == "" {
		return p, err
	}
	vars, err := config.ReadTable(file)
	p.Vars = mergeTables(p.Vars, vars)
	return p, err
}

// chooseTemplate looks for a file that names the template, in the case's folder and in those above it up to the root.
func (c goldenCase) chooseTemplate(p *config.Pipeline) error {
	for name := filepath.Clean(c.name); ; name = filepath.Dir(name) {
		at := filepath.Join(c.root, name, "template")
		if info, err := os.Stat(at); err == nil && !info.IsDir() { // a case may be called so too
			content, err := os.ReadFile(at)
			if err != nil {
				return fmt.Errorf("cannot read which template to use: %w", err)
			}
			p.Template = strings.TrimSpace(string(content))
			if !filepath.IsAbs(p.Template) {
				p.Template = filepath.Join(filepath.Dir(at), p.Template)
			}
			return nil
		}
		if name == "." {
			return nil
		}
	}
}

func (c goldenCase) state(ctx context.Context) (namedState, error) {
	file, err := c.only("state", ".json", ".yaml", ".yml")
	if err != nil {
		return namedState{}, err
	}
	if file == "" {
		return namedState{}, errors.New("it has no state: write one to state.json or state.yaml")
	}
	return readState(ctx, file, nil)
}

// only returns the one file of the case with that name and one of the extensions, and "" where there is none.
func (c goldenCase) only(stem string, extensions ...string) (string, error) {
	var found []string
	for _, extension := range extensions {
		if _, err := os.Stat(c.path(stem + extension)); err == nil {
			found = append(found, c.path(stem+extension))
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("it has several of a kind: keep one of %s", strings.Join(found, ", "))
}

// compare returns the files that are not as they are wanted, among them those that are wanted and not there.
func (c goldenCase) compare(files []sdk.File) ([]difference, error) {
	surplus, err := c.wantedCompanions()
	if err != nil {
		return nil, err
	}
	var all []difference
	for i, f := range files {
		path := c.path(wantMain)
		if i > 0 {
			path = c.path(filepath.Join(wantFolder, f.Name))
			delete(surplus, path)
		}
		want, err := readSide(path)
		if err != nil {
			return nil, err
		}
		want.from = "wanted"
		all = append(all, difference{want, side{path: path, from: "rendered", content: f.Content}})
	}
	for _, path := range sortedKeys(surplus) {
		all = append(all, difference{surplus[path], side{missing: true}})
	}
	return onlyDifferent(all), nil
}

func (c goldenCase) wantedCompanions() (map[string]side, error) {
	entries, err := os.ReadDir(c.path(wantFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	wanted := map[string]side{}
	for _, entry := range entries {
		path := c.path(filepath.Join(wantFolder, entry.Name()))
		s, err := readSide(path)
		if err != nil {
			return nil, err
		}
		s.from = "wanted"
		wanted[path] = s
	}
	return wanted, nil
}

func onlyDifferent(all []difference) []difference {
	var different []difference
	for _, d := range all {
		if d.want.missing != d.got.missing || !bytes.Equal(d.want.content, d.got.content) {
			different = append(different, d)
		}
	}
	return different
}

// compareError looks for the wanted words in the error. The whole of it would hold only until a line moves.
func compareError(want side, failure error) []difference {
	words := strings.TrimSpace(string(want.content))
	if words != "" && strings.Contains(failure.Error(), words) {
		return nil
	}
	sentence := failure.Error()
	if e, ok := errors.AsType[*templates.Error](failure); ok {
		sentence = e.Message
	}
	want.from = "wanted"
	return []difference{{want, side{path: want.path, from: "told", content: []byte(sentence + "\n")}}}
}

// mergeTables returns base with what is in over: tables are merged, everything else is replaced.
func mergeTables(base, over map[string]any) map[string]any {
	merged := maps.Clone(base)
	if merged == nil {
		merged = map[string]any{}
	}
	for key, value := range over {
		table, ok := value.(map[string]any)
		below, both := merged[key].(map[string]any)
		if ok && both {
			value = mergeTables(below, table)
		}
		merged[key] = value
	}
	return merged
}
