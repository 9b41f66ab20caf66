package syntax

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A FileKind says what HAProxy does with a file that a configuration names.
type FileKind int

// The kinds of files.
const (
	PlainFile       FileKind = iota // HAProxy reads it, or every file in it where it is a folder
	Certificate                     // the same, and what has its name with an extension such as .key
	CertificateList                 // HAProxy reads it and what it lists, see [Files.Listed]
	LuaScript                       // HAProxy reads it and what it requires
	Included                        // it is itself a configuration, or has lines like one
)

// A File is a file or a folder on disk that HAProxy reads when it loads a configuration.
type File struct {
	Path string // absolute
	Kind FileKind
}

// A Place is where HAProxy reads a configuration: it decides what relative paths and variables in it mean.
type Place struct {
	Config      string            // the path of the configuration
	Dir         string            // HAProxy's working directory
	Environment map[string]string // HAProxy's environment
	Beside      []*Config         // configurations that HAProxy reads as well, whose global sections count too
}

// Files are what HAProxy reads beside a configuration.
type Files struct {
	All []File // in no order; none twice

	LuaPath []string // patterns of Lua's package.path, absolute; "?" stands for a module
	Bare    bool     // the files beside a certificate have no extension of the certificate in their names

	dir      string // what relative paths start from
	env      map[string]string
	crtBase  string
	caBase   string
	keyBase  string
	listed   map[File]bool
	crtStore bool // the section that is read is one
}

// Files returns the files and folders that c names. What a condition leaves out counts as well. A path that depends on a request
// or on a variable that is not in place is not among them.
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

// readGlobal reads what a line of the global section says about other lines.
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

// fileWords are in every line that names a file.
var fileWords = []string{
	"crt", "file", "lua-load", "map", " -f ", "config ", "jwt_", "ech ", "-keys", "-path", "parse-resolv-conf", "-key ", "load ",
	"key-base",
}

func mayNameFile(line string) bool {
	return slices.ContainsFunc(fileWords, func(word string) bool { return strings.Contains(line, word) })
}

// plainFiles are the words before the path of a file that HAProxy only reads.
var plainFiles = map[string]bool{
	"51degrees-data-file": true, "account-key": true, "deviceatlas-json-file": true, "eab-mac-key": true, "ech": true,
	"h1-case-adjust-file": true, "issuers-chain-path": true, "ssl-dh-param-file": true, "tls-ticket-keys": true,
	"wurfl-data-file": true, "wurfl-patch-file": true, "-f": true,
}

// authorities are the words before the path of a file that ca-base is for.
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

// readExpression reads the converters of a sample expression that take a file.
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

// add notes a file, unless HAProxy does not look for it on disk. base stands before a relative path.
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

// words returns the words of a line in normal form as HAProxy understands them: without quotes, and with the values of variables.
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
