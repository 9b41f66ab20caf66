package apiclient

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// ErrUntrusted means that the daemon presented a certificate that cannot be verified.
var ErrUntrusted = errors.New("its certificate is neither the one in haproxy_api.tls_cert nor issued by a trusted authority")

// ReadIdentity returns the client certificate in certFile with the key in keyFile, both in PEM format; they can be the same file.
func ReadIdentity(certFile, keyFile string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("the client certificate %s with the key %s cannot be used: %w", certFile, keyFile, err)
	}
	return &pair, nil
}

// verifying trusts the certificate in the file, whatever its names and issuer are. Any other certificate must be valid for host.
func verifying(file, host string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies the certificate
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := state.PeerCertificates
			own, fileErr := ReadCertificate(file)
			if own != nil && own.Equal(chain[0]) {
				return nil
			}
			intermediates := x509.NewCertPool()
			for _, cert := range chain[1:] {
				intermediates.AddCert(cert)
			}
			if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: intermediates}); err != nil {
				return errors.Join(fmt.Errorf("%w: %w", ErrUntrusted, err), fileErr)
			}
			return nil
		},
	}
}

// ReadCertificate returns the first certificate in the file that haproxy_api.tls_cert names, or nil if it names none.
func ReadCertificate(file string) (*x509.Certificate, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // there is no file
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("haproxy_api.tls_cert cannot be read: %w", err)
	}
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, fmt.Errorf("haproxy_api.tls_cert names %s, which contains no certificate in PEM format", file)
}
