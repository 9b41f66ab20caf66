package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The cases of each example pass, and HAProxy loads what the examples render without a warning.
func TestExamples_Templates(t *testing.T) {
	t.Parallel()
	env := withStrictHAProxy(t)
	directory := t.TempDir()
	if err := os.CopyFS(directory, os.DirFS("../../examples/templates")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web", "api"} {
		if err := os.WriteFile(filepath.Join(directory, "tls", name+".example.pem"), selfSigned(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, example := range []string{"paths", "tls", "canary"} {
		for _, args := range [][]string{
			{"template", "test", example + "/cases"},
			{"check", "--state", "services.yaml"},
		} {
			args = append([]string{"-f", example + "/haproxy-api.toml"}, args...)
			cmd := exec.CommandContext(t.Context(), "haproxy-api", args...)
			cmd.Dir, cmd.Env = directory, env
			out, err := cmd.CombinedOutput()
			t.Logf("%s: %s", example, out)
			if err != nil {
				t.Errorf("%s %s: %v", example, args, err)
			}
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
