package syntax

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// haproxy returns the HAProxy to test with.
func haproxy() string { return cmp.Or(os.Getenv("TEST_HAPROXY"), "haproxy") }

// temporary writes a file whose path is short enough for a socket beside it.
func temporary(t *testing.T, name, content string) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const minimal = "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\nfrontend f\n bind 127.0.0.1:1\n"

// Each option that HAProxy has is in the table, and each that is understood is one of HAProxy's.
func TestServerOptions_EqualHAProxysList(t *testing.T) {
	output, err := exec.Command(haproxy(), "-dKcfg", "-q", "-c", "-f", temporary(t, "cfg", minimal)).Output()
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(output)) {
		words := strings.Fields(line)
		if len(words) < 4 || words[0] != "server" || words[1] != "<name>" {
			continue
		}
		keyword, arguments := words[3], 0
		if len(words) > 4 {
			if arguments, err = strconv.Atoi(strings.TrimPrefix(words[4], "+")); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
		listed[keyword] = true
		o, known := serverOptions[keyword]
		if !known || !o.unclear && o.arguments != arguments {
			t.Errorf("HAProxy has %q, the table %+v", strings.TrimSpace(line), o)
		}
	}
	for keyword, o := range serverOptions {
		if !o.unclear && !listed[keyword] {
			t.Errorf("HAProxy has no option %s", keyword)
		}
		if r := o.resets; r != "" && !listed[r] {
			t.Errorf("%s takes back %s, which HAProxy does not have", keyword, r)
		}
	}
}

// examples are arguments of options, and what they need beside them.
var examples = map[string]string{
	"addr": "127.0.0.1", "alpn": "h2,http/1.1", "check-alpn": "h2", "check-proto": "h2", "check-sni": "x",
	"check-ssl": "verify none", "ciphers": "ECDHE-RSA-AES128-GCM-SHA256", "ciphersuites": "TLS_AES_128_GCM_SHA256",
	"downinter": "1m", "error-limit": "3", "fall": "2", "fastinter": "1s", "inter": "1s", "maxconn": "3",
	"maxqueue": "3", "minconn": "3", "npn": "h2", "observe": "layer7", "on-error": "mark-down",
	"on-marked-down": "shutdown-sessions", "on-marked-up": "shutdown-backup-sessions", "pool-low-conn": "3",
	"pool-max-conn": "3", "pool-purge-delay": "3s", "port": "3", "proto": "h2", "proxy-v2-options": "crc32c", "rise": "3",
	"slowstart": "3s", "sni": "str(x)", "ssl": "verify none", "ssl-max-ver": "TLSv1.3", "ssl-min-ver": "TLSv1.2",
	"verify": "none", "verifyhost": "x", "weight": "3", "ws": "h1",
}

// "add server" accepts each option that is not static. It accepts an option with a file if HAProxy has loaded the file.
func TestServerOptions_AddServerAcceptsNonStatic(t *testing.T) {
	path := temporary(t, "cfg", "global\n stats socket unix@@socket level admin\n"+minimal+
		"backend b\n mode http\n option httpchk\n")
	socket := filepath.Join(filepath.Dir(path), "socket")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("unix@@socket", socket, "frontend f\n bind 127.0.0.1:1\n", "").Replace(string(config))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	command := exec.CommandContext(ctx, haproxy(), "-db", "-f", path)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = command.Wait()
	}()
	for i, keyword := range slices.Sorted(maps.Keys(serverOptions)) {
		o := serverOptions[keyword]
		if o.unclear || o.static || o.resets != "" || slices.Contains([]string{"ca-file", "crl-file", "crt"}, keyword) {
			continue
		}
		answer, err := ask(ctx, socket, fmt.Sprintf("add server b/s%d 127.0.0.1:1 %s %s", i, keyword, examples[keyword]))
		if err != nil {
			t.Fatal(err)
		}
		if answer != "New server registered." {
			t.Errorf("%s: HAProxy answered %q", keyword, answer)
		}
	}
}

// ask sends one command to HAProxy, as soon as it listens.
func ask(ctx context.Context, socket, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if ctx.Err() != nil {
			return "", errors.Join(err, ctx.Err())
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, command+"\n"); err != nil {
			return "", err
		}
		answer, err := io.ReadAll(conn)
		return strings.TrimSpace(string(answer)), err
	}
}

func TestReadOptions(t *testing.T) {
	for _, test := range []struct{ line, want, static string }{
		// The last one counts, in any order.
		{"rise 2 inter 1s rise 3", "inter 1s rise 3", ""},
		{"backup no-backup tfo no-tfo no-ssl-reuse ssl-reuse check no-check", "", ""},
		{"disabled enabled no-check-send-proxy check-send-proxy no-check-send-proxy", "", ""},

		// Options that accumulate or whose order matters are unchanged.
		{"proxy-v2-options crc32c proxy-v2-options ssl", "proxy-v2-options crc32c proxy-v2-options ssl", ""},
		{"force-tlsv13 rise 3 force-tlsv12", "rise 3 force-tlsv13 force-tlsv12", ""},
		{"force-tlsv12 force-tlsv13", "force-tlsv12 force-tlsv13", ""},
		{"ssl-min-ver TLSv1.2 no-tlsv13", "ssl-min-ver TLSv1.2 no-tlsv13", ""},
		{"tls-tickets ssl no-tls-tickets", "tls-tickets ssl no-tls-tickets", ""},

		// Checks use the transport of requests.
		{"check ssl", "check check-ssl ssl", ""},
		{"check ssl check-ssl", "check ssl check-ssl", ""},
		{"ssl", "ssl", ""},
		{"check ssl port 0", "check port 0 check-ssl ssl", ""},
		{"check ssl port 1", "check port 1 ssl", ""},
		{"check ssl addr 1.1.1.1 send-proxy", "addr 1.1.1.1 check send-proxy ssl", ""},
		{"check send-proxy", "check check-send-proxy send-proxy", ""},
		{"check proxy-v2-options ssl", "check check-send-proxy proxy-v2-options ssl", ""},

		// A negation does not mean that the option is not set.
		{"check ssl no-check-ssl", "check ssl no-check-ssl", "no-check-ssl"},
		{"check ssl no-ssl", "check ssl no-ssl", "no-ssl"},
		{"check send-proxy no-send-proxy", "check send-proxy no-send-proxy", "no-send-proxy"},

		// Each version has to accept the options of an added server.
		{"max-reuse 3", "max-reuse 3", "max-reuse"},
		{"tcp-ut 3s", "tcp-ut 3s", "tcp-ut"},
		{"log-proto legacy", "log-proto legacy", "log-proto"},

		// maxconn is at least minconn.
		{"minconn 3", "maxconn 3 minconn 3", ""},
		{"minconn 3 maxconn 2", "maxconn 3 minconn 3", ""},
		{"minconn 3 maxconn 4", "maxconn 4 minconn 3", ""},

		// The first check must not come later.
		{"check downinter 3s", "check downinter 3s", "downinter"},
		{"check downinter 2000", "check downinter 2000", ""},
		{"check downinter 1m inter 60s", "check downinter 1m inter 60s", ""},
		{"check downinter 1m inter 60s fastinter 1s", "check downinter 1m fastinter 1s inter 60s", "downinter"},
		{"check fastinter 1s", "check fastinter 1s", "fastinter"},
		{"check fastinter 1s fall 1", "check fall 1 fastinter 1s", ""},
		{"check downinter x", "check downinter x", "downinter"},
		{"downinter 3s", "downinter 3s", ""},
	} {
		s := parseServer("server x 1.1.1.1:1 "+test.line, nil, false)
		if s.opaque != "" || s.Options != test.want || s.static != test.static {
			t.Errorf("%s: %q, static %q (%s), want %q, %q", test.line, s.Options, s.static, s.opaque, test.want, test.static)
		}
	}
}

func TestServer_Defaults(t *testing.T) {
	for line, want := range map[string]string{
		"":                                 "on-error fail-check error-limit 10 pool-max-conn -1 pool-purge-delay 5s",
		"maxconn 7 pool-max-conn 0":        "on-error fail-check error-limit 10 pool-purge-delay 5s minconn 7",
		"on-error mark-down minconn 3":     "error-limit 10 pool-max-conn -1 pool-purge-delay 5s",
		"error-limit 3 check-sni on-error": "on-error fail-check pool-max-conn -1 pool-purge-delay 5s",
	} {
		if got := parseServer("server x 1.1.1.1:1 "+line, nil, false).Defaults(); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// Servers do not inherit each option of default-server.
func TestServer_InheritedCheckProto(t *testing.T) {
	if s := parseServer("server x 1.1.1.1:1 check", []string{"check-proto", "h2"}, false); s.static != "check-proto" {
		t.Errorf("static %q", s.static)
	}
}
