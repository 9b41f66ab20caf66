package haproxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// linesInConflict returns the pairs of lines, as "1 2".
func linesInConflict(config string) []string {
	var pairs []string
	for _, pair := range Conflicts([]sdk.File{{Name: "main", Content: []byte(config)}}) {
		pairs = append(pairs, fmt.Sprintf("%d %d", pair[0].Line, pair[1].Line))
	}
	return pairs
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	const quic = "quic4@"
	for _, test := range []struct{ one, other string }{
		{":80", ":80"}, {"*:80", "127.0.0.1:80"}, {"127.0.0.1:80", "0.0.0.0:80"}, {":80-90", ":85"}, {":85", ":80-90"},
		{":80-90", ":85-95"}, {"127.0.0.1:81,127.0.0.1:80", ":80"}, {"[::1]:80", ":::80"}, {"*:80", ":::80"},
		{"*:80", "[::]:80 v4v6"},
		{"1.2.3.4:80", "::ffff:1.2.3.4:80"}, {quic + ":443 ssl crt x", quic + "127.0.0.1:443"}, {"/run/x", "unix@/run/x"},
		{":80 ssl crt /x", "\"*:80\""}, {":80 interface eth0", ":80"}, {":80 interface eth0", ":80 interface eth0"},
		{":80 namespace blue", ":80 namespace blue"}, {"ipv4@1.2.3.4:80", "tcp4@1.2.3.4:80"},
	} {
		config := "frontend a\n bind " + test.one + "\n\tlisten\tb\n\n\tbind\t" + test.other + "\n"
		if diff := cmp.Diff([]string{"2 5"}, linesInConflict(config)); diff != "" {
			t.Errorf("%v (-want +got)\n%s", test, diff)
		}
	}
	for _, test := range []struct{ one, other string }{
		{":80", ":81"}, {"1.2.3.4:80", "1.2.3.5:80"}, {"*:80", "[::1]:80"}, {"*:80", ":::80 v6only"}, {":443", quic + ":443"},
		{":80-90", ":91"}, {":80 interface eth0", ":80 interface eth1"}, {":80 namespace blue", ":80"}, {"/run/x", "/run/y"},
		{"${A}:80", "${A}:80"}, {"name:80", "name:80"}, {":80", "fd@3"},
	} {
		config := "frontend a\n bind " + test.one + "\nlisten b\n bind " + test.other + "\n"
		if got := linesInConflict(config); got != nil {
			t.Errorf("%v: %v", test, got)
		}
	}
}

func TestConflicts_OtherSectionsListenToo(t *testing.T) {
	t.Parallel()
	const config = `global
 stats socket ipv4@127.0.0.1:9000 level admin
 stats socket /run/x.sock
frontend a
 bind 127.0.0.1:9000
 bind /run/x.sock
 bind quic4@:514
peers p
 bind :9001
log-forward l
 dgram-bind :514
 bind :9001
frontend b
 bind :9002 thread 1
 bind :9002 thread 2
# bind :9000
`
	if diff := cmp.Diff([]string{"2 5", "7 11", "9 12"}, linesInConflict(config)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func BenchmarkConflicts(b *testing.B) {
	var text strings.Builder
	for s := range 500 {
		fmt.Fprintf(&text, "\nfrontend s%d-in\n\tmode http\n\tbind 0.0.0.0:%d\n\tdefault_backend s%d\n", s, 10000+s, s)
		fmt.Fprintf(&text, "\nbackend s%d\n\tmode http\n", s)
		for i := range 20 {
			fmt.Fprintf(&text, "\tserver h%d-%d 10.0.0.%d:8080\n", s, i, i)
		}
	}
	files := []sdk.File{{Name: "main", Content: []byte(text.String())}}
	for b.Loop() {
		if Conflicts(files) != nil {
			b.Fatal("conflicts")
		}
	}
}
