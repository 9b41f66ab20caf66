package syntax

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const base = `# made by hand
global
	maxconn 100
defaults
	mode http
	timeout connect 1s
	default-server inter 5s
frontend web
	bind :80
	acl gone srv_is_up(app/tied)
	default_backend app
backend app
	option httpchk
	server a 127.0.0.1:1 check
	server b 127.0.0.1:2 check cookie host-2 weight 10
	server tied 127.0.0.1:3
backend pinned
	balance source
	server a 127.0.0.1:1
	server b 127.0.0.1:2
backend sticky
	cookie SRV insert
	server a 127.0.0.1:1 cookie a
peers others
	server me 127.0.0.1:9
`

func TestCompare(t *testing.T) {
	for _, test := range []struct{ from, to, reload, reason string }{
		// No difference to HAProxy.
		{"# made by hand\n", "", "", ""},
		{"\tmaxconn 100", "  maxconn   100 # the bound", "", ""},
		{"cookie host-2 ", "cookie host-3 ", "", ""},
		{"127.0.0.1:1 check", "127.0.0.1:1 check inter 5s", "", ""},
		{"check cookie host-2 weight 10", "weight 10 check enabled", "", ""},
		{"\tserver a 127.0.0.1:1 check\n", "\tserver a 127.0.0.1:1 check weight 1\n", "", ""},
		{"127.0.0.1:3", "127.0.0.1:3 init-addr none", "", ""},

		// Servers.
		{"127.0.0.1:2 check", "127.0.0.1:22 check", "", "backend app: server b: address 127.0.0.1:2 changed to 127.0.0.1:22"},
		{"weight 10", "weight 20", "", "backend app: server b: weight 10 changed to 20"},
		{"weight 10", "weight 10 maxconn 5", "", "backend app: server b: maxconn 0 changed to 5"},
		{"weight 10", "weight 10 disabled", "", "backend app: server b: disabled"},
		{"\tserver tied", "\tserver c [::1]:4 check\n\tserver tied", "", "backend app: server c added"},
		{"\tserver a 127.0.0.1:1 check\n", "", "", "backend app: server a removed"},
		{
			"server a 127.0.0.1:1 check", "server x 127.0.0.1:1 check", "",
			"backend app: server x added; backend app: server a removed",
		},
		{"127.0.0.1:1 check", "127.0.0.1:1 check inter 1s", "backend app: server a: option inter changed from 5s to 1s", ""},
		{"127.0.0.1:1 check", "127.0.0.1:1", "backend app: server a: option check removed", ""},
		{"127.0.0.1:1 check", "localhost:1 check", "backend app: server a: address 127.0.0.1:1 changed to localhost:1", ""},
		{"weight 10", "weight 1000", "backend app: server b: its weight 1000 is out of range", ""},
		{"weight 10", "weight 10 track a", "backend app: server b: its line changed and has the option track", ""},
		{"weight 10", "weight 10 minconn 1 maxconn 2", "backend app: server b: option maxconn 2 minconn 1 added", ""},
		{"\tserver tied", "\tserver c 127.0.0.1:4 check disabled\n\tserver tied",
			"backend app: server c added, and it is disabled and has checks", ""},
		{"\tserver tied", "\tserver c foo:4\n\tserver tied", "", "backend app: server c added"},
		{"\tserver tied", "\tserver c foo:4 resolvers x\n\tserver tied",
			"backend app: server c added, and with its option resolvers it cannot be added at run time", ""},
		{"\tserver tied", "\tserver c foo:+4\n\tserver tied",
			"backend app: server c added, and its address foo:+4 is not a plain one", ""},
		{"\tserver tied", "\tserver c unix@foo:4\n\tserver tied",
			"backend app: server c added, and its address unix@foo:4 is not a plain one", ""},
		{"\tserver tied", "\tserver c \"$A\":4\n\tserver tied",
			"backend app: server c added, and its line has quotes or variables", ""},
		{"\tserver tied", "\tserver a 127.0.0.1:4\n\tserver tied",
			"backend app: two servers have the name a", ""},
		{"\tserver tied 127.0.0.1:3\n", "",
			"backend app: server tied removed, and the line acl gone srv_is_up(app/tied) refers to it", ""},
		{"server b 127.0.0.1:2\nbackend sticky", "server b 127.0.0.1:3\nbackend sticky", "",
			"backend pinned: server b: address 127.0.0.1:2 changed to 127.0.0.1:3"},
		{"server b 127.0.0.1:2\nbackend sticky", "server b 127.0.0.1:2 weight 2\nbackend sticky",
			"backend pinned: server b: weight 1 changed to 2, and with balance source that has no effect at run time", ""},
		{"\tserver b 127.0.0.1:2\nbackend sticky", "backend sticky",
			"backend pinned: server b removed, and with balance source the order of servers matters", ""},
		{"\tserver a 127.0.0.1:1\n\tserver b 127.0.0.1:2\nb", "\tserver b 127.0.0.1:2\n\tserver a 127.0.0.1:1\nb",
			"backend pinned: the order of servers changed, and with balance source the order of servers matters", ""},
		{"127.0.0.1:1 cookie a", "127.0.0.1:1 cookie b", "backend sticky: server a: option cookie changed from a to b", ""},
		{"\tserver a 127.0.0.1:1 cookie a", "\tserver a 127.0.0.1:1 cookie a\n\tserver b 127.0.0.1:2",
			"backend sticky: server b added, and the backend has a cookie directive", ""},

		{"weight 10", "weight 10 on-marked-down shutdown-sessions disabled",
			"backend app: server b: option on-marked-down shutdown-sessions added", ""},
		{"\toption httpchk\n\tserver a", "\toption httpchk\n\tdisabled\n\tserver z 127.0.0.1:7\n\tserver a",
			"backend app: disabled added", ""},
		{"\tserver b 127.0.0.1:2 check cookie", "\t\"server\" b 127.0.0.1:2 check cookie",
			"", ""},
		{"\tserver tied", "\tserver z 127.0.0.1:9 backup\n\tserver tied", "", "backend app: server z added"},
		{"server b 127.0.0.1:2\nbackend sticky", "server b 127.0.0.1:2 no-tlsv13 ssl-min-ver TLSv1.2\nbackend sticky",
			"backend pinned: server b: option no-tlsv13 ssl-min-ver TLSv1.2 added", ""},

		// Everything else.
		{"\toption httpchk\n", "", "backend app: option httpchk removed", ""},
		{"maxconn 100", "maxconn 200", "global: maxconn 100 changed to maxconn 200", ""},
		{"bind :80", "bind :80\n\tbind :81", "frontend web: bind :81 added", ""},
		{"server me 127.0.0.1:9", "server me 127.0.0.1:8",
			"peers others: server me 127.0.0.1:9 changed to server me 127.0.0.1:8", ""},
		{"peers others", "backend new\n\tserver a 127.0.0.1:1\npeers others", "backend new added", ""},
		{"backend sticky\n\tcookie SRV insert\n\tserver a 127.0.0.1:1 cookie a\n", "", "backend sticky removed", ""},
		{"inter 5s", "inter 6s", "defaults: default-server inter 5s changed to default-server inter 6s; " +
			"backend app: server a: option inter changed from 5s to 6s; " +
			"backend app: server b: option inter changed from 5s to 6s (and 4 more)", ""},
		{"\tserver b 127.0.0.1:2 check cookie", ".if defined(X)\n\tserver b 127.0.0.1:2 check cookie",
			"backend app: .if defined(X) added, and the line .if defined(X) decides which lines count", ""},
	} {
		if !strings.Contains(base, test.from) {
			t.Fatalf("the configuration lacks %q", test.from)
		}
		before := Parse([]byte(base), nil)
		after := Parse([]byte(strings.Replace(base, test.from, test.to, 1)), before)
		got := Compare(before, after)
		want := test.reason
		if want == "" {
			want = test.reload
		}
		if got.Reload != test.reload || got.Reason != want {
			t.Errorf("%q to %q:\nreload %q, reason %q\nwant   %q, %q",
				test.from, test.to, got.Reload, got.Reason, test.reload, want)
		}
	}
}

// A default-server line applies only to the lines after it.
func TestDefaultServer_AppliesFromItsLineOn(t *testing.T) {
	config := Parse([]byte("defaults one\n default-server check weight 7\ndefaults two\nbackend a from one\n"+
		" server x 127.0.0.1:1\n default-server no-check disabled\n server y 127.0.0.1:1 enabled\n server z 127.0.0.1:1\n"+
		"backend b\n server x 127.0.0.1:1\n"), nil)
	var got []string
	for _, name := range config.Backends() {
		for _, s := range config.Backend(name).Servers {
			got = append(got, fmt.Sprintf("%s/%s weight %d check %v disabled %v [%s]",
				name, s.Name, s.Weight, s.Check, s.Disabled, s.Options))
		}
	}
	want := `a/x weight 7 check true disabled false [check]
a/y weight 7 check false disabled false []
a/z weight 7 check false disabled true []
b/x weight 1 check false disabled false []`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// edits are changes of base, some for run time and some for a reload.
var edits = []string{
	"127.0.0.1:2 check", "127.0.0.1:22 check", "\tserver tied", "\tserver c 127.0.0.1:4\n\tserver tied",
	"weight 10", "weight 20", "option httpchk", "option redispatch", "bind :80", "bind :81", "backend sticky", "backend glued",
	"server a 127.0.0.1:1 cookie a", "server a 127.0.0.1:1 cookie b", "inter 5s", "inter 6s", "# made by hand", "# by machine",
	"balance source", "balance leastconn", "server me 127.0.0.1:9\n", "server me 127.0.0.1:9",
	"server b 127.0.0.1:2\nbackend sticky", "server n 127.0.0.1:2\nbackend sticky",
}

// For each set of edits: the partial update needs no reload, it is as close to the result as that allows, and a
// configuration that needs no reload is its own partial update.
func TestPartialUpdate(t *testing.T) {
	for set := range 1 << (len(edits) / 2) {
		text := base
		for i := range len(edits) / 2 {
			if set&(1<<i) != 0 {
				text = strings.Replace(text, edits[2*i], edits[2*i+1], 1)
			}
		}
		before := Parse([]byte(base), nil)
		after := Parse([]byte(text), before)
		whole := Compare(before, after)
		bridge, differs := PartialUpdate(before, after, func(string) bool { return false })
		if !differs {
			if whole.Reload == "" && len(whole.Servers) > 0 {
				t.Fatalf("no bridge to\n%s", text)
			}
			continue
		}
		half := Compare(before, Parse(bridge, before))
		if half.Reload != "" || len(half.Servers) == 0 {
			t.Fatalf("the bridge needs a reload (%s) or is none, on the way to\n%s", half.Reload, text)
		}
		if rest := Compare(Parse(bridge, nil), after); rest.Reload != whole.Reload {
			t.Fatalf("after the bridge the reload is for %q, before it was for %q", rest.Reload, whole.Reload)
		}
		if whole.Reload == "" && fmt.Sprint(half.Servers) != fmt.Sprint(whole.Servers) {
			t.Fatalf("the bridge changes %v, the whole %v", half.Servers, whole.Servers)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(base))
	f.Add([]byte("global#x\n\"backend\"\n backend a\\\nserver\nserver a\n"))
	f.Add([]byte("defaults from x\nbackend\nlisten x from\n server a b weight"))
	f.Fuzz(func(t *testing.T, content []byte) {
		c := Parse(content, nil)
		var text strings.Builder
		text.WriteString(c.top)
		for _, s := range c.sections {
			text.WriteString(s.raw)
		}
		if text.String() != string(content) {
			t.Errorf("the sections of %q make up %q", content, text.String())
		}
		if d := Compare(c, Parse(content, nil)); d.Reload != "" || d.Reason != "" {
			t.Errorf("%q differs from itself: %+v", content, d)
		}
		for _, name := range c.Backends() {
			c.Backend(name).Complete()
		}
	})
}

// BenchmarkParseAfterOneChange parses and compares a document with one changed server. It is compared with parsing all of it.
func BenchmarkParseAfterOneChange(b *testing.B) {
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "frontend f%d\n\tbind :%d\n\tdefault_backend f%d\nbackend f%d\n", i, i, i, i)
		for j := range 20 {
			fmt.Fprintf(&text, "\tserver s%d 10.0.0.%d:%d\n", j, j, i+1)
		}
	}
	before := Parse([]byte(text.String()), nil)
	changed := []byte(strings.Replace(text.String(), "server s3 10.0.0.3:200\n", "server s3 10.0.0.4:200\n", 1))
	for b.Loop() {
		if c := Compare(before, Parse(changed, before)); c.Reload != "" || len(c.Servers) != 1 {
			b.Fatal(c)
		}
	}
	incremental := b.Elapsed() / time.Duration(b.N)
	b.StopTimer()
	const parsings = 5
	began := time.Now()
	for range parsings {
		Compare(before, Parse(changed, nil))
	}
	b.ReportMetric(float64(time.Since(began)/parsings)/float64(incremental), "whole/this")
}

// TestCompare_Pairs compares small configurations.
func TestCompare_Pairs(t *testing.T) {
	for _, test := range []struct{ name, before, after, reload string }{
		{"disabled backend", "backend b\n disabled\n server x 1.1.1.1:1\n", "backend b\n disabled\n server x 1.1.1.1:2\n",
			"backend b: its servers differ, and the backend is disabled"},
		{"disabled by defaults", "defaults\n disabled\nbackend b\n",
			"defaults\n disabled\nbackend b\n server x 1.1.1.1:2\n",
			"backend b: its servers differ, and the backend is disabled"},
		{"enabled again", "defaults\n disabled\nbackend b\n enabled\n",
			"defaults\n disabled\nbackend b\n enabled\n server x 1.1.1.1:2\n", ""},
		{"external checks", "defaults\n option external-check\nbackend b\n",
			"defaults\n option external-check\nbackend b\n server x 1.1.1.1:1\n",
			"backend b: server x added, and the backend has external checks"},
		{"a backup before another one", "backend b\n server y 1.1.1.1:1 backup\n",
			"backend b\n server x 1.1.1.1:2 backup\n server y 1.1.1.1:1 backup\n",
			"backend b: the order of backup servers changed, and the first one counts"},
		{"a backup behind another one", "backend b\n server y 1.1.1.1:1 backup\n",
			"backend b\n server y 1.1.1.1:1 backup\n server x 1.1.1.1:2 backup\n", ""},
		{"backups that all count", "backend b\n option allbackups\n server y 1.1.1.1:1 backup\n",
			"backend b\n option allbackups\n server x 1.1.1.1:2 backup\n server y 1.1.1.1:1 backup\n", ""},
		{"order and address under a hash", "backend b\n balance source\n server a 1.1.1.1:1\n server b 1.1.1.1:2\n",
			"backend b\n balance source\n server b 1.1.1.1:3\n server a 1.1.1.1:1\n",
			"backend b: the order of servers changed, and with balance source the order of servers matters"},
		{"a line that is not understood, behind another default",
			"backend b\n server x 1.1.1.1:1 track y\n default-server check\n",
			"backend b\n default-server check\n server x 1.1.1.1:1 track y\n",
			"backend b: server x: its line changed and has the option track"},
		{"another address, and a long wait for its check", "backend b\n server x 1.1.1.1:1 check downinter 1h\n",
			"backend b\n server x 1.1.1.1:2 check downinter 1h\n",
			"backend b: server x: its address changed or it is enabled, and its next check at run time may come late"},
		{"enabled, and a long wait for its check", "backend b\n server x 1.1.1.1:1 check downinter 1h disabled\n",
			"backend b\n server x 1.1.1.1:1 check downinter 1h\n",
			"backend b: server x: its address changed or it is enabled, and its next check at run time may come late"},
		{"disabled, and a long wait for its check", "backend b\n server x 1.1.1.1:1 check downinter 1h\n",
			"backend b\n server x 1.1.1.1:1 check downinter 1h disabled\n", ""},
		{"the order of TLS versions", "backend b\n server x 1.1.1.1:1 ssl force-tlsv13 force-tlsv12\n",
			"backend b\n server x 1.1.1.1:1 ssl force-tlsv12 force-tlsv13\n",
			"backend b: server x: the order of its options changed"},
		{"the last of two that exclude each other", "backend b\n default-server ssl-reuse\n server x 1.1.1.1:1 no-ssl-reuse\n",
			"backend b\n default-server ssl-reuse\n server x 1.1.1.1:1\n",
			"backend b: server x: option no-ssl-reuse removed"},
	} {
		before := Parse([]byte(test.before), nil)
		if got := Compare(before, Parse([]byte(test.after), before)); got.Reload != test.reload || got.Reason == "" {
			t.Errorf("%s: reload %q, reason %q, want reload %q", test.name, got.Reload, got.Reason, test.reload)
		}
	}
}

func TestBackends_KnownServers(t *testing.T) {
	for config, want := range map[string]string{
		"backend a\n server x 1.1.1.1:1\nlisten b\nfrontend c\n": "[a b]",
		"backend a\n disabled\nbackend b\n":                      "[b]",
		"backend \"a\"\nbackend b\n":                             "[a b]",
		"backend \"$A\"\nbackend b\n":                            "[b]",
		"backend a\n server \"$A\" 1.1.1.1:1\nbackend b\n":       "[b]",
	} {
		if got := fmt.Sprint(Parse([]byte(config), nil).Backends()); got != want {
			t.Errorf("%q has %s, want %s", config, got, want)
		}
	}
}

func TestDifferentOptions(t *testing.T) {
	for _, test := range []struct{ old, now, want string }{
		{"check fall 3 inter 2s", "check fall 4 inter 3s", "option fall changed from 3 to 4; option inter changed from 2s to 3s"},
		{"check fall 3 rise 3", "check fall 3 rise 4", "option rise changed from 3 to 4"},
		{"check fall 3", "check fall 3 rise 3", "option rise 3 added"},
		{"check ssl", "check", "option ssl removed"},
		{"check", "ssl", "option ssl added, option check removed"},
		{"a b", "b a", "the order of its options changed"},
	} {
		if got := differentOptions(test.old, test.now); got != test.want {
			t.Errorf("%q and %q: got %q, want %q", test.old, test.now, got, test.want)
		}
	}
}
