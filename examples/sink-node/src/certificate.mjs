// The plugin's certificate for mutual TLS, which exists only in this process.

import { X509Certificate } from 'node:crypto';
import { generate } from 'selfsigned';

const YEAR_MS = 365 * 24 * 3600 * 1000;

/**
 * Creates a key and a self-signed certificate for "localhost", the name that the daemon verifies. Both are PEM; der is the certificate
 * as bytes.
 *
 * The certificate is valid for many years, because the daemon may connect again at any time, and from a time in the past, because the
 * clock may be set back.
 */
export async function createCertificate() {
  const made = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - 60_000),
    notAfterDate: new Date(Date.now() + 30 * YEAR_MS),
  });
  return { key: made.private, cert: made.cert, der: new X509Certificate(made.cert).raw };
}
