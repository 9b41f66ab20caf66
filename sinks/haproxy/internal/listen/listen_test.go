package listen

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddresses(t *testing.T) {
	const config = `
frontend a
  bind 127.0.0.1:80
  bind :81 ssl crt /x.pem   # bind :99
  bind *:82,[::1]:83 ,
  bind quic6@:84
  bind :8000-8010 interface eth0
  bind /run/x.sock,unix@/run/y.sock
  bind "127.0.0.1:88"
  bind ${ADDRESS}:89
  bind name:90
  bind abns@name
  bind :92 namespace blue
  bind 127.0.0.1:
  bind
`
	var got []string
	for _, a := range Addresses([]byte(config)) {
		got = append(got, a.String())
	}
	want := []string{
		"127.0.0.1:80", "0.0.0.0:81", "0.0.0.0:82", "[::1]:83", "[::]:84 (UDP)", "0.0.0.0:8000-8010", "/run/x.sock",
		"/run/y.sock", "127.0.0.1:88",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAddressOverlaps(t *testing.T) {
	parse := func(text string) Address {
		a, ok := ParseAddress(text)
		if !ok {
			t.Fatalf("%q is not an address", text)
		}
		return a
	}
	for _, pair := range [][2]string{
		{"1.2.3.4:80", "1.2.3.4:80"}, {"*:80", "1.2.3.4:80"}, {"*:80", ":70-90"}, {"[::]:80", "[::1]:80"}, {"/a", "unix@/a"},
		{"1.2.3.4:80", "[::ffff:1.2.3.4]:80"},
	} {
		if a, b := parse(pair[0]), parse(pair[1]); !a.Overlaps(b) || !b.Overlaps(a) {
			t.Errorf("%v do not overlap", pair)
		}
	}
	for _, pair := range [][2]string{
		{"1.2.3.4:80", "1.2.3.5:80"}, {"*:80", "*:81"}, {"*:80", "[::1]:80"}, {"*:80", "quic4@*:80"},
		{"/a", "/b"}, {"/a", "*:80"},
	} {
		if a, b := parse(pair[0]), parse(pair[1]); a.Overlaps(b) || b.Overlaps(a) {
			t.Errorf("%v overlap", pair)
		}
	}
}
