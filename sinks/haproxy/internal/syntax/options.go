package syntax

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An option describes a keyword of a server line.
type option struct {
	arguments int
	group     string // the group that it belongs to, if its position among others matters or they accumulate
	resets    string // the option that it resets to its default
	static    bool   // "add server" does not accept it in each version from 2.6 on, or its effect in its group is unknown
	unclear   bool   // not understood, so that a change of the line needs a reload
}

// Groups of options. Of any other option the last one on the line counts.
const (
	groupTLS     = "tls"     // "ssl" applies global defaults that others override, and of the versions the last one counts
	groupProxy   = "proxy"   // each adds to the PROXY header
	groupResolve = "resolve" // each adds to the requirements for an address
)

var (
	flag        = option{}
	value       = option{arguments: 1}
	staticValue = option{arguments: 1, static: true}
	tlsFlag     = option{group: groupTLS}
	tlsValue    = option{arguments: 1, group: groupTLS}
	tlsOff      = option{group: groupTLS, static: true}
	proxyFlag   = option{group: groupProxy}
	proxyValue  = option{arguments: 1, group: groupProxy}
	proxyOff    = option{group: groupProxy, static: true}
	resolve     = option{arguments: 1, group: groupResolve, static: true}
	unclear     = option{unclear: true}
)

// serverOptions are all options of server lines that HAProxy 2.6 to 3.4 list with -dKcfg.
var serverOptions = map[string]option{
	"allow-0rtt": flag, "backup": flag, "check": flag, "check-send-proxy": flag, "check-via-socks4": flag, "disabled": flag,
	"no-ssl-reuse": flag, "tfo": flag,

	"addr": value, "alpn": value, "ca-file": value, "check-alpn": value, "check-proto": value, "check-sni": value,
	"ciphersuites": value, "crl-file": value, "crt": value, "downinter": value, "error-limit": value, "fall": value,
	"fastinter": value, "inter": value, "maxconn": value, "maxqueue": value, "minconn": value, "npn": value, "observe": value,
	"on-error": value, "on-marked-down": value, "on-marked-up": value, "pool-low-conn": value, "pool-max-conn": value,
	"pool-purge-delay": value, "port": value, "proto": value, "rise": value, "slowstart": value, "sni": value, "verify": value,
	"verifyhost": value, "weight": value, "ws": value,

	"cookie": staticValue, "init-addr": staticValue, "log-proto": staticValue, "max-reuse": staticValue,
	"resolve-prefer": staticValue, "resolvers": staticValue, "tcp-ut": staticValue,

	"enabled": {resets: "disabled"}, "no-backup": {resets: "backup"}, "no-check": {resets: "check"},
	"no-check-send-proxy": {resets: "check-send-proxy"}, "no-tfo": {resets: "tfo"}, "ssl-reuse": {resets: "no-ssl-reuse"},

	"check-ssl": tlsFlag, "ciphers": tlsValue, "force-sslv3": tlsFlag, "force-tlsv10": tlsFlag, "force-tlsv11": tlsFlag,
	"force-tlsv12": tlsFlag, "force-tlsv13": tlsFlag, "no-sslv3": tlsFlag, "no-tls-tickets": tlsFlag, "no-tlsv10": tlsFlag,
	"no-tlsv11": tlsFlag, "no-tlsv12": tlsFlag, "no-tlsv13": tlsFlag, "ssl": tlsFlag, "ssl-max-ver": tlsValue,
	"ssl-min-ver": tlsValue, "tls-tickets": tlsFlag,
	"no-check-ssl": tlsOff, "no-ssl": tlsOff, // they reset ciphers as well

	"proxy-v2-options": proxyValue, "send-proxy": proxyFlag, "send-proxy-v2": proxyFlag, "send-proxy-v2-ssl": proxyFlag,
	"send-proxy-v2-ssl-cn": proxyFlag,
	"no-send-proxy":        proxyOff, "no-send-proxy-v2": proxyOff, "no-send-proxy-v2-ssl": proxyOff,
	"no-send-proxy-v2-ssl-cn": proxyOff,

	"resolve-net": resolve, "resolve-opts": resolve,

	// These refer to other objects, name the server, or exist only in later versions.
	"agent-addr": unclear, "agent-check": unclear, "agent-inter": unclear, "agent-port": unclear, "agent-send": unclear,
	"cc": unclear, "check-pool-conn-name": unclear, "check-reuse-pool": unclear, "check-sni-auto": unclear,
	"client-sigalgs": unclear, "curves": unclear, "guid": unclear, "hash-key": unclear, "healthcheck": unclear, "id": unclear,
	"idle-ping": unclear, "init-state": unclear, "ktls": unclear, "log-bufsize": unclear, "namespace": unclear,
	"no-agent-check": unclear, "no-check-reuse-pool": unclear, "no-check-sni-auto": unclear, "no-renegotiate": unclear,
	"no-sni-auto": unclear, "non-stick": unclear, "pool-conn-name": unclear, "quic-cc-algo": unclear, "redir": unclear,
	"renegotiate": unclear, "set-proxy-v2-tlv-fmt": unclear, "shard": unclear, "sigalgs": unclear, "sni-auto": unclear,
	"socks4": unclear, "source": unclear, "stick": unclear, "strict-maxconn": unclear, "tcp-md5sig": unclear, "track": unclear,
	"usesrc": unclear,
}

// options are the effective options of a server: the arguments by keyword, and by group whole options in order.
type options map[string]string

// readOptions returns the effective options. An unknown keyword may have any number of arguments, so the words after it cannot be
// read.
func readOptions(words []string) (read options, problem string) {
	read = options{}
	for len(words) > 0 {
		keyword := words[0]
		o, known := serverOptions[keyword]
		switch {
		case !known || o.unclear:
			return nil, "has the option " + keyword
		case len(words) <= o.arguments:
			return nil, "ends after " + keyword
		case o.resets != "":
			delete(read, o.resets)
		case o.group != "":
			read[o.group] = strings.TrimSpace(read[o.group] + " " + strings.Join(words[:1+o.arguments], " "))
		default:
			read[keyword] = strings.Join(words[1:1+o.arguments], " ")
		}
		words = words[1+o.arguments:]
	}
	return read, ""
}

// String returns the options as HAProxy reads them. Equal strings mean equal options.
func (o options) String() string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if o.isGroup(key) {
			all = append(all, o[key])
		} else {
			all = append(all, strings.TrimSpace(key+" "+o[key]))
		}
	}
	return strings.Join(all, " ")
}

func (o options) isGroup(key string) bool {
	return key == groupTLS || key == groupProxy || key == groupResolve
}

func (o options) has(key string) bool {
	_, given := o[key]
	return given
}

// static returns the first option with which a server cannot be added at run time, or "" if there is none.
func (o options) static() string {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		words := []string{key}
		if o.isGroup(key) {
			words = strings.Split(o[key], " ")
		}
		for _, word := range words {
			if serverOptions[word].static {
				return word
			}
		}
	}
	return o.lateCheck()
}

// addCheckTransport adds what HAProxy implies for the checks of a server from a file and not of an added one: checks that go to
// the server's own port use TLS and a PROXY header if requests do.
func (o options) addCheckTransport() {
	port, err := strconv.Atoi(o["port"])
	if !o.has("check") || o.has("addr") || o.has("port") && (err != nil || port != 0) {
		return
	}
	tls := strings.Split(o[groupTLS], " ")
	isOff := func(word string) bool { return serverOptions[word].static }
	if slices.Contains(tls, "ssl") && !slices.Contains(tls, "check-ssl") && !slices.ContainsFunc(tls, isOff) {
		o[groupTLS] = "check-ssl " + o[groupTLS] // first, so that the options that override global defaults stay last
	}
	if o.has(groupProxy) && !slices.ContainsFunc(strings.Split(o[groupProxy], " "), isOff) {
		o["check-send-proxy"] = ""
	}
}

// raiseMaxConn makes maxconn at least minconn, as HAProxy does when it loads a file.
func (o options) raiseMaxConn() {
	least, err := strconv.Atoi(o["minconn"])
	if most, errMost := strconv.Atoi(o["maxconn"]); err == nil && (!o.has("maxconn") || errMost == nil && most < least) {
		o["maxconn"] = o["minconn"]
	}
}

// lateCheck returns the option because of which the first check of an added server comes later than that of a server from a
// file, or "" if there is none. HAProxy starts an added server as down, and one from a file as up until a check fails.
func (o options) lateCheck() string {
	if !o.has("check") {
		return ""
	}
	inter := cmp.Or(o["inter"], "2s")
	added, okAdded := delay(cmp.Or(o["downinter"], inter))
	loaded, okLoaded := delay(cmp.Or(o["fastinter"], inter))
	if o["fall"] == "1" {
		loaded, okLoaded = delay(inter)
	}
	switch {
	case okAdded && okLoaded && added <= loaded:
		return ""
	case o.has("downinter"):
		return "downinter"
	default:
		return "fastinter"
	}
}

// delay parses a time as HAProxy does: in milliseconds if it has no unit.
func delay(text string) (time.Duration, bool) {
	digits := strings.TrimRight(text, "usmhd")
	unit, known := map[string]time.Duration{
		"us": time.Microsecond, "": time.Millisecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour,
	}[text[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 32)
	return time.Duration(n) * unit, known && err == nil
}
