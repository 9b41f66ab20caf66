package haproxy

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
	want := []string{"127.0.0.1:80", "0.0.0.0:81", "0.0.0.0:82", "[::1]:83", "10.0.0.1:84", "[::1]:85"}
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
