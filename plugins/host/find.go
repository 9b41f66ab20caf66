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

// Find returns the program of the plugin for the type: explicit where it is not empty, or else the file
// haproxy-api-KIND-TYPE in folder, or else in PATH. kind is "sink" or "source".
func Find(kind, pluginType, explicit, folder string) (string, error) {
	if explicit != "" {
		return explicit, nil
	}
	name := "haproxy-api-" + kind + "-" + pluginType
	if folder != "" {
		if path := filepath.Join(folder, name); isFile(path) {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("type %q is neither built in nor installed: put %s into %s or into PATH, or set plugins.%s.path",
		pluginType, name, folder, pluginType)
}

func isFile(path string) bool {
	info, err := os.Stat(path) //nolint:gosec // PATH and the configuration say where plugins lie
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// verify refuses a program that somebody else may have exchanged, and one that is not what the configuration pins.
func verify(path, pinned string) error {
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there is no plugin at %s: install it there or correct the path", path)
	case err != nil:
		return fmt.Errorf("the plugin cannot be looked at: %w", err)
	}
	if err := trust.Check(path); err != nil && !runsAlready(path) {
		return fmt.Errorf("the plugin %s is not run, since somebody else could exchange it: %w", path, err)
	}
	if pinned == "" {
		return nil
	}
	sum, err := checksum(path)
	if err != nil {
		return fmt.Errorf("the plugin's checksum cannot be computed: %w", err)
	}
	if !strings.EqualFold(sum, pinned) {
		return fmt.Errorf("the plugin %s is not the pinned one: its sha256 is %s, the configuration asks for %s",
			path, sum, strings.ToLower(pinned))
	}
	return nil
}

// runsAlready reports whether path is the program of this process, which the default plugin lives in: who could exchange it is
// trusted already.
func runsAlready(path string) bool {
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

// Installed is a plugin's program that lies where the daemon looks for one.
type Installed struct {
	Kind string `json:"kind"` // "sink" or "source"
	Type string `json:"type"`
	Path string `json:"path"`
}

// List returns the plugins in folder and in PATH, as [Find] would find them: the first of a name hides the others.
func List(folder string) []Installed {
	var all []Installed
	seen := map[string]bool{}
	for _, place := range append([]string{folder}, filepath.SplitList(os.Getenv("PATH"))...) {
		if place == "" {
			continue
		}
		paths, _ := filepath.Glob(filepath.Join(place, "haproxy-api-s*-*")) // only a wrong pattern is an error
		for _, path := range paths {
			name := filepath.Base(path)
			kind, pluginType, ok := strings.Cut(strings.TrimPrefix(name, "haproxy-api-"), "-")
			if !ok || kind != "sink" && kind != "source" || seen[name] || !isFile(path) {
				continue
			}
			seen[name] = true
			all = append(all, Installed{Kind: kind, Type: pluginType, Path: path})
		}
	}
	return all
}
