package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	maxSecret  = 64 << 10
	othersRead = 0o004
)

// secretKeys are the keys whose values may be in files of their own. The same key with "_file" appended names the file.
var secretKeys = []path{{"haproxy_api", "update_token"}, {"sidecar", "state_url"}}

// loadSecretFiles adds a layer for each secret that is in a file of its own.
func (l *loader) loadSecretFiles() {
	for _, at := range secretKeys {
		given := l.merged().Raw()
		fileKey := path{at[0], at[1] + "_file"}
		v, _ := get(given, fileKey)
		file, _ := v.(string) // any other type was reported
		if file == "" {
			continue
		}
		if _, both := get(given, at); both {
			l.addFaultAt(fileKey, fmt.Sprintf("cannot be set together with %s (%s); remove one of them", at, l.origin(at)))
			continue
		}
		if err := l.loadSecret(at, fileKey, file); err != nil {
			l.addFaultAt(fileKey, fmt.Sprintf("names %s, which %s", file, reason(err)))
		}
	}
}

// loadSecret adds the layer of one secret. The error does not contain the content, which may be another secret than the one that
// was meant.
func (l *loader) loadSecret(at, fileKey path, file string) error {
	content, public, err := readSecret(file)
	if err != nil {
		return err
	}
	if s, ok := kindAt((&Config{}).schema(), at).(scalar); ok && !s.set(content) {
		return errors.New("does not contain " + s.want)
	}
	if public {
		l.warnings = append(l.warnings, fmt.Sprintf(
			"%s: %s names %s, which every user of this machine can read: chmod it to 600", l.origin(fileKey), fileKey, file))
	}
	tree := map[string]any{}
	put(tree, at, content)
	l.layers = append(l.layers, newLayer(tree, func(path) string { return "file " + file }))
	l.secrets = append(l.secrets, at)
	return nil
}

// readSecret returns the content of the file without a byte order mark and a trailing newline, and whether every user can read
// it.
func readSecret(file string) (content string, public bool, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", false, err
	}
	if !info.Mode().IsRegular() {
		return "", false, errors.New("is not a regular file")
	}
	f, err := os.Open(file)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = f.Close() }()
	read, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	content = strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(string(read), "\n"), "\r"), byteOrderMark)
	switch {
	case err != nil:
		return "", false, err
	case len(read) > maxSecret:
		return "", false, fmt.Errorf("is larger than %d KiB", maxSecret>>10)
	case content == "":
		return "", false, errors.New("is empty")
	}
	return content, info.Mode().Perm()&othersRead != 0, nil
}
