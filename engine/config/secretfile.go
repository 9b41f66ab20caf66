package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	maxSecret   = 64 << 10
	othersRead  = 0o004
	fileSuffix  = "_file"
	secretPlace = "file "
)

// inFiles are the keys whose value may stand in a file of its own, which the key with fileSuffix names.
func inFiles() []path { return []path{{"haproxy_api", "update_token"}, {"sidecar", "state_url"}} }

// secretFiles adds a layer for each secret that stands in a file of its own.
func (l *loader) secretFiles() {
	for _, at := range inFiles() {
		given := l.merged().Raw()
		naming := at[:1].with(at[1] + fileSuffix)
		v, _ := get(given, naming)
		file, _ := v.(string) // anything else has been reported
		if file == "" {
			continue
		}
		if _, both := get(given, at); both {
			l.failAt(naming, fmt.Sprintf("is given together with %s (%s); leave one of them out", at, l.origin(at)))
			continue
		}
		if problem := l.secretFile(at, naming, file); problem != "" {
			l.failAt(naming, "names "+file+", which "+problem)
		}
	}
}

// secretFile adds the layer of one secret, or returns why it cannot. The content is in no sentence: it may be a secret even if it
// is the wrong one.
func (l *loader) secretFile(at, naming path, file string) (problem string) {
	content, open, err := readSecret(file)
	if err != nil {
		return reason(err)
	}
	kind, ok := kindAt((&Config{}).schema(), at).(leaf)
	if ok && !kind.set(content) {
		return "does not hold " + kind.want
	}
	if open {
		l.warnings = append(l.warnings, fmt.Sprintf(
			"%s: %s names %s, which every user of this machine can read: chmod it to 600", l.origin(naming), naming, file))
	}
	tree := map[string]any{}
	put(tree, at, content)
	next, err := newLayer(tree, func(path) string { return secretPlace + file })
	if err != nil {
		return err.Error()
	}
	l.layers, l.secrets = append(l.layers, next), append(l.secrets, at)
	return ""
}

// readSecret returns what the file holds, without a byte order mark and the newline at its end, and whether every user can
// read it.
func readSecret(file string) (content string, open bool, err error) {
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
		return "", false, fmt.Errorf("is larger than %d KiB, which no secret needs", maxSecret>>10)
	case content == "":
		return "", false, errors.New("is empty")
	}
	return content, info.Mode().Perm()&othersRead != 0, nil
}
