package messages

import (
	"cmp"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// declarations are the lines at which proxies and their servers are declared.
type declarations map[declaration]int

type declaration struct{ kind, proxy, server string } // the server is empty for the proxy itself

func findDeclarations(config []byte) declarations {
	all := declarations{}
	var inside []declaration // the current proxy, once for each kind under which HAProxy may name it
	number := 0
	for line := range strings.Lines(string(config)) {
		number++
		words := append(strings.Fields(line), "", "")
		switch isProxy := syntax.StartsProxy(words[0]); {
		case syntax.StartsSection(words[0]):
			inside = nil
			if isProxy {
				inside = aliases(words[0], words[1])
			}
			all.add(inside, "", number)
		case words[0] == "server":
			all.add(inside, words[1], number)
		}
	}
	return all
}

// aliases returns the names that messages have for a proxy: with its kind, and with "proxy" for any kind. HAProxy calls a listen
// section a frontend or a backend as well.
func aliases(kind, name string) []declaration {
	all := []declaration{{kind, name, ""}, {"proxy", name, ""}}
	if kind == "listen" {
		all = append(all, declaration{"frontend", name, ""}, declaration{"backend", name, ""})
	}
	return all
}

func (d declarations) add(proxies []declaration, server string, line int) {
	for _, at := range proxies {
		at.server = server
		if _, known := d[at]; !known {
			d[at] = line
		}
	}
}

// line returns the line at which a proxy's server is declared or, if it is not, the line of the proxy. It returns 0 if
// there is no such proxy, and the first line if several have that name.
func (d declarations) line(kind, proxy, server string) int {
	return cmp.Or(d[declaration{kind, proxy, server}], d[declaration{kind, proxy, ""}])
}
