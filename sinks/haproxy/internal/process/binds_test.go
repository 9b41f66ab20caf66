package process

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/listen"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// takenLines returns the lines of config that are rejected.
func takenLines(t *testing.T, config string, own []listen.Address, others []socketHolder) []int {
	t.Helper()
	err := checkBinds(t.Context(), stage.File{Name: "main", Content: []byte(config)}, own, others)
	if err == nil {
		return nil
	}
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	retry, again := errors.AsType[*sdk.RetryError](err)
	if !ok || rejection.Temporary || !again || retry.After != bindRetry {
		t.Errorf("got %v", err)
	}
	var lines []int
	for _, p := range rejection.Positions {
		lines = append(lines, p.Line)
	}
	return lines
}

func TestCheckBinds_TriesOneFamily(t *testing.T) {
	listener, err := net.Listen("tcp6", "[::1]:0")
	check(t, err)
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if got := takenLines(t, "frontend f\n bind :"+port+"\n", nil, nil); got != nil {
		t.Errorf("only the other family is taken: %v", got)
	}
	if got := takenLines(t, "frontend f\n bind :::"+port+"\n bind [::1]:"+port+"\n", nil, nil); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("got %v", got)
	}
}

func TestCheckBinds_TriesNewAddresses(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	address := listener.Addr().String()
	_, text, _ := net.SplitHostPort(address)
	port, err := strconv.Atoi(text)
	check(t, err)
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	check(t, err)
	defer packets.Close()
	_, udp, _ := net.SplitHostPort(packets.LocalAddr().String())

	config := "frontend f\n bind " + address + "\n"
	own := listen.Addresses([]byte(config))
	for name, test := range map[string]struct {
		config string
		own    []listen.Address
		others []socketHolder
		want   []int
	}{
		"taken":                      {config: config, want: []int{2}},
		"several lines":              {config: "frontend e\n bind 127.0.0.1:0\n" + config + " bind *:" + text, want: []int{4, 5}},
		"in a range":                 {config: fmt.Sprintf("frontend f\n bind 127.0.0.1:%d-%d\n", port-1, port), want: []int{2}},
		"over UDP":                   {config: "frontend f\n bind quic4@127.0.0.1:" + udp, want: []int{2}},
		"UDP is something else":      {config: "frontend f\n bind quic4@" + address},
		"on an interface":            {config: "frontend f\n bind *:" + text + " interface eth0\n"},
		"not on this machine":        {config: "frontend f\n bind 192.0.2.1:1\n", want: []int{2}},
		"our own":                    {config: config, own: own},
		"our own under another name": {config: "frontend f\n bind :" + text + "\n", own: own},
		"another process's beside our own": {config: "frontend f\n bind :" + text + "\n", own: own,
			others: []socketHolder{{procinfo.Socket{Address: listen.Address{Network: listen.TCP,
				Host: netip.MustParseAddr("127.0.0.2"), Low: uint16(port), High: uint16(port)}}}}, want: []int{2}},
	} {
		if got := takenLines(t, test.config, test.own, test.others); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	check(t, listener.Close())
	if got := takenLines(t, config, nil, nil); got != nil {
		t.Errorf("what is free: %v", got)
	}
}
