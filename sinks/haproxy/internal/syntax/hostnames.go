package syntax

import (
	"bytes"
	"slices"
	"strings"
)

// A Hostname is a host name that HAProxy looks up when it loads a configuration. It uses the C library, for one name after
// another.
type Hostname struct {
	Host     string
	Line     int    // from 1
	Keyword  string // whose argument it is
	Required bool   // HAProxy does not load the configuration if the name has no address
	OfServer bool   // it is the address of a server of a backend, to which init-addr and -dr apply

	start, end int    // the range of Host in the content
	loopback   string // an address that can replace it
}

// Hostnames returns the host names in the configuration, in order. It leaves out those that only HAProxy can read: names with
// quotes or variables, lines in conditional blocks, and addresses in ACLs.
func (c *Config) Hostnames() []Hostname {
	f := hostnameFinder{}
	f.skip(c.top)
	for _, section := range c.sections {
		f.readSection(section)
	}
	return f.found
}

// WithoutHostnames returns the configuration with each of the names replaced by a loopback address. The names are some of those
// that [Config.Hostnames] has returned for it, in the same order.
func WithoutHostnames(content []byte, names []Hostname) []byte {
	var replaced []byte
	done := 0
	for _, name := range names {
		replaced = append(replaced, content[done:name.start]...)
		replaced = append(replaced, name.loopback...)
		done = name.end
	}
	return append(replaced, content[done:]...)
}

// A hostnameFinder reads the content line by line.
type hostnameFinder struct {
	at        int // where the line starts
	line      int // the number of lines before it
	blocks    int // conditional blocks that are open
	keyword   string
	backend   bool     // the section has the servers of a backend
	inherited []string // the options of the default-server lines that apply
	found     []Hostname
}

func (f *hostnameFinder) skip(text string) {
	f.at += len(text)
	f.line += strings.Count(text, "\n")
}

func (f *hostnameFinder) readSection(e *entry) {
	f.backend = e.hasServers()
	f.inherited = defaultServer(e.defaults.inherited())
	for line := range strings.Lines(e.raw) {
		word, rest := cutWord([]byte(line))
		f.keyword = string(plain(word))
		switch {
		case f.keyword == ".if":
			f.blocks++
		case f.keyword == ".endif":
			f.blocks--
		case f.blocks == 0 && mayHaveAddress[f.keyword] && (f.keyword != "server" || mayHaveName(line, rest)):
			f.readLine(f.words(line))
		}
		f.skip(line)
	}
}

// mayHaveAddress are the keywords of the lines that readLine knows.
var mayHaveAddress = map[string]bool{
	"bind": true, "default-server": true, "dgram-bind": true, "dispatch": true, "http-check": true, "log": true, "mailer": true,
	"nameserver": true, "peer": true, "server": true, "server-template": true, "source": true, "stats": true, "tcp-check": true,
}

// mayHaveName reports whether a server line, with these words after its keyword, may have a host name. Most have none.
func mayHaveName(line string, words []byte) bool {
	_, rest := cutWord(words)
	address, _ := cutWord(rest)
	return bytes.ContainsFunc(address, isLetter) ||
		slices.ContainsFunc(addressOptions, func(option string) bool { return strings.Contains(line, option) })
}

// A positionedWord is a word of a line as HAProxy reads it, and its position in the content.
type positionedWord struct {
	text    string
	start   int
	literal bool // the content has it literally
}

func (f *hostnameFinder) words(line string) []positionedWord {
	var words []positionedWord
	for rest := []byte(line); ; {
		word, after := cutWord(rest)
		if len(word) == 0 {
			return words
		}
		start := f.at + len(line) - len(rest) + bytes.Index(rest, word)
		text := plain(word)
		literal := bytes.Equal(word, text)
		if len(word) == len(text)+2 && bytes.Equal(word[1:1+len(text)], text) { // the whole word is quoted
			start, literal = start+1, true
		}
		words = append(words, positionedWord{string(text), start, literal})
		if after == nil {
			return words
		}
		rest = after
	}
}

// addressAt is the index of the word that is an address, by the keyword of the line.
var addressAt = map[string]int{
	"bind": 1, "dgram-bind": 1, "dispatch": 1, "log": 1, "mailer": 2, "nameserver": 2, "peer": 2,
}

// addressOptions are the options, of server lines and others, that have an address as argument.
var addressOptions = []string{"addr", "agent-addr", "socks4", "source", "usesrc"}

func (f *hostnameFinder) readLine(words []positionedWord) {
	switch f.keyword {
	case "server":
		f.readServer(words, 2)
	case "server-template":
		f.readServer(words, 3)
	case "default-server":
		for _, word := range words[1:] {
			f.inherited = append(f.inherited, word.text)
		}
		f.readOptions(words[1:])
	case "tcp-check", "http-check":
		if len(words) > 1 && words[1].text == "connect" {
			f.readOptions(words[2:])
		}
	case "source":
		f.readOptions(words)
	case "stats":
		if len(words) > 2 && words[1].text == "socket" {
			f.readAddresses(words[2], true)
		}
	default:
		if at, known := addressAt[f.keyword]; known && at < len(words) {
			f.readAddresses(words[at], true)
		}
	}
}

func (f *hostnameFinder) readServer(words []positionedWord, at int) {
	if at >= len(words) {
		return
	}
	options := slices.Clone(f.inherited)
	for _, word := range words[at+1:] {
		options = append(options, word.text)
	}
	if asks, required := looksUp(options); asks || !f.backend {
		before := len(f.found)
		f.readAddresses(words[at], required || !f.backend)
		for i := range f.found[before:] {
			f.found[before+i].OfServer = f.backend
		}
	}
	f.readOptions(words[at+1:])
}

// looksUp reports whether HAProxy asks the C library for the address of a server with those options when it loads the
// configuration, and whether it needs an answer.
func looksUp(options []string) (asks, required bool) {
	methods := "last,libc"
	if slices.Contains(options, "resolvers") {
		methods = "last,libc,none"
	}
	for i, option := range options[:max(0, len(options)-1)] {
		if option == "init-addr" {
			methods = options[i+1]
		}
	}
	all := strings.Split(methods, ",")
	libc := slices.Index(all, "libc")
	if libc < 0 {
		return false, false
	}
	instead := func(method string) bool { return method != "last" && method != "libc" } // none, or an address
	if i := slices.IndexFunc(all, instead); i >= 0 {
		return libc < i, false
	}
	return true, true
}

func (f *hostnameFinder) readOptions(words []positionedWord) {
	for i, word := range words[:max(0, len(words)-1)] {
		if slices.Contains(addressOptions, word.text) {
			f.readAddresses(words[i+1], true)
		}
	}
}

// readAddresses reads a word that is an address, or several separated by commas.
func (f *hostnameFinder) readAddresses(word positionedWord, required bool) {
	if !word.literal {
		return
	}
	at := word.start
	for address := range strings.SplitSeq(word.text, ",") {
		if host, offset, loopback := hostIn(address); host != "" && !f.isWord(host) {
			f.found = append(f.found, Hostname{
				Host: host, Line: f.line + 1, Keyword: f.keyword, Required: required,
				start: at + offset, end: at + offset + len(host), loopback: loopback,
			})
		}
		at += len(address) + len(",")
	}
}

// isWord reports whether host is a keyword that can be in the position of an address.
func (f *hostnameFinder) isWord(host string) bool {
	switch f.keyword {
	case "log":
		return slices.Contains([]string{"global", "stdout", "stderr"}, host)
	case "source", "server", "default-server": // of usesrc
		return host == "client" || host == "clientip"
	}
	return false
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// networkPrefixes are the prefixes of addresses that may be host names.
var networkPrefixes = []string{
	"ipv4", "ipv6", "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "quic4", "quic6", "mptcp", "mptcp4", "mptcp6", "stream",
	"stream+ipv4", "stream+ipv6", "dgram", "dgram+ipv4", "dgram+ipv6", "dgram+udp", "dgram+udp4", "dgram+udp6",
}

// hostIn returns the host name in an address, its offset, and an address that can replace it. The name is empty if there is
// none. A name that begins with an underscore is a service, which HAProxy does not look up when it loads.
func hostIn(address string) (host string, offset int, loopback string) {
	loopback = "127.0.0.1"
	if prefix, rest, found := strings.Cut(address, "@"); found {
		if !slices.Contains(networkPrefixes, prefix) {
			return "", 0, ""
		}
		offset = len(address) - len(rest)
		if strings.HasSuffix(prefix, "6") {
			loopback = "[::1]"
		}
	}
	host, _, _ = strings.Cut(address[offset:], ":")
	strange := strings.ContainsFunc(host, func(r rune) bool { return !inName(r) })
	if strange || !strings.ContainsFunc(host, isLetter) || host[0] == '_' || strings.Count(address, ":") > 1 {
		return "", 0, ""
	}
	return host, offset, loopback
}
