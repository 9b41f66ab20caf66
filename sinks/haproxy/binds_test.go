package haproxy

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

func TestBindsOf(t *testing.T) {
	const config = `
frontend a
  bind 127.0.0.1:80
  bind :81 ssl crt /x.pem   # bind :99
  bind *:82,[::1]:83 , 
  bind ipv4@10.0.0.1:84
  bind ::1:85
backend b
  # bind :86
  server s 127.0.0.1:87
listen not-to-be-tried
  bind /run/x.sock
  bind abns@name
  bind unix@/run/y.sock
  bind fd@3
  bind :8000-8010
  bind "127.0.0.1:88"
  bind ${ADDRESS}:89
  bind name:90
  bind :91 interface eth0
  bind 127.0.0.1:
  bind 127.0.0.1
  bind quic4@:92
  bind
`
	want := []string{"127.0.0.1:80", "0.0.0.0:81", "0.0.0.0:82", "[::1]:83", "10.0.0.1:84", "[::1]:85", "127.0.0.1:88"}
	if diff := cmp.Diff(want, bindsOf([]stage.File{{Content: []byte(config)}})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTryBindsTriesOneFamily(t *testing.T) {
	listener, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	files := []stage.File{{Content: []byte("frontend f\n bind :" + port + "\n")}}
	if err := tryBinds(t.Context(), nil, files); err != nil {
		t.Errorf("only the other family is taken: %v", err)
	}
}

func TestTryBindsTriesWhatIsNew(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	files := []stage.File{{Content: []byte("frontend f\n bind " + address + "\n")}}
	err = tryBinds(t.Context(), nil, files)
	if err == nil || !strings.HasPrefix(err.Error(), "HAProxy cannot bind "+address+": bind: address already in use") {
		t.Errorf("got %v", err)
	}
	if err := tryBinds(t.Context(), files, files); err != nil {
		t.Errorf("what is bound already: %v", err)
	}
	_, port, _ := net.SplitHostPort(address)
	everywhere := []stage.File{{Content: []byte("frontend f\n bind :" + port + "\n")}}
	if err := tryBinds(t.Context(), everywhere, files); err != nil {
		t.Errorf("what HAProxy itself has bound under another name: %v", err)
	}
	listener.Close()
	if err := tryBinds(t.Context(), nil, files); err != nil {
		t.Errorf("what is free: %v", err)
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
