package syntax

import (
	"cmp"
	"slices"
	"strings"
)

// A Backend is a backend or listen section, with what it inherits.
type Backend struct {
	Name    string
	Servers []Server // in the order of their lines

	byName   map[string]int // index of the first server of a name
	settings []string       // the lines other than servers
	defaults []string       // the inherited lines
	balance  string         // the algorithm
	closed   string         // why no server can be changed at run time; empty if it can
	fixed    string         // why servers can be neither added nor removed at run time; empty if they can
	ordered  string         // why the order of all servers matters; empty if it does not
	lua      string         // a line that loads Lua scripts, anywhere in the configuration
	order    []string       // the servers whose order matters
	inOrder  map[string]bool
}

// Backend returns the backend of that name, or nil if there is none.
func (c *Config) Backend(name string) *Backend {
	if e := c.byName[name]; e != nil {
		return c.backend(e)
	}
	return nil
}

func (c *Config) backend(e *entry) *Backend {
	e.parse.Do(func() {
		e.parsed = newBackend(e, c.numbering(e.name))
		e.parsed.lua = c.references().lua
	})
	return e.parsed
}

// Backends returns the names of all backends whose servers are known from their lines, in order.
func (c *Config) Backends() []string {
	var names []string
	for _, s := range c.sections {
		if s.hasServers() && c.backend(s).closed == "" {
			names = append(names, s.name)
		}
	}
	return names
}

// Server returns the server of that name.
func (b *Backend) Server(name string) (Server, bool) {
	i, known := b.byName[name]
	if !known {
		return Server{}, false
	}
	return b.Servers[i], true
}

// Lua returns a line of the configuration that loads a Lua script, or "" if there is none. Scripts may keep servers in
// variables.
func (b *Backend) Lua() string { return b.lua }

// Complete reports whether each server of the backend has a line of its own.
func (b *Backend) Complete() bool {
	return !slices.ContainsFunc(b.settings, func(line string) bool { return firstWord(line) == "server-template" })
}

// inherited returns the lines of a defaults section, after those that it inherits itself.
func (e *entry) inherited() []string {
	switch {
	case e == nil:
		return nil
	case e.defaults == nil:
		return e.lines
	}
	return slices.Concat(e.defaults.inherited(), e.lines)
}

func newBackend(e *entry, numbering string) *Backend {
	b := &Backend{Name: e.name, defaults: e.defaults.inherited(), byName: map[string]int{}, inOrder: map[string]bool{}}
	for _, line := range e.lines {
		if firstWord(line) != "server" {
			b.settings = append(b.settings, line)
		}
	}
	b.balance = lastOf(b.settings, b.defaults, "balance")
	cookies := lastOf(b.settings, b.defaults, "cookie") != ""
	b.readServers(e.lines, cookies)
	b.ordered = b.whyOrdered(numbering)
	b.fixed, b.closed = b.whyFixed(cookies), b.whyClosed(e)
	b.findOrder()
	return b
}

func (b *Backend) readServers(lines []string, cookies bool) {
	inherited := defaultServer(b.defaults)
	b.Servers = make([]Server, 0, len(lines)-len(b.settings))
	for _, line := range lines {
		switch firstWord(line) {
		case "default-server":
			inherited = append(inherited, strings.Split(line, " ")[1:]...)
		case "server":
			s := parseServer(line, inherited, cookies)
			if _, known := b.byName[s.Name]; !known {
				b.byName[s.Name] = len(b.Servers)
			}
			b.Servers = append(b.Servers, s)
		}
	}
}

// whyClosed returns why HAProxy takes no change of the backend's servers, or why these are unknown, or "" for no reason.
func (b *Backend) whyClosed(e *entry) string {
	switch {
	case e.quoted:
		return "the section has quotes or variables where its words should be"
	case slices.ContainsFunc(b.Servers, func(s Server) bool { return !validName(s.Name) }):
		return "the name of one of them has quotes, variables or characters that HAProxy refuses"
	case e.condition != "":
		return "the line " + clip(e.condition) + " decides which lines count"
	case e.repeats:
		return "another section has the same name"
	case lastOf(b.settings, nil, "disabled") != "" || lastOf(b.settings, b.defaults, "disabled") != "" &&
		lastOf(b.settings, nil, "enabled") == "":
		return "the backend is disabled"
	}
	return ""
}

// validName reports whether HAProxy accepts name for a server and reports it literally.
func validName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !inName(r) })
}

// option reports whether the option is on. The last line about it counts, and the section's own lines come after the inherited
// ones.
func (b *Backend) option(name string) bool {
	on := false
	for _, lines := range [][]string{b.defaults, b.settings} {
		for _, line := range lines {
			words := strings.Split(line, " ")
			off := words[0] == "no" || words[0] == "default"
			if off {
				words = words[1:]
			}
			if len(words) > 1 && words[0] == "option" && words[1] == name {
				on = !off
			}
		}
	}
	return on
}

// whyOrdered returns why the order of all servers matters, or "" if it does not. The order also gives servers their numbers.
func (b *Backend) whyOrdered(numbering string) string {
	switch {
	case !b.spreads():
		return "with balance " + b.balance + " the order of servers matters"
	case b.option("external-check"): // whose program gets the number
		return "the backend has external checks"
	case numbering != "":
		return "the line " + clip(numbering) + " reads the numbers of servers"
	}
	return ""
}

// whyFixed returns why a server that is added or removed at run time would not be as after a start, and "" for no reason.
func (b *Backend) whyFixed(cookies bool) string {
	if cookies {
		return "the backend has a cookie directive"
	}
	if b.ordered != "" { // and with external checks those of an added server would never pass
		return b.ordered
	}
	if lastOf(nil, b.defaults, "persist") != "" {
		return "its defaults have the directive persist"
	}
	if lastOf(b.settings, b.defaults, "mode") == "log" { // whose servers HAProxy never adds
		return "it is a log backend"
	}
	for _, line := range b.settings {
		switch word := firstWord(line); word {
		case "stick", "persist", "use-server", "server-template", "dispatch", "hash-type", "dynamic-cookie-key":
			return "the backend has the directive " + word
		}
	}
	return ""
}

// InOrder reports whether the position of the server among the others for which this is true matters: among all servers, or among
// backup servers, of which HAProxy uses the first available one.
func (b *Backend) InOrder(name string) bool { return b.inOrder[name] }

// Order returns the names of the servers whose order matters, in that order.
func (b *Backend) Order() []string { return b.order }

func (b *Backend) findOrder() {
	allBackups := b.option("allbackups")
	for _, s := range b.Servers {
		if b.ordered != "" || !allBackups && s.mayBeBackup() {
			b.order = append(b.order, s.Name)
			b.inOrder[s.Name] = true
		}
	}
}

// mayBeBackup reports whether the server is a backup, or may be one because its line is not understood.
func (s Server) mayBeBackup() bool {
	words := s.Options
	if !s.Known() {
		words = strings.ReplaceAll(s.line, "\n", " ")
		words = strings.TrimPrefix(words, "server "+s.Name+" ")
	}
	return slices.Contains(strings.Split(words, " "), "backup") || strings.ContainsAny(words, quotes)
}

// spreads reports whether the algorithm depends only on the weight and load of servers. HAProxy can add servers at run time with
// some other algorithms too, but these depend on the server's number, which changes with a restart.
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

// lastOf returns the first argument of the last line with that keyword, the keyword itself if it has no argument, and "" if
// there is no such line. The section's own lines take precedence over the defaults.
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

// wordAfter returns the word that follows keyword in a line, or "" if there is none.
func wordAfter(line, keyword string) string {
	words := strings.Split(line, " ")
	if i := slices.Index(words, keyword); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}
