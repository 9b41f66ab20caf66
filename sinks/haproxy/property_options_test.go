package haproxy

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// An optionPool is the options of server lines that the HAProxy under test accepts.
type optionPool struct{ usual, rare, unknown []string }

// poolOfAll are options of every kind: usual ones, which most changes are about, rare ones of syntax.serverOptions, and
// those that are not in that table. {n} and {h} stand for numbers of the server's own, {main} and {other} for the
// recorder's ports, {port} for a port without a listener, {dir} for a directory with certificates.
var poolOfAll = optionPool{
	usual: []string{
		"check", "check inter 200ms", "check inter 300ms", "check inter 200ms downinter 50s", "check inter 50s", "no-check",
		"backup", "no-backup", "ssl", "ssl verify none", "no-ssl", "check-ssl", "no-check-ssl",
		"check ssl verify none inter 200ms",
		"send-proxy", "no-send-proxy", "send-proxy-v2", "no-send-proxy-v2", "check-send-proxy", "check send-proxy inter 200ms",
		"check send-proxy-v2 inter 250ms", "port {other}", "port {port}", "addr 127.1.200.{h}", "cookie c{n}",
		"check inter 200ms observe layer7", "rise 4", "fall 7", "weight 0", "weight 3", "maxconn 20", "disabled", "enabled",
		"sni str(a.example)", "alpn h2,http/1.1", "slowstart 10s", "inter 200ms", "pool-max-conn 0",
	},
	rare: []string{
		"ca-file {dir}/client.pem", "verify required ca-file {dir}/client.pem", "verify required ca-file {dir}/server.pem",
		"verify none", "verifyhost a.example", "no-verifyhost", "sni str(b.example)", "check-sni c.example", "alpn http/1.1",
		"check-alpn http/1.1", "check-alpn h2", "proto h2", "proto h1", "check-proto h2", "check-proto h1",
		"crt {dir}/client.pem",
		"ciphers ECDHE-ECDSA-AES128-GCM-SHA256", "ciphersuites TLS_AES_128_GCM_SHA256", "npn http/1.1",
		"force-tlsv12", "force-tlsv13", "force-tlsv11", "ssl-min-ver TLSv1.2", "ssl-min-ver TLSv1.3", "ssl-max-ver TLSv1.2",
		"ssl-max-ver TLSv1.3", "no-tlsv13", "no-tlsv12", "no-tlsv11", "no-tlsv10", "no-sslv3", "force-sslv3", "force-tlsv10",
		"no-tls-tickets", "tls-tickets", "ssl-reuse", "no-ssl-reuse", "allow-0rtt", "send-proxy-v2-ssl", "send-proxy-v2-ssl-cn",
		"proxy-v2-options ssl,cert-cn", "proxy-v2-options crc32c", "proxy-v2-options unique-id",
		"proxy-v2-options authority,crc32c",
		"send-proxy-v2 proxy-v2-options crc32c", "maxqueue 5", "minconn 5", "maxconn 20 minconn 5", "fastinter 100ms",
		"downinter 100ms", "downinter 50s", "error-limit 3", "on-error mark-down", "on-error fastinter",
		"check inter 50s observe layer7 error-limit 2 on-error mark-down", "observe layer4", "observe none",
		"on-marked-down shutdown-sessions", "on-marked-down none", "on-marked-up shutdown-backup-sessions", "pool-max-conn 2",
		"pool-max-conn -1", "pool-low-conn 2", "pool-purge-delay 2s", "max-reuse 0", "max-reuse 2", "tcp-ut 5s", "tfo", "no-tfo",
		"ws h1", "ws auto", "log-proto legacy", "init-addr none", "init-addr last,libc,none", "resolve-prefer ipv4",
		"resolve-net 127.0.0.0/8", "resolve-opts allow-dup-ip", "check-via-socks4", `"check"`, `sni "str(a.example)"`,
		`weight "3"`,
	},
	unknown: []string{
		"no-send-proxy-v2-ssl", "no-send-proxy-v2-ssl-cn", "no-check-send-proxy", "source 127.1.250.1", "source 127.1.250.2",
		"id 4{n}", "shard 1", "guid g{n}", "hash-key addr", "hash-key id", "init-state down", "init-state up",
		"pool-conn-name str(x)", "check-reuse-pool", "no-check-reuse-pool", "check-pool-conn-name x", "idle-ping 10s",
		"strict-maxconn maxconn 3", "stick", "non-stick", "redir http://elsewhere", "socks4 127.1.200.{h}:{port}",
		"agent-check agent-port {other} agent-inter 300ms",
		"agent-check agent-addr 127.1.200.{h} agent-port {port} agent-inter 50s",
		"no-agent-check", `agent-send "x"`, "sigalgs ECDSA+SHA256", "client-sigalgs ECDSA+SHA256", "curves P-256",
		"set-proxy-v2-tlv-fmt(0xe1) str(x)", "set-proxy-v2-tlv-fmt(0xe2) str(y)", "log-bufsize 100",
	},
}

// writeCertificates writes the files that options name.
func (r *testEnv) writeCertificates() (server []byte) {
	r.t.Helper()
	server = certificate(r.t)
	check(r.t, os.WriteFile(r.path("server.pem"), server, 0o600))
	check(r.t, os.WriteFile(r.path("client.pem"), certificate(r.t), 0o600))
	return server
}

var refusedLine = regexp.MustCompile(`options\.cfg:(\d+)\]`)

// takenBy returns the options that the HAProxy under test accepts. HAProxy reports all lines that it rejects at once.
func (p optionPool) takenBy(r *testEnv, values *strings.Replacer) optionPool {
	r.t.Helper()
	all := slices.Concat(p.usual, p.rare, p.unknown)
	const before = 4
	config := "global\n ssl-server-verify none\nbackend b\n mode http\n"
	for i, option := range all {
		option = strings.NewReplacer("{n}", "1", "{h}", "1").Replace(values.Replace(option))
		config += fmt.Sprintf(" server x%d 127.0.0.1:1 %s\n", i, option)
	}
	check(r.t, os.WriteFile(r.path("options.cfg"), []byte(config), 0o600))
	output, _ := exec.Command(r.cfg.Binary, "-c", "-f", r.path("options.cfg")).CombinedOutput()
	refused := map[string]bool{}
	for _, line := range strings.Split(string(output), "\n") {
		if match := refusedLine.FindStringSubmatch(line); match != nil && strings.Contains(line, "ALERT") {
			var number int
			_, err := fmt.Sscan(match[1], &number)
			check(r.t, err)
			refused[all[number-before-1]] = true
		}
	}
	r.t.Logf("HAProxy takes none of %v", refused)
	return optionPool{without(p.usual, refused), without(p.rare, refused), without(p.unknown, refused)}
}

func without(options []string, refused map[string]bool) []string {
	var taken []string
	for _, option := range options {
		if !refused[option] {
			taken = append(taken, option)
		}
	}
	return taken
}
