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
	"strings"
	"testing"
	"time"
)

// TestGuide_Templates follows docs/templates.md in a copy of the examples. Each file in the guide equals the example's, and each
// command ends as documented.
func TestGuide_Templates(t *testing.T) {
	t.Parallel()
	env := withStrictHAProxy(t)
	guide, err := os.ReadFile("../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := "../../examples/templates"
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(examples)); err != nil {
		t.Fatal(err)
	}
	shown, ran := 0, 0
	for _, block := range fenced(string(guide)) {
		language, name, _ := strings.Cut(block.info, " ")
		switch language {
		case "haproxy":
			shown++
			content, err := os.ReadFile(filepath.Join(examples, name))
			if err == nil && strings.TrimSpace(string(content)) != strings.TrimSpace(block.text) {
				t.Errorf("the guide shows another %s than the example is", name)
			}
			if err := os.WriteFile(filepath.Join(folder, name), []byte(block.text), 0o644); err != nil {
				t.Fatal(err)
			}
		case "sh":
			ran++
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", block.text)
			cmd.Dir, cmd.Env = folder, env
			out, err := cmd.CombinedOutput()
			t.Logf("%s%s", block.text, out)
			if failed := err != nil; failed != (name == "fails") {
				t.Errorf("%s: %v", block.text, err)
			}
			if name == "fails" && !strings.Contains(string(out), `did you mean "serverName"?`) {
				t.Errorf("no hint in %s", out)
			}
		}
	}
	if shown != 6 || ran != 6 {
		t.Errorf("the guide shows %d files and runs %d commands", shown, ran)
	}
}

// The cases of each example pass, and HAProxy loads what the examples render without a warning.
func TestExamples_Templates(t *testing.T) {
	t.Parallel()
	env := withStrictHAProxy(t)
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("../../examples/templates")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web", "api"} {
		if err := os.WriteFile(filepath.Join(folder, "tls", name+".example.pem"), selfSigned(t), 0o600); err != nil {
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
			cmd.Dir, cmd.Env = folder, env
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
