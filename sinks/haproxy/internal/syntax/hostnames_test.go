package syntax

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const withHostnames = `# a comment
global
    log loghost:514 local0
    stats socket ipv4@stats-host:9000 level admin
    stats timeout 10s

defaults base
    log global
    default-server init-addr last,none
defaults
    default-server source default-source inter 1s
peers p
    peer one peer-host:1000
    server two other-peer:1000 init-addr none
resolvers r
    nameserver n udp@ns-host:53
mailers m
    mailer x mail-host:25
frontend f from base
    bind bind-host:80,*:81,127.0.0.1:82,ipv6@six:83
backend quiet from base
    server a first:80
    server b second:80 init-addr libc,none # comment
    server c third:80 init-addr last,libc
backend b
    server a "quoted":80 check addr check-host
    server b 'fourth:80' resolvers r
    server c _http._tcp.service resolvers r
    server d unix@/run/socket
    server e [2001:db8::beef]:80 agent-addr agent-host
    server f 2001:db8::beef:80 socks4 socks-host:1080
    server g fifth:80 init-addr 192.0.2.1
    server h 192.0.2.1:80 source source-host usesrc clientip
    server i "${HOST}:80"
    server-template j 1-3 template-host:80 init-addr none,libc
    server-template k 1-3 other-template:80
    source 0.0.0.0 usesrc use-host
    tcp-check connect addr tcp-host port 80
    dispatch dispatch-host:80
.if defined(X)
    server k conditional:80
.endif
    server l final
`

func TestHostnames(t *testing.T) {
	var got []string
	for _, n := range Parse([]byte(withHostnames), nil).Hostnames() {
		got = append(got, fmt.Sprintf("%d %s %s %t", n.Line, n.Keyword, n.Host, n.Required))
	}
	want := []string{
		"3 log loghost true", "4 stats stats-host true", "11 default-server default-source true", "13 peer peer-host true",
		"14 server other-peer true",
		"16 nameserver ns-host true", "18 mailer mail-host true", "20 bind bind-host true", "20 bind six true",
		"23 server second false", "24 server third true", "26 server check-host true", "27 server fourth false",
		"30 server agent-host true", "31 server socks-host true", "33 server source-host true",
		"36 server-template other-template true", "37 source use-host true", "38 tcp-check tcp-host true",
		"39 dispatch dispatch-host true", "43 server final true",
	}
	for _, line := range without(got, want) {
		t.Errorf("found %q", line)
	}
	for _, line := range without(want, got) {
		t.Errorf("missed %q", line)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Everything except the names is unchanged.
func TestWithoutHostnames(t *testing.T) {
	content := []byte(withHostnames)
	names := Parse(content, nil).Hostnames()
	replaced := string(WithoutHostnames(content, names))
	want := withHostnames
	for _, n := range names {
		by := "127.0.0.1"
		if n.Host == "six" {
			by = "[::1]"
		}
		before, after, _ := strings.Cut(want, n.Host)
		want = before + by + after
	}
	if replaced != want {
		t.Errorf("got\n%s\nwant\n%s", replaced, want)
	}
	if left := Parse([]byte(replaced), nil).Hostnames(); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	if got := string(WithoutHostnames(content, nil)); got != withHostnames {
		t.Errorf("without names it became\n%s", got)
	}
}
