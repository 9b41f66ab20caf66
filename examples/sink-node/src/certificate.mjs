// The plugin's half of the mutual TLS: a certificate that lives as long as the process.

import { X509Certificate } from 'node:crypto';
import { generate } from 'selfsigned';

const YEAR_MS = 365 * 24 * 3600 * 1000;

/**
 * Makes a key and a self-signed certificate for "localhost", the name that the daemon looks for. Both are PEM; der is
 * the certificate once more, as bytes.
 *
 * It outlives any process, because the daemon may connect anew at any time, and begins in the past, because a clock may
 * be set back between two looks at it.
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
