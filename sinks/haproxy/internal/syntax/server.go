package syntax

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Server is one server line of a backend together with what it inherits from default-server.
type Server struct {
	Name     string
	Address  string         // as written
	Addr     netip.AddrPort // Address, where that is a plain address with a port; not valid otherwise
	Host     string         // the name, where Address is one with a port: HAProxy looks it up when it starts
	Port     uint16         // beside Host
	Weight   int
	MaxConn  int    // 0 for no bound, [BoundByOptions] where it cannot be set alone
	Disabled bool   // starts in maintenance
	Check    bool   // has health checks
	Options  string // everything else, in an order of its own, as "add server" takes it; weight and so on are not in it

	line   string // in its normal form, and what it inherits
	opaque string // why the line is not understood, and then all fields but the name are empty
	static string // which option keeps it from being added to a running HAProxy, if one does
}

// BoundByOptions stands for a maxconn that depends on another option and is among those.
const BoundByOptions = -1

// parseServer reads a server line in its normal form, after the options of the default-server lines that count for it.
func parseServer(line string, inherited []string, cookies bool) Server {
	words := strings.Split(line, " ")
	s := Server{line: line + "\n" + strings.Join(inherited, " ")}
	if len(words) > 1 {
		s.Name = words[1]
	}
	if len(words) < 3 {
		s.opaque = "has no address"
		return s
	}
	// A quoted or escaped word would have to be quoted for the command line as well, and a variable be known.
	if at := strings.IndexAny(line+strings.Join(inherited, " "), "\"'\\$;<"); at >= 0 {
		s.opaque = "has quotes or variables"
		return s
	}
	s.Address = words[2]
	s.Addr = plainAddress(s.Address)
	if !s.Addr.IsValid() {
		s.Host, s.Port = hostAndPort(s.Address)
	}
	options, problem := readOptions(slices.Concat(inherited, words[3:]))
	if problem != "" {
		return Server{Name: s.Name, line: s.line, opaque: problem}
	}
	return s.with(options, cookies)
}

// Known reports whether the line was understood. Where it was not, only the name is right.
func (s Server) Known() bool { return s.opaque == "" }

// Addable reports whether "add server" can make the server what its line says.
func (s Server) Addable() bool {
	return s.Known() && s.static == "" && (s.Addr.IsValid() || s.Host != "") && (!s.Disabled || !s.Check)
}

// plainAddress returns an address and a port, both given as numbers. HAProxy takes what follows the last colon for the port.
func plainAddress(word string) netip.AddrPort {
	word, four := strings.CutPrefix(word, "ipv4@")
	word, six := strings.CutPrefix(word, "ipv6@")
	colon := strings.LastIndexByte(word, ':')
	if colon < 0 {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddr(strings.Trim(word[:colon], "[]"))
	port, portErr := strconv.ParseUint(word[colon+1:], 10, 16)
	if err != nil || portErr != nil || port == 0 || addr.Zone() != "" || four && !addr.Is4() || six && !addr.Is6() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, uint16(port))
}

// hostAndPort returns the parts of a name with a port, and nothing where word is anything else.
func hostAndPort(word string) (string, uint16) {
	host, digits, found := strings.Cut(word, ":")
	port, err := strconv.ParseUint(digits, 10, 16)
	letters := strings.ContainsFunc(host, func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' })
	if !found || err != nil || port == 0 || !letters || strings.ContainsFunc(host, func(r rune) bool { return !inName(r) }) {
		return "", 0
	}
	return host, uint16(port)
}

// with sorts the options into those that have a field and the others.
func (s Server) with(options map[string]string, cookies bool) Server {
	s.Weight = 1
	number := func(keyword string, to *int) {
		value, given := options[keyword]
		if n, err := strconv.Atoi(value); given && err == nil && n >= 0 {
			*to = n
			delete(options, keyword)
		}
	}
	number("weight", &s.Weight)
	// With minconn the two bounds depend on each other, and "set maxconn" knows only one.
	if _, bounded := options["minconn"]; bounded {
		s.MaxConn = BoundByOptions
	} else {
		number("maxconn", &s.MaxConn)
	}
	_, s.Disabled = options["disabled"]
	_, s.Check = options["check"]
	delete(options, "disabled")
	if !cookies { // without a cookie directive the backend never looks at it
		delete(options, "cookie")
	}
	if _, resolved := options["resolvers"]; resolved { // to add it would not fail where they are missing, and a start would
		s.static = "resolvers"
	}
	if s.Addr.IsValid() { // there is no name to resolve
		for _, keyword := range []string{"init-addr", "resolvers", "resolve-prefer", "resolve-net", "resolve-opts"} {
			delete(options, keyword)
		}
	}
	var all []string
	for _, keyword := range slices.Sorted(maps.Keys(options)) {
		if s.static == "" && !dynamic(keyword) {
			s.static = keyword
		}
		all = append(all, strings.TrimSpace(keyword+" "+options[keyword]))
	}
	s.Options = strings.Join(all, " ")
	return s
}

// readOptions returns the options that count, by keyword, with their arguments: the last one of a kind wins, and "no-"
// takes one back. A keyword that is not known may have any number of arguments, so that nothing after it is clear.
func readOptions(words []string) (options map[string]string, problem string) {
	options = map[string]string{}
	for i := 0; i < len(words); i++ {
		keyword := words[i]
		arguments, known := serverOptions[keyword]
		switch {
		case !known:
			return nil, "has the option " + keyword
		case i+arguments >= len(words):
			return nil, "ends after " + keyword
		case keyword == "enabled":
			delete(options, "disabled")
		case revokes[keyword] != "":
			delete(options, revokes[keyword])
		default:
			delete(options, opposites[keyword])
			options[keyword] = strings.Join(words[i+1:i+1+arguments], " ")
		}
		i += arguments
	}
	if versions(options, "force-", "no-tlsv", "no-sslv") && versions(options, "ssl-min-ver", "ssl-max-ver") {
		return nil, "says TLS versions in two ways, of which the last one counts"
	}
	return options, ""
}

func versions(options map[string]string, prefixes ...string) bool {
	for keyword := range options {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(keyword, prefix) }) {
			return true
		}
	}
	return false
}

// serverOptions are the options of a server line, of HAProxy 2.4 to 3.0, that mean what they say wherever they stand,
// with the number of their arguments. Others, such as track and source, are not understood.
var serverOptions = map[string]int{
	"allow-0rtt": 0, "backup": 0, "check": 0, "check-send-proxy": 0, "check-ssl": 0, "check-via-socks4": 0, "disabled": 0,
	"enabled": 0, "force-sslv3": 0, "force-tlsv10": 0, "force-tlsv11": 0, "force-tlsv12": 0, "force-tlsv13": 0,
	"no-backup": 0, "no-check": 0, "no-check-ssl": 0, "no-send-proxy": 0, "no-send-proxy-v2": 0, "no-ssl": 0,
	"no-ssl-reuse": 0, "no-sslv3": 0, "no-tfo": 0, "no-tls-tickets": 0, "no-tlsv10": 0, "no-tlsv11": 0, "no-tlsv12": 0,
	"no-tlsv13": 0, "no-verifyhost": 0, "send-proxy": 0, "send-proxy-v2": 0, "send-proxy-v2-ssl": 0, "send-proxy-v2-ssl-cn": 0,
	"ssl": 0, "ssl-reuse": 0, "tfo": 0, "tls-tickets": 0,

	"addr": 1, "alpn": 1, "ca-file": 1, "check-alpn": 1, "check-proto": 1, "check-sni": 1, "ciphers": 1, "ciphersuites": 1,
	"cookie": 1, "crl-file": 1, "crt": 1, "downinter": 1, "error-limit": 1, "fall": 1, "fastinter": 1, "init-addr": 1,
	"inter": 1, "log-proto": 1, "max-reuse": 1, "maxconn": 1, "maxqueue": 1, "minconn": 1, "npn": 1, "observe": 1, "on-error": 1,
	"on-marked-down": 1, "on-marked-up": 1, "pool-low-conn": 1, "pool-max-conn": 1, "pool-purge-delay": 1, "port": 1, "proto": 1,
	"proxy-v2-options": 1, "resolve-net": 1, "resolve-opts": 1, "resolve-prefer": 1, "resolvers": 1, "rise": 1, "slowstart": 1,
	"sni": 1, "ssl-max-ver": 1, "ssl-min-ver": 1, "tcp-ut": 1, "verify": 1, "verifyhost": 1, "weight": 1, "ws": 1,
}

// revokes are options that take another one back.
var revokes = map[string]string{
	"no-backup": "backup", "no-check": "check", "no-check-ssl": "check-ssl", "no-send-proxy": "send-proxy",
	"no-send-proxy-v2": "send-proxy-v2", "no-ssl": "ssl", "no-tfo": "tfo", "no-verifyhost": "verifyhost",
}

// opposites are options of which the last one counts.
var opposites = map[string]string{
	"ssl-reuse": "no-ssl-reuse", "no-ssl-reuse": "ssl-reuse", "tls-tickets": "no-tls-tickets", "no-tls-tickets": "tls-tickets",
}

// dynamic reports whether HAProxy 2.6 takes the option in "add server". What it takes besides depends on the version,
// and HAProxy says no by itself.
func dynamic(keyword string) bool {
	switch keyword {
	case "cookie", "init-addr", "resolvers", "resolve-prefer", "resolve-net", "resolve-opts", "log-proto":
		return false
	}
	return true
}
