package syntax

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A FileKind is the use that HAProxy makes of a file that a configuration names.
type FileKind int

// The kinds of files.
const (
	PlainFile       FileKind = iota // HAProxy reads it, or every file in it if it is a directory
	Certificate                     // the same, and the files with its name and an extension such as .key
	CertificateList                 // HAProxy reads it and what it lists, see [Files.Listed]
	LuaScript                       // HAProxy reads it and the modules that it requires
	Included                        // it is a configuration, or has lines of one
)

// A File is a file or a directory on disk that HAProxy reads when it loads a configuration.
type File struct {
	Path string // absolute
	Kind FileKind
}

// A Place says where and how HAProxy reads a configuration, which decides what relative paths and variables in it mean.
type Place struct {
	Config      string            // the path of the configuration
	Dir         string            // HAProxy's working directory
	Environment map[string]string // HAProxy's environment
	Beside      []*Config         // configurations that HAProxy reads as well; their global sections apply too
}

// Files are the files that HAProxy reads beside a configuration.
type Files struct {
	All []File // in no order, without duplicates

	LuaPath []string // patterns of Lua's package.path, absolute; "?" stands for a module
	Bare    bool     // the names of the files beside a certificate do not contain its extension

	dir      string // the directory of relative paths
	env      map[string]string
	crtBase  string
	caBase   string
	keyBase  string
	listed   map[File]bool
	crtStore bool // the section being read is a crt-store
}

// Files returns the files and directories that c names, including those in conditional blocks that HAProxy skips. It leaves out
// paths that depend on a request, or on a variable that at does not have.
func (c *Config) Files(at Place) *Files {
	f := &Files{dir: at.Dir, env: maps.Clone(at.Environment), listed: map[File]bool{}}
	if f.env == nil {
		f.env = map[string]string{}
	}
	for _, config := range append(slices.Clone(at.Beside), c) {
		for _, s := range config.sections {
			if s.kind == "global" {
				for _, line := range s.lines {
					f.readGlobal(at, line)
				}
			}
		}
	}
	crtBase, keyBase := f.crtBase, f.keyBase
	for _, s := range c.sections {
		f.crtBase, f.keyBase, f.crtStore = crtBase, keyBase, s.kind == "crt-store"
		for _, line := range s.lines {
			if mayNameFile(line) {
				f.readLine(f.words(line))
			}
		}
	}
	f.crtBase, f.keyBase = crtBase, keyBase
	return f
}

// readGlobal reads a line of the global section that affects other lines.
func (f *Files) readGlobal(at Place, line string) {
	setVariables(line, f.env)
	words := f.words(line)
	if len(words) < 2 {
		f.Bare = f.Bare || words[0] == "ssl-load-extra-del-ext"
		return
	}
	switch words[0] {
	case "crt-base":
		f.crtBase = words[1]
	case "ca-base":
		f.caBase = words[1]
	case "key-base":
		f.keyBase = words[1]
	case "lua-prepend-path":
		if len(words) < 3 || words[2] == "path" {
			for pattern := range strings.SplitSeq(words[1], ";") {
				f.LuaPath = append(f.LuaPath, f.absolute(pattern))
			}
		}
	case "default-path":
		switch words[1] {
		case "config":
			f.dir = filepath.Dir(at.Config)
		case "parent":
			f.dir = filepath.Dir(filepath.Dir(at.Config))
		case "origin":
			if len(words) > 2 {
				f.dir = filepath.Join(at.Dir, words[2])
				if filepath.IsAbs(words[2]) {
					f.dir = words[2]
				}
			}
		}
	}
}

// fileWords are substrings of which each line that names a file has one.
var fileWords = []string{
	"crt", "file", "lua-load", "map", " -f ", "config ", "jwt_", "ech ", "-keys", "-path", "parse-resolv-conf", "-key ", "load ",
	"key-base",
}

func mayNameFile(line string) bool {
	return slices.ContainsFunc(fileWords, func(word string) bool { return strings.Contains(line, word) })
}

// plainFiles are the words before the path of a plain file.
var plainFiles = map[string]bool{
	"51degrees-data-file": true, "account-key": true, "deviceatlas-json-file": true, "eab-mac-key": true, "ech": true,
	"h1-case-adjust-file": true, "issuers-chain-path": true, "ssl-dh-param-file": true, "tls-ticket-keys": true,
	"wurfl-data-file": true, "wurfl-patch-file": true, "-f": true,
}

// authorities are the words before the path of a file to which ca-base applies.
var authorities = map[string]bool{
	"ca-file": true, "ca-sign-file": true, "ca-verify-file": true, "crl-file": true, "httpclient.ssl.ca-file": true,
}

func (f *Files) readLine(words []string) {
	first := words[0]
	switch first {
	case "crt-base":
		f.crtBase = wordAt(words, 1)
	case "key-base":
		f.keyBase = wordAt(words, 1)
	case "errorfile":
		f.add(PlainFile, "", wordAt(words, 2))
		return
	case "lua-load", "lua-load-per-thread":
		f.add(LuaScript, "", wordAt(words, 1))
		return
	case "parse-resolv-conf":
		f.add(PlainFile, "", "/etc/resolv.conf")
	}
	answers := strings.HasPrefix(first, "http-")
	for i, word := range words {
		next := wordAt(words, i+1)
		switch {
		case word == "crt":
			f.add(Certificate, f.crtBase, next)
		case word == "crt-list":
			f.add(CertificateList, "", next)
		case authorities[word]:
			f.add(PlainFile, f.caBase, next)
		case plainFiles[word], answers && (word == "errorfile" || word == "file" || word == "lf-file"):
			f.add(PlainFile, "", next)
		case word == "config" && first == "filter":
			f.add(Included, "", next)
		case f.crtStore && word == "key":
			f.add(PlainFile, f.keyBase, next)
		case f.crtStore && (word == "ocsp" || word == "issuer" || word == "sctl"):
			f.add(PlainFile, f.crtBase, next)
		}
		f.readExpression(word)
	}
}

var (
	mapPath = regexp.MustCompile(`(?:^|[^A-Za-z0-9_.-])map(?:_[a-z0-9]+)*\(\s*([^,)]+)`)
	keyPath = regexp.MustCompile(`(?:^|[^A-Za-z0-9_.-])jwt_[a-z_]+\([^,)]+,\s*([^,)]*/[^,)]*)`)
)

// readExpression adds the files of converters in a sample expression.
func (f *Files) readExpression(word string) {
	if !strings.Contains(word, "(") {
		return
	}
	bare := strings.NewReplacer(`"`, "", `'`, "", `\`, "").Replace(word)
	for _, form := range []*regexp.Regexp{mapPath, keyPath} {
		for _, m := range form.FindAllStringSubmatch(bare, -1) {
			f.add(PlainFile, "", strings.TrimSpace(m[1]))
		}
	}
}

// Listed returns the files that a line of a certificate list names.
func (f *Files) Listed(line string) []File {
	line, _, _ = strings.Cut(line, "#")
	words := strings.Fields(strings.NewReplacer("[", " ", "]", " ").Replace(line))
	if len(words) == 0 {
		return nil
	}
	one := *f
	one.All, one.listed = nil, map[File]bool{}
	one.add(Certificate, f.crtBase, words[0])
	one.readLine(append([]string{""}, words[1:]...))
	return one.All
}

// add adds a file, unless HAProxy does not read it from disk. base is prepended to a relative path.
func (f *Files) add(kind FileKind, base, path string) {
	for _, prefix := range []string{"file@", "opt@"} {
		path = strings.TrimPrefix(path, prefix)
	}
	if path == "" || path[0] == '@' || strings.HasPrefix(path, "virt@") || strings.ContainsAny(path, "\x00%") {
		return
	}
	if base != "" && !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	file := File{f.absolute(path), kind}
	if !f.listed[file] {
		f.listed[file] = true
		f.All = append(f.All, file)
	}
}

func (f *Files) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(f.dir, path)
}

// words returns the words of a line in normal form as HAProxy reads them: without quotes, and with the values of variables.
func (f *Files) words(line string) []string {
	var words []string
	for rest := []byte(line); ; {
		var word []byte
		if word, rest = cutWord(rest); len(word) == 0 {
			return append(words, make([]string, max(0, 1-len(words)))...)
		}
		text, constant := unquoted(word)
		if constant {
			words = append(words, string(text))
			continue
		}
		words = append(words, os.Expand(string(text), func(name string) string { return withoutQuotes(f.env[name]) }))
	}
}

func wordAt(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return ""
}
