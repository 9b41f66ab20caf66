package syntax

import (
	"fmt"
	"strings"
	"testing"
)

// HAProxy removes quotes and escapes before it compares words.
func TestParse_QuotedWords(t *testing.T) {
	const plainly = "defaults d\nbackend a from d\n option httpchk\n server x 127.0.0.1:1 check weight 7\n"
	for _, config := range []string{
		"defaults d\nbackend \"a\" from d\n option httpchk\n server x 127.0.0.1:1 check weight 7\n",
		"\"defaults\" 'd'\n'backend' a from \"d\"\n option httpchk\n server x 127.0.0.1:1 check weight 7\n",
		"defaults d\nback\"end\" a from d\n option httpchk\n server x 127.0.0.1:1 check weight 7\n",
		"defaults d\nbackend a from d\n \"option\" httpchk\n \"server\" \"x\" \"127.0.0.1:1\" check 'weight' 7\n",
		"defaults d\nbackend a from d\n option http\"chk\"\n server \\x78 127.0.0.1:1 check weight \"7\"\n",
		"defaults d\nbackend a from d\r\n option httpchk\rignored\n server x 127.0.0.1:1 check weight 7\r\r\n",
	} {
		if got := needs(plainly, config); got != "nothing" {
			t.Errorf("%q: needs %s", config, got)
		}
		c := Parse([]byte(config), nil)
		if got := fmt.Sprint(c.Backends()); got != "[a]" {
			t.Fatalf("%q: the backends are %s", config, got)
		}
		if s, known := c.Backend("a").Server("x"); !known || !s.Check || s.Weight != 7 {
			t.Errorf("%q: the server is %+v", config, s)
		}
	}
}

// Names that depend on HAProxy's environment are neither observed nor changed at run time.
func TestParse_UnknownNames(t *testing.T) {
	for _, config := range []string{
		"backend \"$A\"\n%s",
		"backend \"${A}\"\n%s",
		"backend a\n server \"$B\" 127.0.0.1:3\n%s",
		"backend a\n server 'b c' 127.0.0.1:3\n%s",
		"backend a\n server b/c 127.0.0.1:3\n%s",
		"backend a\n server\n%s",
		"backend a\n \"$LINE\"\n%s",
		"backend a from \"$D\"\n%s",
	} {
		if names := Parse(fmt.Appendf(nil, config, serverX), nil).Backends(); len(names) > 0 {
			t.Errorf("%q: %v are said to be known", config, names)
		}
		if got := needs(fmt.Sprintf(config, serverX), fmt.Sprintf(config, serverX+serverY)); got != "reload" {
			t.Errorf("%q: needs %s", config, got)
		}
	}
}

// A new server that HAProxy would reject in the file is not added at run time.
func TestParse_RejectedServers(t *testing.T) {
	long := strings.Repeat(" check", 61) // 64 words are what HAProxy takes
	var many strings.Builder
	for _, option := range []string{"check-send-proxy", "check-ssl", "ssl", "tfo", "allow-0rtt", "no-ssl-reuse",
		"no-tls-tickets", "backup"} {
		many.WriteString(" " + option)
	}
	for _, option := range []string{"inter 1", "fall 1", "rise 1", "fastinter 1", "downinter 1", "addr ::1", "port 1", "alpn x",
		"sni x", "ciphers x", "ciphersuites x", "verify none", "ca-file x", "crl-file x", "maxqueue 1", "slowstart 1",
		"observe layer4", "on-error x", "error-limit 1", "npn x", "max-reuse 1", "ws h1", "pool-low-conn 1"} {
		many.WriteString(" " + option)
	}
	for _, line := range []string{
		"server a;b 127.0.0.1:3", "server a/b 127.0.0.1:3", "server é 127.0.0.1:3",
		"server y 127.0.0.1:0", "server y 127.0.0.1:65536",
		"server y ipv4@[::1]:3", "server y ipv6@127.0.0.1:3", "server y 127.0.0.1:3 weight 257", "server y 127.0.0.1:3 weight -1",
		"server y 127.0.0.1:3 weight 1x", "server y 127.0.0.1:3 maxconn x", "server y 127.0.0.1:3 weight", "server y",
		"server y 127.0.0.1:3 id 1", "server x 127.0.0.1:3", "server y 127.0.0.1:3 nonsense",
		"server y 127.0.0.1:3" + long + " check", "server y 127.0.0.1:3" + many.String(), "server y 127.0.0.1:3 proto fcgi",
	} {
		if got := needs("backend a\n"+serverX, "backend a\n"+serverX+" "+line+"\n"); got != "reload" {
			t.Errorf("%q: needs %s", line, got)
		}
	}
	if got := needs("backend a\n"+serverX, "backend a\n"+serverX+" server y 127.0.0.1:3"+long+"\n"); got != "runtime [a]" {
		t.Errorf("64 words: needs %s", got)
	}
	tooMany := " server x 127.0.0.1:1" + strings.Repeat(" weight 2", 31) + "\n"
	if got := needs("backend a\n"+serverX, "backend a\n"+tooMany); got != "reload" {
		t.Errorf("65 words for a server that stands: needs %s", got)
	}
	for _, address := range []string{"127.0.0.1:0", "ipv4@[::1]:3", "ipv6@127.0.0.1:3", "127.0.0.1"} {
		if got := needs("backend a\n"+serverX, "backend a\n server x "+address+"\n"); got != "reload" {
			t.Errorf("address %s: needs %s", address, got)
		}
	}
}

// default-server applies to the lines after it, and in a defaults section to all lines of the backends.
func TestDefaultServer_Position(t *testing.T) {
	const (
		behind = "backend a\n" + serverX + " default-server weight 5\n"
		before = "backend a\n default-server weight 5\n" + serverX
	)
	if got := needs(behind, before); got != "runtime [a]" {
		t.Errorf("moving it before the server needs %s", got)
	}
	const checked = "defaults\n default-server check\n"
	if got := needs(checked+before, checked+behind); got != "runtime [a]" {
		t.Errorf("moving it behind the server needs %s", got)
	}
	const line = " default-server source 127.0.0.1\n"
	if got := needs("backend a\n"+line+serverX, "backend a\n"+serverX+line); got != "reload" {
		t.Errorf("moving one that is not understood needs %s", got)
	}
}

// Server lines of other sections are not servers of a backend.
func TestParse_ServersOfOtherSections(t *testing.T) {
	for _, header := range []string{
		"peers p", "ring r", "fcgi-app f", "mailers m", "resolvers r", "log-forward l", "namespace_list", "healthcheck h",
		"frontend f", "defaults", "program p", "traces", "\"peers\" p",
	} {
		config := "backend a\n" + serverX + header + "\n"
		if got := needs(config, config+serverY); got != "reload" {
			t.Errorf("%s: a line more needs %s", header, got)
		}
		if servers := Parse([]byte(config+serverY), nil).Backend("a").Servers; len(servers) != 1 {
			t.Errorf("%s: the backend before it has %d servers", header, len(servers))
		}
	}
}

// 10,000 servers in one backend and 10,000 backends take linear time; quadratic time would take minutes.
func TestCompare_ManyServersAndBackends(t *testing.T) {
	const many = 10_000
	var inOne, inMany strings.Builder
	inOne.WriteString("defaults\nbackend a\n")
	inMany.WriteString("defaults\n")
	for i := range many {
		fmt.Fprintf(&inOne, " server s%d 127.0.0.1:%d backup\n", i, i+1)
		fmt.Fprintf(&inMany, "backend b%d\n server x 127.0.0.1:%d\n", i, i+1)
	}
	servers, backends := inOne.String(), inMany.String()
	if got := needs(servers, servers+" server z 127.0.0.1:1 backup\n"); got != "runtime [a]" {
		t.Errorf("many servers: needs %s", got)
	}
	last := fmt.Sprintf("server x 127.0.0.1:%d", many)
	changed := backends[:len(backends)-len(last)-1] + " server x 127.0.0.1:1\n"
	if got := needs(backends, changed); got != fmt.Sprintf("runtime [b%d]", many-1) {
		t.Errorf("many backends: needs %s", got)
	}
	if names := Parse([]byte(backends), nil).Backends(); len(names) != many {
		t.Errorf("there are %d backends", len(names))
	}
}
