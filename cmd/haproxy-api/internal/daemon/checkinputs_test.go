package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// What does not exist is a fault, and was not read.
func TestChecker_InputsExist(t *testing.T) {
	directory := t.TempDir()
	program := filepath.Join(directory, "there")
	if err := os.WriteFile(program, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	checker := NewChecker(&config.Config{
		Sinks:   map[string]config.Component{"a": {Type: "a"}, "b": {Type: "b"}},
		Plugins: map[string]config.Plugin{"a": {Path: program}, "b": {Path: filepath.Join(directory, "missing")}},
	}, func(string) {}, func(string) {})
	if got := checker.Inputs(t.Context()); len(got) != 1 || got[0].Name != program {
		t.Errorf("inputs %v", got)
	}
}

func TestCertificateWarning(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name        string
		from, until time.Duration
		want        string
	}{
		{"valid", -time.Hour, 31 * 24 * time.Hour, ""},
		{"ends soon", -time.Hour, 29 * 24 * time.Hour, "expires on 2026-05-30"},
		{"expired", -2 * time.Hour, -time.Hour, "expired on 2026-04-30"},
		{"not yet valid", time.Hour, 100 * 24 * time.Hour, "not valid before 2026-05-01T01:00:00Z"},
	} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(test.from), NotAfter: now.Add(test.until)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "cert.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		got := certificateWarning(file, now)
		if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	if got := certificateWarning("", now); got != "" {
		t.Errorf("without a certificate: %q", got)
	}
}
