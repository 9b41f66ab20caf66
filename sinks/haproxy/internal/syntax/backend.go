package syntax

import (
	"cmp"
	"slices"
	"strings"
)

// A Backend is what a backend or listen section is about, with what it inherits.
type Backend struct {
	Name    string
	Servers []Server // in the order of their lines

	settings []string // the other lines
	defaults []string // the lines that count where the section says nothing
	balance  string   // the algorithm
	closed   string   // why nothing can be changed while HAProxy runs; empty if something can
	fixed    string   // why servers can neither come nor go while HAProxy runs; empty if they can
}

// Backend returns the backend of that name, and nil if there is none.
func (c *Config) Backend(name string) *Backend {
	if b, known := c.backends[name]; known {
		return b
	}
	var b *Backend
	for i, s := range c.sections {
		if s.hasServers() && s.name == name {
			b = newBackend(s, c.defaultsOf(i))
			break
		}
	}
	c.backends[name] = b
	return b
}

// Backends returns the names of all backends whose lines say what HAProxy runs, in their order.
func (c *Config) Backends() []string {
	if c.conditional() {
		return nil
	}
	var names []string
	for _, s := range c.sections {
		if s.hasServers() && c.Backend(s.name).closed == "" {
			names = append(names, s.name)
		}
	}
	return names
}

// Server returns the server of that name.
func (b *Backend) Server(name string) (Server, bool) {
	i := slices.IndexFunc(b.Servers, func(s Server) bool { return s.Name == name })
	if i < 0 {
		return Server{}, false
	}
	return b.Servers[i], true
}

// Complete reports whether every server of the backend has a line of its own.
func (b *Backend) Complete() bool {
	return !slices.ContainsFunc(b.settings, func(line string) bool { return firstWord(line) == "server-template" })
}

// defaultsOf returns the lines of the defaults that count for section i: those that its header names after "from", or
// those of the last section before it.
func (c *Config) defaultsOf(i int) []string {
	from := wordAfter(c.sections[i].header, "from")
	for j := i - 1; j >= 0; j-- {
		d := c.sections[j]
		if d.kind == "defaults" && (from == "" || d.name == from) {
			if wordAfter(d.header, "from") != "" {
				return slices.Concat(c.defaultsOf(j), d.lines)
			}
			return d.lines
		}
	}
	return nil
}

func newBackend(s *section, defaults []string) *Backend {
	b := &Backend{Name: s.name, defaults: defaults}
	for _, line := range s.lines {
		if firstWord(line) != "server" {
			b.settings = append(b.settings, line)
		}
	}
	b.balance = lastOf(b.settings, defaults, "balance")
	cookies := lastOf(b.settings, defaults, "cookie") != ""
	b.fixed, b.closed = b.whyFixed(cookies), b.whyClosed(s)
	inherited := defaultServer(defaults)
	for _, line := range s.lines {
		switch firstWord(line) {
		case "default-server":
			inherited = append(inherited, strings.Split(line, " ")[1:]...)
		case "server":
			b.Servers = append(b.Servers, parseServer(line, inherited, cookies))
		}
	}
	return b
}

// whyClosed looks for what keeps HAProxy from taking any change.
func (b *Backend) whyClosed(s *section) string {
	switch {
	case s.quoted:
		return "the section has quotes or variables where its words should be"
	case lastOf(b.settings, nil, "disabled") != "" || lastOf(b.settings, b.defaults, "disabled") != "" &&
		lastOf(b.settings, nil, "enabled") == "":
		return "the backend is disabled"
	}
	return ""
}

// has reports whether the line stands in the section or in the defaults that count for it.
func (b *Backend) has(line string) bool {
	return slices.Contains(b.settings, line) || slices.Contains(b.defaults, line)
}

// whyFixed looks for what makes a server's place or number in the configuration matter.
func (b *Backend) whyFixed(cookies bool) string {
	if cookies {
		return "the backend has a cookie directive"
	}
	if !b.spreads() {
		return "with balance " + b.balance + " the order of servers matters"
	}
	if b.has("option external-check") { // an added server's would never pass
		return "the backend has external checks"
	}
	for _, line := range b.settings {
		switch word := firstWord(line); word {
		case "stick", "persist", "use-server", "server-template", "dispatch", "hash-type", "dynamic-cookie-key":
			return "the backend has the directive " + word
		}
	}
	return ""
}

// spreads reports whether the algorithm asks for nothing but a server's weight and load. HAProxy takes servers at run time
// with a few others as well, but their choice depends on the server's number, which a restart gives anew.
func (b *Backend) spreads() bool {
	switch algorithm, _, _ := strings.Cut(b.balance, "("); algorithm {
	case "", "roundrobin", "leastconn", "random":
		return true
	}
	return false
}

// defaultServer returns the options of all default-server lines, in their order.
func defaultServer(lines []string) []string {
	var words []string
	for _, line := range lines {
		if firstWord(line) == "default-server" {
			words = append(words, strings.Split(line, " ")[1:]...)
		}
	}
	return words
}

// lastOf returns the first argument of the last line with that keyword, the keyword itself where it has none, and "" where
// there is no such line. The section's own lines come before the defaults'.
func lastOf(own, defaults []string, keyword string) string {
	for _, lines := range [][]string{own, defaults} {
		for _, line := range slices.Backward(lines) {
			if firstWord(line) == keyword {
				return cmp.Or(wordAfter(line, keyword), keyword)
			}
		}
	}
	return ""
}

func firstWord(line string) string {
	word, _, _ := strings.Cut(line, " ")
	return word
}

// wordAfter returns the word that follows keyword in a line, and "" if there is none.
func wordAfter(line, keyword string) string {
	words := strings.Split(line, " ")
	if i := slices.Index(words, keyword); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}
