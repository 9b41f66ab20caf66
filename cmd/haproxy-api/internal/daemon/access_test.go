package daemon

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

func TestWarnOpenPush(t *testing.T) {
	everywhere, here := &net.TCPAddr{IP: net.IPv4zero, Port: 7778}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7778}
	for _, test := range []struct {
		name   string
		api    config.API
		at     net.Addr
		warned bool
	}{
		{"nothing", config.API{}, everywhere, true},
		{"TLS alone", config.API{TLSCert: "c", TLSKey: "k"}, everywhere, true},
		{"cors alone", config.API{CORSOrigins: []string{"*"}}, everywhere, true},
		{"IPv6", config.API{}, &net.TCPAddr{IP: net.IPv6unspecified}, true},
		{"loopback", config.API{}, here, false},
		{"loopback of IPv6", config.API{}, &net.TCPAddr{IP: net.IPv6loopback}, false},
		{"token", config.API{UpdateToken: "t"}, everywhere, false},
		{"networks", config.API{AllowFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, everywhere, false},
		{"client certificates", config.API{TLSCert: "c", TLSKey: "k", ClientCA: "a"}, everywhere, false},
	} {
		var log bytes.Buffer
		warnOpenPush(test.api, test.at, slog.New(slog.NewTextHandler(&log, nil)))
		if (log.Len() > 0) != test.warned || test.warned && !strings.Contains(log.String(), "haproxy_api.update_token") {
			t.Errorf("%s: logged %q", test.name, log.String())
		}
	}
}
