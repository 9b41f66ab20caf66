package apiclient

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
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

func configFor(server *httptest.Server) *config.Config {
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	return &config.Config{API: config.API{BindIP: at.Addr().String(), BindPort: int(at.Port())}}
}

func TestClient_SendsTokenOnlyWithChanges(t *testing.T) {
	const token = "marker-of-a-token"
	received := map[string]string{}
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("redirect or proxy used with Authorization %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received[r.Method] = r.Header.Get("Authorization")
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer daemon.Close()
	t.Setenv("HTTP_PROXY", other.URL)
	cfg := configFor(daemon)
	cfg.API.UpdateToken = token
	client := New(cfg, nil)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		r, err := http.NewRequestWithContext(t.Context(), method, client.scheme+"://"+client.address+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if received["GET"] != "" || received["HEAD"] != "" || received["POST"] != "Bearer "+token {
		t.Errorf("received %q", received)
	}
}

// Only the configured certificate is accepted without verification. Any other one must be valid for the host.
func TestClient_VerifiesCertificate(t *testing.T) {
	directory := t.TempDir()
	own, other := filepath.Join(directory, "own.pem"), filepath.Join(directory, "other.pem")
	writeCertificate(t, own)
	writeCertificate(t, other)
	pair, err := tls.LoadX509KeyPair(own, own)
	if err != nil {
		t.Fatal(err)
	}
	daemon := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") }))
	daemon.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	daemon.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	daemon.StartTLS()
	defer daemon.Close()
	for file, trusted := range map[string]bool{own: true, other: false, "missing": false, directory: false} {
		cfg := configFor(daemon)
		cfg.API.TLSCert = file
		client := New(cfg, nil)
		if _, err := client.Pipelines(t.Context()); (err == nil) != trusted {
			t.Errorf("with %s: %v", file, err)
		}
		client.http.CloseIdleConnections()
	}
}

// The client certificate is presented to the daemon, also if the daemon's certificate cannot be verified.
func TestClient_PresentsItsCertificate(t *testing.T) {
	directory := t.TempDir()
	own, identityFile := filepath.Join(directory, "own.pem"), filepath.Join(directory, "client.pem")
	writeCertificate(t, own)
	writeCertificate(t, identityFile)
	pair, err := tls.LoadX509KeyPair(own, own)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := ReadIdentity(identityFile, identityFile)
	if err != nil {
		t.Fatal(err)
	}
	daemon := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) != 1 || !bytes.Equal(r.TLS.PeerCertificates[0].Raw, identity.Certificate[0]) {
			t.Errorf("%d certificates were presented", len(r.TLS.PeerCertificates))
		}
		fmt.Fprint(w, "[]")
	}))
	daemon.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}
	daemon.StartTLS()
	defer daemon.Close()
	cfg := configFor(daemon)
	cfg.API.TLSCert = own
	at, err := NewAt(daemon.URL, cfg, identity)
	if err != nil {
		t.Fatal(err)
	}
	for i, client := range []Client{New(cfg, identity), at, at.Unverified()} {
		if _, err := client.Pipelines(t.Context()); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
		client.http.CloseIdleConnections()
	}
	if _, err := ReadIdentity(identityFile, own); err == nil {
		t.Error("a certificate with the key of another one was read")
	}
}

func TestClient_ReadsAllPages(t *testing.T) {
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/api/v1/pipelines/a%2Fb/generations" || r.FormValue("since") != "2026-01-02T15:04:05Z" {
			t.Errorf("asked for %s", r.URL)
		}
		switch r.FormValue("before") {
		case "":
			fmt.Fprint(w, `{"changes":[{"generation":9},{"generation":8}],"next":8}`)
		case "8":
			fmt.Fprint(w, `{"changes":[{"generation":7}]}`)
		}
	}))
	defer daemon.Close()
	changes, err := New(configFor(daemon), nil).Changes(t.Context(), "a/b", time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC))
	if err != nil || len(changes) != 3 || changes[0].Generation != 9 || changes[2].Generation != 7 {
		t.Errorf("got %v, %v", changes, err)
	}
}

func TestClient_ErrorsHaveTypes(t *testing.T) {
	code, body := http.StatusUnauthorized, `{"errors":["no token"]}`
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}))
	client := New(configFor(daemon), nil)
	_, err := client.Status(t.Context())
	if denied, ok := errors.AsType[*statusError](err); !ok || denied.Code != code || !strings.Contains(err.Error(), "no token") {
		t.Errorf("denied: %v", err)
	}
	code = http.StatusGone
	if diff, err := client.Diff(t.Context(), "p", 1); diff != "" || err != nil {
		t.Errorf("a diff that is no longer kept: %q, %v", diff, err)
	}
	code = http.StatusOK
	for _, body = range []string{"<html>", `{"Servers":{}}`} {
		if _, err := client.Status(t.Context()); err == nil {
			t.Errorf("%s was read as a status", body)
		}
	}
	daemon.Close()
	_, err = client.Status(t.Context())
	if _, ok := errors.AsType[*AwayError](err); !ok {
		t.Errorf("away: %v", err)
	}
}

// A daemon that expects TLS does not understand a request without it. The error says which URL to use.
func TestClient_NamesURLOfTLS(t *testing.T) {
	daemon := httptest.NewUnstartedServer(http.NotFoundHandler())
	daemon.Config.ErrorLog = log.New(io.Discard, "", 0)
	daemon.StartTLS()
	defer daemon.Close()
	client := New(configFor(daemon), nil)
	if _, err := client.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "https://"+client.Address()) {
		t.Errorf("got %v", err)
	}
}

// writeCertificate writes a self-signed certificate for 127.0.0.1 with its key.
func writeCertificate(t *testing.T, file string) {
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
	content := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Another server may have the address of the daemon, and answer every request.
func TestClient_LiveIsOnlyTheDaemon(t *testing.T) {
	for body, want := range map[string]bool{`{"message":"alive"}`: true, `{"message":"other"}`: false, "<html>": false} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		if err := New(configFor(other), nil).Live(t.Context()); (err == nil) != want {
			t.Errorf("%s: %v", body, err)
		}
		other.Close()
	}
}
