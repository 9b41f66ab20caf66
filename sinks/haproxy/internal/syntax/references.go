package syntax

import (
	"cmp"
	"strings"
)

// references are the references of a section to servers, outside of the servers' own lines.
type references struct {
	servers []reference // to "backend/server", or "server" for one of the backend that the line belongs to
	counted []reference // to backends whose servers are counted, including draining ones; "" for the one of the line
	numbers string      // a line that reads the numbers (id) of servers; empty for none
	lua     string      // a line that loads Lua scripts; empty for none
}

// A reference is a name in a line.
type reference struct{ name, line string }

// serverFetches are the sample fetches that name a server, alone or after its backend. HAProxy (2.6 to 3.4) does not start if the
// server is missing, and refuses to delete it at run time.
var serverFetches = map[string]bool{
	"srv_conn": true, "srv_conn_free": true, "srv_is_up": true, "srv_iweight": true, "srv_queue": true,
	"srv_sess_rate": true, "srv_uweight": true, "srv_weight": true,
}

// read adds the references of a line. A name may be quoted and escaped on two levels, of the line and of an expression in it. A
// variable in the place of a name stands for any server.
func (r *references) read(line string) {
	keyword := firstWord(line)
	tracks := (keyword == "server" || keyword == "default-server") && strings.Contains(line, " track ")
	switch keyword {
	case "use-server":
		r.servers = append(r.servers, reference{wordAfter(line, keyword), line})
	case "lua-load", "lua-load-per-thread":
		r.lua = line
	}
	if !tracks && !strings.Contains(line, "/") && !strings.Contains(line, "srv_") &&
		!strings.Contains(line, "connslots") && !strings.Contains(line, "server_id") {
		return
	}
	text := line
	if strings.ContainsAny(line, quotes) {
		bare, _ := unquoted([]byte(line))
		text = strings.NewReplacer(`"`, "", `'`, "", `\`, "").Replace(string(bare))
	}
	for text != "" {
		end := strings.IndexFunc(text, func(c rune) bool { return !inName(c) && c != '/' })
		if end < 0 {
			end = len(text)
		}
		word, after := text[:end], text[end:]
		text = after[min(1, len(after)):]
		r.readWord(line, word, after, tracks)
	}
}

func (r *references) readWord(line, word, after string, tracks bool) {
	switch argument, called := argumentOf(after); {
	case serverFetches[word] && called:
		r.servers = append(r.servers, reference{argument, line})
	case word == "connslots":
		r.counted = append(r.counted, reference{argument, line})
	case word == "srv_id" || word == "table_server_id" || word == "srv_queue": // the last one accepts "#" and a number
		r.numbers = line
	case word == "track" && tracks:
		r.servers = append(r.servers, reference{firstWord(strings.TrimPrefix(after, " ")), line})
	case strings.Count(word, "/") == 1 && word[0] != '/' && word[len(word)-1] != '/': // of rhttp@, attach-srv and the like
		r.servers = append(r.servers, reference{word, line})
	}
}

// argumentOf returns the first argument of a sample fetch, and whether there is one.
func argumentOf(after string) (argument string, called bool) {
	inside, called := strings.CutPrefix(after, "(")
	if end := strings.IndexAny(inside, ",)"); called && end >= 0 {
		inside = inside[:end]
	}
	return strings.Trim(inside, " "), called
}

// inName reports whether HAProxy accepts r in the name of a proxy or server.
func inName(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '.' || r == ':'
}

// allReferences are the references of a whole configuration.
type allReferences struct {
	servers  map[string]string // by "backend/server", with anyName for an unknown part, a line that refers to it
	counted  map[string]string // by backend, or anyName, a line that counts its servers
	numbered map[string]string // by backend or anyName, the line that reads the numbers of its servers
	lua      string
}

const anyName = "*"

func (c *Config) references() *allReferences {
	c.readRefs.Do(func() { c.refs = c.readReferences() })
	return c.refs
}

func (c *Config) readReferences() *allReferences {
	all := &allReferences{servers: map[string]string{}, counted: map[string]string{}, numbered: map[string]string{}}
	for _, s := range c.sections {
		all.lua = cmp.Or(all.lua, s.refs.lua)
		here := anyName // an expression in a frontend or in defaults can be about any backend
		if s.hasServers() {
			here = s.name
		}
		for _, r := range s.refs.servers {
			all.servers[nameOr(here, r.name)] = r.line
		}
		for _, r := range s.refs.counted {
			all.counted[knownOr(here, r.name)] = r.line
		}
		if s.refs.numbers != "" {
			if s.kind == "listen" { // it may be the frontend of other backends as well
				here = anyName
			}
			all.numbered[here] = s.refs.numbers
		}
	}
	return all
}

// nameOr returns "backend/server" for a word that names a server. here is the backend of a server that is named alone.
func nameOr(here, word string) string {
	backend, server := here, word
	if slash := strings.LastIndexByte(word, '/'); slash >= 0 {
		backend, server = word[:slash], word[slash+1:]
	}
	return knownOr(here, backend) + "/" + knownOr(anyName, server)
}

// knownOr returns name, or fallback if name is empty, or anyName if it depends on more than the configuration.
func knownOr(fallback, name string) string {
	switch {
	case name == "":
		return fallback
	case strings.ContainsFunc(name, func(r rune) bool { return !inName(r) }):
		return anyName
	}
	return name
}

// reference returns a line of the configuration that refers to that server, or "" if there is none.
func (c *Config) reference(backend, server string) string {
	refs := c.references().servers
	return cmp.Or(refs[backend+"/"+server], refs[backend+"/"+anyName], refs[anyName+"/"+server], refs[anyName+"/"+anyName])
}

// count returns a line of the configuration that counts all servers of the backend, including draining ones, or "" if there is
// none.
func (c *Config) count(backend string) string {
	refs := c.references().counted
	return cmp.Or(refs[backend], refs[anyName])
}

// numbering returns a line that depends on the numbers of the backend's servers, or "" if there is none.
func (c *Config) numbering(backend string) string {
	refs := c.references().numbered
	if line := refs[backend]; line != "" {
		return line
	}
	return refs[anyName]
}
