package host

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// Only the daemon that started a plugin can call it: other processes lack the certificate, even if they can open the socket.
func TestSink_OnlyItsDaemonCanCall(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	p, err := sink.currentProcess()
	if err != nil {
		t.Fatal(err)
	}
	address := p.client.ReattachConfig().Addr
	for name, shake := range map[string]func(net.Conn) error{
		"without TLS": func(conn net.Conn) error {
			_, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
			return err
		},
		"without a certificate": func(conn net.Conn) error {
			config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
			return tls.Client(conn, config).HandshakeContext(t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial(address.Network(), address.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			err = shake(conn)
			t.Log(err)
			// A TLS 1.3 client learns of a missing certificate only after its handshake.
			answer := make([]byte, 1024)
			for err == nil {
				var n int
				if n, err = conn.Read(answer); err == nil && n > 5 && answer[0] == 0 {
					t.Fatalf("the plugin answers: %q", answer[:n])
				}
			}
			if netErr, ok := err.(net.Error); ok && netErr.Timeout() { //nolint:errorlint // as net returns it
				t.Fatal("the connection stays open")
			}
		})
	}
}
