// Package scaffold writes the module of a new plugin. What it writes works and passes the conformance checks.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// files are the templates: those in the directory of a kind are for that kind, and the others for each.
//
//go:embed files
var files embed.FS

// Kinds are the kinds of plugins.
var Kinds = []string{"sink", "source"}

// A Plugin is what to write.
type Plugin struct {
	Kind    string // one of Kinds
	Name    string // the type in the configuration
	Version string // of haproxy-api that the module requires; "" for the newest one
}

var validName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Validate returns what is wrong with the kind or the name.
func (p Plugin) Validate() error {
	if !slices.Contains(Kinds, p.Kind) {
		return fmt.Errorf("%q is not a kind of plugin: name one of %s", p.Kind, strings.Join(Kinds, ", "))
	}
	if !validName.MatchString(p.Name) {
		return fmt.Errorf("%q cannot be the name of a plugin: use small letters, digits and -", p.Name)
	}
	return nil
}

// Program returns the name by which the daemon finds the plugin.
func (p Plugin) Program() string { return "haproxy-api-" + p.Kind + "-" + p.Name }

// Write writes the module to a directory, which must be empty or missing. It returns the paths of the files.
func (p Plugin) Write(directory string) (written []string, err error) {
	if entries, err := os.ReadDir(directory); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty: name a directory that does not exist yet", directory)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot use the directory: %w", err)
	}
	if err := os.MkdirAll(directory, 0o755); err != nil { //nolint:gosec // source code is not secret
		return nil, fmt.Errorf("cannot create the directory: %w", err)
	}
	for _, pattern := range []string{"files/*.tmpl", path.Join("files", p.Kind, "*.tmpl")} {
		templates, err := template.New("").Delims("[[", "]]").ParseFS(files, pattern)
		if err != nil {
			return written, err
		}
		for _, t := range templates.Templates() {
			name := filepath.Join(directory, strings.TrimSuffix(t.Name(), ".tmpl"))
			var content bytes.Buffer
			if err := t.Execute(&content, p); err != nil {
				return written, err
			}
			if err := os.WriteFile(name, content.Bytes(), 0o644); err != nil { //nolint:gosec // source code is not secret
				return written, fmt.Errorf("cannot write the module: %w", err)
			}
			written = append(written, name)
		}
	}
	slices.Sort(written)
	return written, nil
}
