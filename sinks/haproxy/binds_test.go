package haproxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/listen"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// takenLines returns the lines of config that are rejected.
func takenLines(t *testing.T, config string, own []listen.Address, others []holder) []int {
	t.Helper()
	err := rejectTaken(t.Context(), stage.File{Name: "main", Content: []byte(config)}, own, others)
	if err == nil {
		return nil
	}
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	retry, again := errors.AsType[*sdk.RetryError](err)
	if !ok || rejection.Temporary || !again || retry.After != recheckBinds {
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

func TestCheckBinds_TriesWhatIsNew(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	address := listener.Addr().String()
	_, text, _ := net.SplitHostPort(address)
	port := atoi(text)
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	check(t, err)
	defer packets.Close()
	_, udp, _ := net.SplitHostPort(packets.LocalAddr().String())

	config := "frontend f\n bind " + address + "\n"
	own := listen.Addresses([]byte(config))
	for name, test := range map[string]struct {
		config string
		own    []listen.Address
		others []holder
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
		"somebody else's beside our own": {config: "frontend f\n bind :" + text + "\n", own: own,
			others: []holder{{address: listen.Address{Network: "tcp", Host: netip.MustParseAddr("127.0.0.2"), Low: uint16(port),
				High: uint16(port)}}}, want: []int{2}},
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

// What others have is known from the system, HAProxy's own listeners aside.
func TestListening_TellsOthersFromOurOwn(t *testing.T) {
	r := newRig(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	port, free := occupy(t)
	defer free()
	others, own, err := s.paths.listening(s.state.Load().running, s.cfg.Binary)
	check(t, err)
	has := func(port int) func(listen.Address) bool {
		return func(a listen.Address) bool { return a.Network == "tcp" && int(a.Low) == port }
	}
	if !slices.ContainsFunc(own, has(r.port)) || slices.ContainsFunc(own, has(port)) {
		t.Errorf("our own: %v", own)
	}
	i := slices.IndexFunc(others, func(h holder) bool { return has(port)(h.address) })
	if i < 0 || !strings.Contains(others[i].Error(), fmt.Sprintf("process %d (", os.Getpid())) {
		t.Errorf("others: %v", others)
	}
}

// A service that asks for what another program has is named, and the rest goes live without it.
func TestApply_TakenAddressHasAPlace(t *testing.T) {
	inEachMode(t, func(t *testing.T, r *rig, document func(name string, more ...string) sdk.Document) {
		s := r.sink()
		port, free := occupy(t)
		bad := func(name string) sdk.Document {
			return document(name, "frontend more", fmt.Sprintf(" bind 127.0.0.1:%d", port), " default_backend app")
		}
		if r.cfg.ReloadCmd == "" { // else nobody knows where the first one will listen
			wantTaken(t, s, bad("one"), port)
		}
		r.apply(s, document("one"), sdk.ActionRestart)
		wantTaken(t, s, bad("two"), port)
		r.wantServed("one")
		r.apply(s, document("two"), sdk.ActionReload)
		r.wantServed("two")
		free()
		r.apply(s, bad("three"), sdk.ActionReload)
		r.wantServed("three")
	})
}

func wantTaken(t *testing.T, s *Sink, doc sdk.Document, port int) {
	t.Helper()
	_, err := s.Apply(t.Context(), doc)
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) != 1 || !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("got %v", err)
	}
	line := strings.Split(string(doc.Files[0].Content), "\n")[rejection.Positions[0].Line-1]
	if want := fmt.Sprintf(" bind 127.0.0.1:%d", port); line != want {
		t.Errorf("line %q, want %q", line, want)
	}
}

// A command may start HAProxy in a network namespace that has other addresses.
func TestAddressesOfAnotherNetworkNamespace(t *testing.T) {
	r := newRig(t)
	r.older()
	r.cfg.ReloadCmd = "unshare -rn " + r.cfg.ReloadCmd
	port, _ := occupy(t)
	other, _ := occupy(t)
	config := fmt.Sprintf("global\n    daemon\nlisten f\n    bind *:%d\n    timeout client 1s\n    timeout connect 1s\n"+
		"    timeout server 1s\n", port)
	s := r.sink()
	s.observeEvery = tick
	r.apply(s, documentOf(config), sdk.ActionRestart)
	r.apply(s, documentOf(config+fmt.Sprintf("    bind *:%d\n", other)), sdk.ActionReload)
	eventually(t, "conflicts were looked for", func() bool {
		return s.observedTimes() > 1
	})
	wantHealthy(t, s)
}

// The first document is left to the command, since nobody knows where it starts HAProxy.
func TestAnAddressThatIsNotOurs(t *testing.T) {
	r := newRig(t)
	config := strings.ReplaceAll(string(r.daemon("one").Files[0].Content), "bind 127.0.0.1", "bind 192.0.2.1")
	r.older()
	elsewhere := r.path("elsewhere.cfg")
	r.cfg.ReloadCmd = fmt.Sprintf("sed s/192.0.2.1/127.0.0.1/ %s >%s; %s", r.cfg.ConfigFile, elsewhere,
		strings.ReplaceAll(r.cfg.ReloadCmd, r.cfg.ConfigFile, elsewhere))
	s := r.sink()
	r.apply(s, documentOf(config), sdk.ActionRestart)
	r.wantServed("one")

	port, free := occupy(t)
	more := documentOf(config + fmt.Sprintf("frontend more\n    bind 127.0.0.1:%d\n", port))
	_, err := s.Apply(t.Context(), more) // by now it is known
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	free()
	r.apply(s, more, sdk.ActionReload)
}
