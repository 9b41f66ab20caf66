package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

const testToken = "marker-of-a-token"

// The URL of a Sidecar's listener contains the token.
func TestAccess_PushWithToken(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.write("token", testToken+"\n")
	if err := os.Chmod(env.path("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	env.startInstance("chat", "b", 8001) // from a Sidecar without the token
	env.start("--set", "haproxy_api.update_token_file="+env.path("token"), "--set", "sidecar.state_url=")
	env.eventually("the daemon answers", func() bool { code, _ := env.health(); return code != 0 })
	env.sidecar.SetStatus("host-b", "b", 4)
	const denied = "request denied"
	env.eventually("the push without a token is denied", func() bool { return strings.Contains(env.log.String(), denied) })

	listener := "http://x:" + testToken + "@" + env.apiAddress + "/update"
	pusher := sidecartest.New(sidecartest.Options{Listeners: []string{listener}})
	if err := pusher.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer env.sidecar.Close()
	env.sidecar = pusher // closed by the test environment
	env.startInstance("web", "a", 8000)
	env.waitAnswer(8000, "a")
	env.eventually("healthy", env.healthy)
	if config := env.read("haproxy.cfg"); strings.Contains(config, "host-b") {
		t.Errorf("the denied instance is in the configuration:\n%s", config)
	}
	if log := env.log.String(); strings.Count(log, denied) != 1 || strings.Contains(log, "marker") ||
		strings.Count(log, "level=WARN") != 1 {
		t.Errorf("want one denial, no token and no other warning in the log")
	}
}

// newCertificate writes a certificate with its key to the file, and returns the certificate.
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

// clientTrusting returns a client that trusts only this certificate.
func clientTrusting(t *testing.T, cert *x509.Certificate) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	const name = "127.0.0.1" // in the certificate
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestAccess_TLS(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	certFile := env.path("daemon.pem")
	cert := newCertificate(t, certFile)
	args := []string{"--set", "haproxy_api.tls_cert=" + certFile, "--set", "haproxy_api.tls_key=" + certFile,
		"--set", "haproxy_api.update_token=" + testToken}
	env.startInstance("web", "a", 8000) // from state_url, since pushes over plain HTTP fail
	env.start(args...)
	env.waitAnswer(8000, "a")
	secure := clientTrusting(t, cert)
	push := func(client *http.Client, address string) int {
		t.Helper()
		body, err := os.ReadFile(recorded + "updates/post-031.json")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Post(address, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	// The server would reset the connection of a request with a body before the answer is read.
	if resp, err := http.Get("http://" + env.apiAddress + "/update"); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("over plain HTTP: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	if code := push(secure, "https://"+env.apiAddress+"/update"); code != http.StatusUnauthorized {
		t.Errorf("without the token: %d", code)
	}
	if code := push(secure, "https://x:"+testToken+"@"+env.apiAddress+"/update"); code != http.StatusOK {
		t.Errorf("with the token: %d", code)
	}
	env.eventually("the pushed state", func() bool { return strings.Contains(env.read("haproxy.cfg"), "frontend chat") })
	run := func(args ...string) (string, error) {
		out, err := env.command(args...).CombinedOutput()
		return string(out), err
	}
	env.eventually("healthy", func() bool {
		out, err := run(append(args, "status")...)
		return err == nil && strings.Contains(out, "haproxy  healthy ")
	})
	if out, err := run(append(args, "check", "--live")...); err != nil || !strings.Contains(out, "no faults") {
		t.Errorf("check --live: %v\n%s", err, out)
	}
	otherFile := env.path("other.pem")
	newCertificate(t, otherFile)
	other := []string{"--set", "haproxy_api.tls_cert=" + otherFile, "--set", "haproxy_api.tls_key=" + otherFile}
	if out, err := run(append(other, "check", "--live")...); err == nil || !strings.Contains(out, "is not trusted") {
		t.Errorf("check --live with another certificate: %v\n%s", err, out)
	}
	// status has to work although the certificate file of the configuration is not the daemon's.
	if out, err := run(append(other, "status")...); err != nil || !strings.Contains(out, "is not trusted") ||
		!strings.Contains(out, "haproxy  healthy ") {
		t.Errorf("status with another certificate: %v\n%s", err, out)
	}
	env.write("haproxy-api.toml.broken", "[")
	broken := env.command("-f", env.path("haproxy-api.toml.broken"),
		"--address", "https://"+env.apiAddress, "status")
	if out, err := broken.CombinedOutput(); err != nil || !strings.Contains(string(out), "haproxy  healthy ") {
		t.Errorf("status with a broken configuration: %v\n%s", err, out)
	}

	renewed := newCertificate(t, certFile)
	if code := push(clientTrusting(t, renewed), "https://x:"+testToken+"@"+env.apiAddress+"/update"); code != http.StatusOK {
		t.Errorf("with the renewed certificate: %d", code)
	}
	if out, err := run(append(args, "status")...); err != nil {
		t.Errorf("status after the renewal: %v\n%s", err, out)
	}
}
