package syntax

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Server is a server line of a backend, with the options that it inherits from default-server.
type Server struct {
	Name     string
	Address  string         // as written
	Addr     netip.AddrPort // Address, if it is an IP address with a port; otherwise invalid
	Host     string         // the host name, if Address is one with a port: HAProxy looks it up when it starts
	Port     uint16         // beside Host
	Weight   int
	MaxConn  int    // 0 for no limit, [BoundByOptions] if it cannot be set alone
	Disabled bool   // starts in maintenance
	Check    bool   // has health checks
	Options  string // all other options in a canonical order, as "add server" takes them

	line   string // in its normal form, and what it inherits
	opaque string // why the line is not understood; all fields but the name are empty then
	static string // the option because of which it cannot be added at run time, if there is one

	lateCheck bool // its first check may come later than after a start
}

// BoundByOptions is the MaxConn of a server whose maxconn depends on another option. It is one of its Options.
const BoundByOptions = -1

// parseServer parses a server line in normal form. inherited are the options of the default-server lines that apply to it.
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
	// A quoted word would have to be quoted on the runtime API as well, and the value of a variable would have to be known.
	if at := strings.IndexAny(line+strings.Join(inherited, " "), "\"'\\$;<"); at >= 0 {
		s.opaque = "has quotes or variables"
		return s
	}
	s.Address = words[2]
	s.Addr = plainAddress(s.Address)
	if !s.Addr.IsValid() {
		s.Host, s.Port = hostAndPort(s.Address)
	}
	read, problem := readOptions(slices.Concat(inherited, words[3:]))
	if problem != "" {
		return Server{Name: s.Name, line: s.line, opaque: problem}
	}
	if slices.Contains(inherited, "check-proto") { // HAProxy does not inherit it
		s.static = "check-proto"
	}
	return s.with(read, cookies)
}

// Known reports whether the line was understood. If not, only the name is valid.
func (s Server) Known() bool { return s.opaque == "" }

// Addable reports whether "add server" can create the server as its line says.
func (s Server) Addable() bool {
	return s.Known() && s.static == "" && (s.Addr.IsValid() || s.Host != "") && (!s.Disabled || !s.Check)
}

// plainAddress returns the address and port of a word with both as numbers. The port is what follows the last colon.
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

// hostAndPort returns the parts of a host name with a port, and zero values for anything else.
func hostAndPort(word string) (string, uint16) {
	host, digits, found := strings.Cut(word, ":")
	port, err := strconv.ParseUint(digits, 10, 16)
	letters := strings.ContainsFunc(host, func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' })
	if !found || err != nil || port == 0 || !letters || strings.ContainsFunc(host, func(r rune) bool { return !inName(r) }) {
		return "", 0
	}
	return host, uint16(port)
}

// with returns s with the options o.
func (s Server) with(o options, cookies bool) Server {
	s.Weight = 1
	number := func(keyword string, to *int) {
		value, given := o[keyword]
		if n, err := strconv.Atoi(value); given && err == nil && n >= 0 {
			*to = n
			delete(o, keyword)
		}
	}
	number("weight", &s.Weight)
	// With minconn the two limits depend on each other, and "set maxconn" sets only one.
	if o.has("minconn") {
		s.MaxConn = BoundByOptions
		o.raiseMaxConn()
	} else {
		number("maxconn", &s.MaxConn)
	}
	s.Disabled, s.Check = o.has("disabled"), o.has("check")
	delete(o, "disabled")
	if !cookies { // without a cookie directive it has no effect
		delete(o, "cookie")
	}
	if s.static == "" && o.has("resolvers") { // adding it succeeds if the resolvers do not exist, and a start fails
		s.static = "resolvers"
	}
	if s.Addr.IsValid() { // there is no host name to resolve
		for _, key := range []string{"init-addr", "resolvers", "resolve-prefer", groupResolve} {
			delete(o, key)
		}
	}
	o.addCheckTransport()
	s.static, s.lateCheck = cmp.Or(s.static, o.static()), o.lateCheck() != ""
	s.Options = o.String()
	return s
}

// Defaults returns the default options of the server that "add server" of HAProxy before 3.0 does not set.
func (s Server) Defaults() string {
	defaults := []string{"on-error fail-check", "error-limit 10", "pool-max-conn -1", "pool-purge-delay 5s"}
	if s.MaxConn > 0 {
		defaults = append(defaults, "minconn "+strconv.Itoa(s.MaxConn))
	}
	return strings.Join(slices.DeleteFunc(defaults, func(option string) bool {
		_, given := s.option(firstWord(option))
		return given
	}), " ")
}

// Multiplexes reports whether a connection to the server may carry several requests at a time. HAProxy before 3.0 allows an added
// server only one per connection, and accepts no other limit.
func (s Server) Multiplexes() bool {
	proto, _ := s.option("proto")
	alpn, _ := s.option("alpn")
	npn, _ := s.option("npn")
	return proto != "" && proto != "h1" && proto != "none" || strings.Contains(alpn+npn, "h2")
}

// option returns the arguments of one of the Options, and whether the server has it.
func (s Server) option(keyword string) (arguments string, given bool) {
	for words := strings.Split(s.Options, " "); len(words) > 0; {
		end := min(1+serverOptions[words[0]].arguments, len(words))
		if words[0] == keyword {
			return strings.Join(words[1:end], " "), true
		}
		words = words[end:]
	}
	return "", false
}
