package syntax

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Removed is a line that HAProxy rejects since some version because it removed what the line uses.
type Removed struct {
	Line   int    // from 1
	Other  int    // another line that is part of the reason; 0 for none
	Name   string // what was removed, such as "reqadd"; the same for each line that uses it
	Since  string // the first version that rejects it, such as "2.1"
	What   string // what is in the line
	Change string // what to do instead
}

// removal describes a removed keyword.
type removal struct{ since, change string }

// removedFromProxies are the keywords that HAProxy removed from defaults, frontend, backend and listen sections.
var removedFromProxies = map[string]removal{
	"appsession":   {"1.6", "use 'stick on' with a stick-table, or 'cookie'"},
	"bind-process": {"2.7", "remove it: HAProxy uses threads in one process"},
	"block":        {"2.1", "use 'http-request deny' with the same condition"},
	"cliexp":       {"2.1", "use 'http-request replace-header', 'replace-path' or 'replace-uri'"},
	"clitimeout":   {"2.1", "use 'timeout client'"},
	"contimeout":   {"2.1", "use 'timeout connect'"},
	"dispatch":     {"3.5", "use a server line with the same address"},
	"grace":        {"2.5", "remove it"},
	"monitor-net":  {"2.3", "use 'http-request return status 200 if { src NET }'"},
	"redisp":       {"2.1", "use 'option redispatch'"},
	"redispatch":   {"2.1", "use 'option redispatch'"},
	"reqadd":       {"2.1", "use 'http-request add-header NAME VALUE'"},
	"reqallow":     {"2.1", "use 'http-request allow'"},
	"reqdel":       {"2.1", "use 'http-request del-header'"},
	"reqdeny":      {"2.1", "use 'http-request deny'"},
	"reqiallow":    {"2.1", "use 'http-request allow'"},
	"reqidel":      {"2.1", "use 'http-request del-header'"},
	"reqideny":     {"2.1", "use 'http-request deny'"},
	"reqipass":     {"2.1", "remove it, or use the condition of another http-request rule"},
	"reqirep":      {"2.1", "use 'http-request replace-header', 'replace-path' or 'replace-uri'"},
	"reqisetbe":    {"1.6", "use 'use_backend' with a condition"},
	"reqitarpit":   {"2.1", "use 'http-request tarpit'"},
	"reqpass":      {"2.1", "remove it, or use the condition of another http-request rule"},
	"reqrep":       {"2.1", "use 'http-request replace-header', 'replace-path' or 'replace-uri'"},
	"reqsetbe":     {"1.6", "use 'use_backend' with a condition"},
	"reqtarpit":    {"2.1", "use 'http-request tarpit'"},
	"rspadd":       {"2.1", "use 'http-response add-header NAME VALUE'"},
	"rspdel":       {"2.1", "use 'http-response del-header'"},
	"rspdeny":      {"2.1", "use 'http-response deny'"},
	"rspidel":      {"2.1", "use 'http-response del-header'"},
	"rspideny":     {"2.1", "use 'http-response deny'"},
	"rspirep":      {"2.1", "use 'http-response replace-header'"},
	"rsprep":       {"2.1", "use 'http-response replace-header'"},
	"srvexp":       {"2.1", "use 'http-response replace-header'"},
	"srvtimeout":   {"2.1", "use 'timeout server'"},
	"transparent":  {"3.5", "use a server line with the address 0.0.0.0"},
}

// removedOptions are the removed names after "option" and "no option".
var removedOptions = map[string]removal{
	"forceclose":          {"2.0", "remove it, or use 'option httpclose'"},
	"http-tunnel":         {"2.1", "remove it"},
	"http-use-htx":        {"2.5", "remove it: HAProxy always does so"},
	"http_proxy":          {"2.5", "use 'http-request set-dst' and 'http-request set-uri'"},
	"independant-streams": {"2.1", "use 'option independent-streams'"}, //nolint:misspell // as HAProxy wrote it
	"tcpsplice":           {"1.5", "use 'option splice-auto'"},
	"transparent":         {"3.5", "use a server line with the address 0.0.0.0"},
}

// removedFromGlobal are the keywords that HAProxy removed from the global section.
var removedFromGlobal = map[string]removal{
	"debug":         {"2.3", "remove it: haproxy-api runs HAProxy in the background"},
	"master-worker": {"3.5", "remove it: haproxy-api starts HAProxy as master and worker"},
	"nbproc":        {"2.5", "remove it: HAProxy uses threads in one process"},
	"tune.chksize":  {"2.5", "use 'tune.bufsize'"},
}

// FindRemoved returns the lines of a configuration that some version of HAProxy from 1.6 to 3.5 rejects because of something that
// it removed, in order.
func FindRemoved(content []byte) []Removed {
	f := removedFinder{first: map[string]header{}}
	for line := range bytes.SplitSeq(content, []byte("\n")) {
		f.line++
		f.readLine(wordsOf(line))
	}
	slices.SortStableFunc(f.found, func(a, b Removed) int { return cmp.Compare(a.Line, b.Line) })
	return f.found
}

// wordsOf returns the words of a line in their normal form.
func wordsOf(line []byte) []string {
	var words []string
	for {
		word, rest := cutWord(line)
		if len(word) == 0 {
			return words
		}
		words = append(words, string(plain(word)))
		line = rest
	}
}

// A header is the beginning of a section.
type header struct {
	kind string
	line int
}

type removedFinder struct {
	line  int
	kind  string            // of the section
	first map[string]header // the first frontend or backend of each name
	found []Removed
}

func (f *removedFinder) add(name string, r removal) {
	f.found = append(f.found, Removed{
		Line: f.line, Name: name, Since: r.since, What: fmt.Sprintf("the line uses '%s'", name), Change: r.change,
	})
}

func (f *removedFinder) readLine(words []string) {
	if len(words) == 0 {
		return
	}
	if sectionWords[words[0]] {
		f.readHeader(words)
		return
	}
	f.readEmptyArguments(words)
	keyword := words[0]
	if keyword == "no" && len(words) > 1 {
		words = words[1:]
		keyword = words[0]
	}
	second := wordAt(words, 1)
	switch {
	case f.kind == "global":
		if r, ok := removedFromGlobal[keyword]; ok {
			f.add(keyword, r)
		}
		if keyword == "stats" && second == "bind-process" {
			f.add("stats bind-process", removedFromProxies["bind-process"])
		}
		if keyword == "stats" && second == "socket" {
			f.readProcess(words)
		}
	case f.kind != "defaults" && !StartsProxy(f.kind):
	case keyword == "option":
		f.readOption(words)
	case keyword == "bind":
		f.readProcess(words)
	default:
		if r, ok := removedFromProxies[keyword]; ok {
			f.add(keyword, r)
		}
	}
}

// readHeader finds a program section, which 3.1 and 3.2 accept only with expose-deprecated-directives and 3.3 not at all, and a
// frontend and a backend of one name, which 3.3 rejects.
func (f *removedFinder) readHeader(words []string) {
	f.kind = words[0]
	name := wordAt(words, 1)
	switch {
	case f.kind == "program":
		f.add("program", removal{"3.1", "start the program in another way, for example with a systemd unit"})
	case name == "" || f.kind != "frontend" && f.kind != "backend":
	default:
		before, known := f.first[name]
		if !known {
			f.first[name] = header{f.kind, f.line}
			return
		}
		if before.kind != f.kind {
			front, back := f.line, before.line
			if f.kind == "backend" {
				front, back = back, front
			}
			f.found = append(f.found, Removed{
				Line: front, Other: back, Name: "shared name", Since: "3.3",
				What:   fmt.Sprintf("frontend '%s' has the same name as the backend", name),
				Change: fmt.Sprintf("rename the frontend, for example to '%s-in'", name),
			})
		}
	}
}

func (f *removedFinder) readOption(words []string) {
	name := wordAt(words, 1)
	if r, ok := removedOptions[name]; ok {
		f.add("option "+name, r)
	}
	if name != "httpchk" {
		return
	}
	for _, word := range words[2:] {
		if strings.Contains(word, `\r\n`) {
			f.found = append(f.found, Removed{
				Line: f.line, Name: "headers in option httpchk", Since: "2.7",
				What: "the line has headers or a body in 'option httpchk'", Change: "use 'http-check send hdr NAME VALUE'",
			})
			return
		}
	}
}

// readProcess finds the option process of a bind line.
func (f *removedFinder) readProcess(words []string) {
	for _, word := range words[min(2, len(words)):] {
		if word == "process" {
			f.add("process", removal{"2.7", "remove it, or use 'thread'"})
			return
		}
	}
}

func (f *removedFinder) readEmptyArguments(words []string) {
	for _, word := range words {
		if word == `""` || word == "''" {
			f.found = append(f.found, Removed{
				Line: f.line, Name: "empty argument", Since: "3.3", What: "the line has an empty argument",
				Change: "remove the argument, or give it a value",
			})
			return
		}
	}
}
