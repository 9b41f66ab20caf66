package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

const updateToken = "marker-of-a-token"

// newCertificate writes a certificate with its key to the file, and returns it.
func newCertificate(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	content := selfSigned(t)
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestTheTokenIsForChangesOnly(t *testing.T) {
	presented := map[string]string{}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("followed with %q", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		presented[r.Method] = r.Header.Get("Authorization")
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer daemon.Close()
	t.Setenv("HTTP_PROXY", elsewhere.URL)
	at := netip.MustParseAddrPort(daemon.Listener.Addr().String())
	a := apiOf(&config.Config{API: config.API{BindIP: at.Addr().String(), BindPort: int(at.Port()), UpdateToken: updateToken}})
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		r, err := http.NewRequestWithContext(t.Context(), method, a.scheme+"://"+a.address+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := a.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if presented["GET"] != "" || presented["HEAD"] != "" || presented["POST"] != "Bearer "+updateToken {
		t.Errorf("presented %q", presented)
	}
}

// A certificate of an authority that is trusted still has to be for the host.
func TestAnotherCertificateHasToBeRight(t *testing.T) {
	folder := t.TempDir()
	own, other := filepath.Join(folder, "own.pem"), filepath.Join(folder, "other.pem")
	newCertificate(t, own)
	newCertificate(t, other)
	pair, err := tls.LoadX509KeyPair(own, own)
	if err != nil {
		t.Fatal(err)
	}
	daemon := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") }))
	daemon.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	daemon.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	daemon.StartTLS()
	defer daemon.Close()
	at := netip.MustParseAddrPort(daemon.Listener.Addr().String())
	for file, trusted := range map[string]bool{own: true, other: false, "missing": false, folder: false} {
		a := apiOf(&config.Config{API: config.API{BindIP: at.Addr().String(), BindPort: int(at.Port()), TLSCert: file}})
		if _, err := a.pipelines(t.Context()); (err == nil) != trusted {
			t.Errorf("with %s: %v", file, err)
		}
		a.client.CloseIdleConnections()
	}
}

func TestWhoIsWarned(t *testing.T) {
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
		warnUnguarded(test.api, test.at, slog.New(slog.NewTextHandler(&log, nil)))
		if (log.Len() > 0) != test.warned || test.warned && !strings.Contains(log.String(), "haproxy_api.update_token") {
			t.Errorf("%s: logged %q", test.name, log.String())
		}
	}
}

// selfSigned returns a certificate for 127.0.0.1 with its key.
func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
}
