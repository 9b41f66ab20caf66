// Package syntax reads HAProxy's configuration as far as it takes to tell which changes of it need a reload.
//
// It knows sections, lines and the words of server lines. What it does not understand it calls a reason for a reload:
// that is never wrong, only slower.
package syntax

import (
	"bytes"
	"slices"
	"strings"
)

// A Config is one configuration. It is for one goroutine at a time: what is asked of it is worked out at the first
// question and kept.
type Config struct {
	top      string // what stands before the first section, if that is only comments
	sections []*section
	backends map[string]*Backend
	byRaw    map[string]*section
	refs     map[string]bool
}

// A section is a header line and what follows up to the next one. It is shared by all configurations that contain the
// same bytes.
type section struct {
	raw    string
	kind   string   // the first word
	name   string   // the second word, if there is one
	header string   // the normal form of the header line; empty for what stands before the first header
	lines  []string // the normal forms of the other lines

	conditional bool
	quoted      bool     // a keyword or the header has quotes, escapes or variables, so that the lines are not what they seem
	named       []string // words of the form "backend/server", the targets of use-server included
}

// Parse reads content. Sections that stand in like as well, which may be nil, are taken from there, so that reading a
// large configuration of which little has changed costs little.
func Parse(content []byte, like *Config) *Config {
	c := &Config{backends: map[string]*Backend{}, byRaw: map[string]*section{}}
	start := 0
	for at := 0; at < len(content); {
		end := len(content)
		if i := bytes.IndexByte(content[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if at > start && startsSection(content[at:end]) {
			c.add(string(content[start:at]), like)
			start = at
		}
		at = end
	}
	c.add(string(content[start:]), like)
	return c
}

func (c *Config) add(raw string, like *Config) {
	s := c.byRaw[raw]
	if s == nil && like != nil {
		s = like.byRaw[raw]
	}
	if s == nil {
		s = newSection(raw)
	}
	if s.header == "" && len(s.lines) == 0 {
		c.top = raw
		return
	}
	c.byRaw[raw] = s
	c.sections = append(c.sections, s)
}

// sectionWords start a section of a configuration.
var sectionWords = map[string]bool{
	"global": true, "defaults": true, "frontend": true, "backend": true, "listen": true, "peers": true, "resolvers": true,
	"userlist": true, "mailers": true, "program": true, "cache": true, "ring": true, "http-errors": true, "fcgi-app": true,
	"log-forward": true, "log-profile": true, "crt-store": true, "traces": true, "acme": true,
}

func startsSection(line []byte) bool {
	line = bytes.TrimLeft(line, " \t\r\v\f")
	end := 0
	for end < len(line) && !isBlank(line[end]) && line[end] != '\n' && line[end] != '#' {
		end++
	}
	return sectionWords[string(line[:end])]
}

func newSection(raw string) *section {
	s := &section{raw: raw}
	normal := strings.TrimSuffix(string(Normalize([]byte(raw))), "\n")
	if normal != "" {
		s.lines = strings.Split(normal, "\n")
	}
	if len(s.lines) > 0 && startsSection([]byte(s.lines[0])) {
		s.header, s.lines = s.lines[0], s.lines[1:]
		words := strings.Split(s.header, " ")
		s.kind = words[0]
		if len(words) > 1 {
			s.name = words[1]
		}
	}
	s.quoted = strings.ContainsAny(s.header, quotes)
	for _, line := range s.lines {
		s.quoted = s.quoted || strings.ContainsAny(firstWord(line), quotes)
		s.named = append(s.named, namedIn(line)...)
		s.conditional = s.conditional || line[0] == '.'
	}
	return s
}

// quotes are what makes a word another one than it looks.
const quotes = "\"'\\$"

// title names the section for people.
func (s *section) title() string {
	switch {
	case s.header == "":
		return "the top"
	case s.name == "":
		return s.kind
	default:
		return s.kind + " " + s.name
	}
}

// hasServers reports whether the section's server lines are those of a backend. Sections such as peers have others.
func (s *section) hasServers() bool { return s.kind == "backend" || s.kind == "listen" }

// conditional reports whether HAProxy reads only some of the lines (.if, .else), so that any line may mean nothing.
func (c *Config) conditional() bool {
	return slices.ContainsFunc(c.sections, func(s *section) bool { return s.conditional })
}

// namedIn returns the words of a line that may name a server of a backend, as "backend/server", wherever they stand:
// in a track, an ACL or a format.
func namedIn(line string) []string {
	if word, rest, _ := strings.Cut(line, " "); word == "use-server" {
		name, _, _ := strings.Cut(rest, " ")
		return []string{name}
	}
	if !strings.Contains(line, "/") {
		return nil
	}
	var named []string
	for _, word := range strings.FieldsFunc(line, func(r rune) bool { return !inName(r) && r != '/' }) {
		if backend, server, ok := strings.Cut(word, "/"); ok && backend != "" && server != "" && !strings.Contains(server, "/") {
			named = append(named, word)
		}
	}
	return named
}

// inName reports whether HAProxy takes r in the name of a proxy or server.
func inName(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '.' || r == ':'
}

// names reports whether something in the configuration refers to that server.
func (c *Config) names(backend, server string) bool {
	if c.refs == nil {
		c.refs = map[string]bool{}
		for _, s := range c.sections {
			for _, word := range s.named {
				if !strings.Contains(word, "/") {
					word = s.name + "/" + word
				}
				c.refs[word] = true
			}
		}
	}
	return c.refs[backend+"/"+server]
}
