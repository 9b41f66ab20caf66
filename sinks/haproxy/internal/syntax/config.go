// Package syntax parses HAProxy's configuration as far as needed to decide which changes of it need a reload.
//
// It knows sections, lines and the options of server lines. A change that it does not understand needs a reload, which is always
// correct, only slower. The package reads no files and does not know HAProxy's processes.
package syntax

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"
)

// A Config is a parsed configuration. It is safe for concurrent use: its methods compute their results once and cache them.
type Config struct {
	top      string // what is before the first section, if that is only comments
	sections []*entry
	byRaw    map[string]*section
	byName   map[string]*entry // backend and listen sections
	refs     *allReferences
	readRefs sync.Once // guards refs

	reading reading
}

// An entry is a section in its context in a configuration.
type entry struct {
	*section
	defaults  *entry // the defaults section that applies; nil for none
	condition string // a line of a conditional block that decides what belongs to the section; empty for none
	repeats   bool   // an earlier section has servers and the same name
	parsed    *Backend
	parse     sync.Once // guards parsed
}

// A section is a header line and the lines up to the next header. Configurations that contain the same bytes share it.
type section struct {
	raw    string
	kind   string   // the first word
	name   string   // the second word, if there is one
	from   string   // the name of the defaults section that the header names, if it does
	header string   // the normal form of the header line; empty for the lines before the first header
	lines  []string // the normal forms of the other lines

	conditions []string // the lines of conditional blocks (.if, .else)
	resumes    bool     // there are other lines after those
	quoted     bool     // a keyword or the header has quotes or variables, so that it cannot be read literally
	refs       references
}

// Parse parses content. It takes sections that like, which may be nil, has as well from there, so that the cost for a large
// configuration is that of what has changed.
func Parse(content []byte, like *Config) *Config {
	c := &Config{}
	if like == nil {
		like = &Config{}
	}
	c.byRaw = make(map[string]*section, len(like.sections))
	c.byName = make(map[string]*entry, len(like.byName))
	next := 0 // index of like's section that probably follows
	for len(content) > 0 {
		if next < len(like.sections) && beginsWith(content, like.sections[next].raw) {
			content = content[len(like.sections[next].raw):]
			c.add(like.sections[next].section)
			next++
			continue
		}
		end := sectionEnd(content)
		raw := string(content[:end])
		content = content[end:]
		s := c.byRaw[raw]
		if known := like.byRaw[raw]; s == nil && known != nil {
			s = known
			next = slices.IndexFunc(like.sections, func(e *entry) bool { return e.section == known })
		}
		if s == nil {
			s = newSection(raw)
		}
		if s.header == "" && len(s.lines) == 0 {
			c.top = raw
			continue
		}
		c.add(s)
		next++ // a section that changed has kept its position
	}
	return c
}

// sectionEnd returns the length of the first section of content.
func sectionEnd(content []byte) int {
	for at := 0; at < len(content); {
		end := at + lineEnd(content[at:])
		if at > 0 && startsSection(content[at:end]) {
			return at
		}
		at = end
	}
	return len(content)
}

// beginsWith reports whether raw is the first section of content.
func beginsWith(content []byte, raw string) bool {
	if len(content) < len(raw) || string(content[:len(raw)]) != raw {
		return false
	}
	rest := content[len(raw):]
	return len(rest) == 0 || strings.HasSuffix(raw, "\n") && startsSection(rest[:lineEnd(rest)])
}

func lineEnd(content []byte) int {
	if i := bytes.IndexByte(content, '\n'); i >= 0 {
		return i + 1
	}
	return len(content)
}

func (c *Config) add(s *section) {
	c.byRaw[s.raw] = s
	e := &entry{section: s, defaults: c.reading.defaultsOf(s)}
	e.condition = c.reading.conditionOf(e)
	c.sections = append(c.sections, e)
	if s.hasServers() {
		if _, e.repeats = c.byName[s.name]; !e.repeats {
			c.byName[s.name] = e
		}
	}
	if s.kind == "defaults" {
		c.reading.lastDefaults = e
	}
}

// reading is the context that the sections read so far give the next one.
type reading struct {
	lastDefaults  *entry
	namedDefaults map[string]*entry
	blocks        []string // the .if lines of the conditional blocks that are open
	unconditional *entry   // the last section that begins outside of them
}

// defaultsOf returns the defaults section that applies to the next section: the one that its header names, or the last one before
// it. A defaults section inherits only from one that it names.
func (r *reading) defaultsOf(next *section) *entry {
	if d := r.lastDefaults; d != nil && d.name != "" {
		if r.namedDefaults == nil {
			r.namedDefaults = map[string]*entry{}
		}
		r.namedDefaults[d.name] = d
	}
	switch {
	case next.from != "":
		return r.namedDefaults[next.from]
	case next.kind == "defaults":
		return nil
	}
	return r.lastDefaults
}

// conditionOf returns a line of a conditional block that decides what belongs to the next section, or "" if there is none. If
// HAProxy skips the header of a section, the lines after the block belong to the section before.
func (r *reading) conditionOf(next *entry) string {
	condition := ""
	if next.defaults != nil {
		condition = next.defaults.condition
	}
	if len(r.blocks) > 0 {
		condition = r.blocks[0]
		if next.resumes && r.unconditional != nil {
			r.unconditional.condition = cmp.Or(r.unconditional.condition, condition)
		}
	} else {
		r.unconditional = next
	}
	if next.resumes {
		condition = cmp.Or(condition, next.conditions[0])
	}
	for _, line := range next.conditions {
		switch firstWord(line) {
		case ".if":
			r.blocks = append(r.blocks, line)
		case ".endif":
			r.blocks = r.blocks[:max(0, len(r.blocks)-1)]
		}
	}
	return condition
}

// sectionWords start a section of a configuration.
var sectionWords = map[string]bool{
	"global": true, "defaults": true, "frontend": true, "backend": true, "listen": true, "peers": true, "resolvers": true,
	"userlist": true, "mailers": true, "program": true, "cache": true, "ring": true, "http-errors": true, "fcgi-app": true,
	"log-forward": true, "log-profile": true, "crt-store": true, "traces": true, "acme": true, "namespace_list": true,
	"healthcheck": true,
}

// StartsSection reports whether a line that begins with word starts a section.
func StartsSection(word string) bool { return sectionWords[word] }

// StartsProxy reports whether a line that begins with word starts a section that can be named in HAProxy's messages: frontend,
// backend or listen.
func StartsProxy(word string) bool {
	return word == "frontend" || word == "backend" || word == "listen"
}

func startsSection(line []byte) bool {
	word, _ := cutWord(line)
	return sectionWords[string(plain(word))]
}

func newSection(raw string) *section {
	s := &section{raw: raw}
	normal := strings.TrimSuffix(string(Normalize([]byte(raw))), "\n")
	if normal != "" {
		s.lines = strings.Split(normal, "\n")
	}
	if len(s.lines) > 0 && startsSection([]byte(s.lines[0])) {
		s.header, s.lines = s.lines[0], s.lines[1:]
		s.readHeader()
	}
	s.quoted = strings.ContainsAny(s.header, quotes)
	for _, line := range s.lines {
		s.quoted = s.quoted || strings.ContainsAny(firstWord(line), quotes)
		switch firstWord(line) {
		case ".if", ".elif", ".else", ".endif":
			s.conditions = append(s.conditions, line)
		default:
			s.resumes = s.resumes || len(s.conditions) > 0
			s.refs.read(line)
		}
	}
	return s
}

// readHeader reads "backend NAME from DEFAULTS" and the like. Only a defaults section may lack a name before "from".
func (s *section) readHeader() {
	words := strings.Split(s.header, " ")
	s.kind = words[0]
	switch {
	case s.kind == "defaults" && len(words) == 3 && words[1] == "from":
		s.from = words[2]
		return
	case len(words) > 1:
		s.name = words[1]
	}
	if len(words) > 3 && words[2] == "from" {
		s.from = words[3]
	}
}

// quotes are the characters because of which a word does not have its literal value.
const quotes = "\"'\\$"

// title returns the human-readable name of the section.
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

// hasServers reports whether the section's server lines are those of a backend. Sections such as peers have server lines of
// another kind.
func (s *section) hasServers() bool { return s.kind == "backend" || s.kind == "listen" }
