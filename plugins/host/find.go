package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/haproxy-api/haproxy-api/internal/trust"
)

const programPrefix = "haproxy-api-"

// ProgramName returns the file name of the program for a plugin type, haproxy-api-KIND-TYPE. kind is "sink" or "source".
func ProgramName(kind, pluginType string) string { return programPrefix + kind + "-" + pluginType }

// ParseProgramName returns the kind and the type in a file name that [ProgramName] has returned. ok is false for any other name.
func ParseProgramName(name string) (kind, pluginType string, ok bool) {
	rest, ok := strings.CutPrefix(name, programPrefix)
	if !ok {
		return "", "", false
	}
	kind, pluginType, ok = strings.Cut(rest, "-")
	if !ok || kind != "sink" && kind != "source" {
		return "", "", false
	}
	return kind, pluginType, true
}

// Find returns the path of the program for a plugin type: explicit if it is not empty, else the file with its [ProgramName] in
// dir, else the one in PATH.
func Find(kind, pluginType, explicit, dir string) (string, error) {
	if explicit != "" {
		return explicit, nil
	}
	name := ProgramName(kind, pluginType)
	if dir != "" {
		if path := filepath.Join(dir, name); isFile(path) {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("type %q is neither built in nor installed: put %s into %s or into PATH, or set plugins.%s.path",
		pluginType, name, dir, pluginType)
}

func isFile(path string) bool {
	info, err := os.Stat(path) //nolint:gosec // PATH and the configuration name the directories of plugins
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// verify returns an error for a program that another user may have replaced, and for one without the required SHA-256.
func verify(path, wantSHA256 string) error {
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there is no plugin at %s: install it there or correct the path", path)
	case err != nil:
		return fmt.Errorf("the plugin cannot be examined: %w", err)
	}
	if err := trust.Check(path); err != nil && !isOwnProgram(path) {
		return fmt.Errorf("the plugin %s is not run, because another user could replace it: %w", path, err)
	}
	if wantSHA256 == "" {
		return nil
	}
	sum, err := checksum(path)
	if err != nil {
		return fmt.Errorf("the plugin's checksum cannot be computed: %w", err)
	}
	if !strings.EqualFold(sum, wantSHA256) {
		return fmt.Errorf("the plugin %s is not the pinned one: its sha256 is %s, the configuration asks for %s",
			path, sum, strings.ToLower(wantSHA256))
	}
	return nil
}

// isOwnProgram reports whether path is the program of this process, which serves the default plugin. A user who can replace
// it is trusted already.
func isOwnProgram(path string) bool {
	self, err := os.Executable()
	return err == nil && self == path
}

func checksum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// Installed is a plugin's program in one of the directories that [Find] searches.
type Installed struct {
	Kind string `json:"kind"` // "sink" or "source"
	Type string `json:"type"`
	Path string `json:"path"`
}

// List returns the plugins that [Find] finds in dir and in PATH. The first one of a name hides the others.
func List(dir string) []Installed {
	var all []Installed
	seen := map[string]bool{}
	for _, searched := range append([]string{dir}, filepath.SplitList(os.Getenv("PATH"))...) {
		if searched == "" {
			continue
		}
		paths, _ := filepath.Glob(filepath.Join(searched, programPrefix+"*")) // the only error is one of the pattern
		for _, path := range paths {
			name := filepath.Base(path)
			kind, pluginType, ok := ParseProgramName(name)
			if !ok || seen[name] || !isFile(path) {
				continue
			}
			seen[name] = true
			all = append(all, Installed{Kind: kind, Type: pluginType, Path: path})
		}
	}
	return all
}
