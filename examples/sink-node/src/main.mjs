// The lifecycle of the process.

import { rmSync } from 'node:fs';
import { createCertificate } from './certificate.mjs';
import { PROTOCOL_VERSION, handshakeLine, readEnvironment } from './handshake.mjs';
import { createLog } from './log.mjs';
import { createServer, listen } from './server.mjs';
import { createServices } from './services.mjs';

// The daemon of a plugin that is not attached by then has ended meanwhile.
const ATTACH_TIMEOUT_MS = 30_000;

/** Serves the plugin until the daemon ends it or ends itself. A process that cannot start exits with 1. */
export async function main() {
  const log = createLog(process.stderr);
  handleSignals(log);

  const started = readEnvironment(process.env);
  if (started.problem) {
    process.stderr.write(started.problem + '\n');
    process.exitCode = 1;
    return;
  }
  const unattached = setTimeout(() => process.exit(1), ATTACH_TIMEOUT_MS);
  const certificate = await createCertificate();
  const server = createServer(createServices({
    log,
    attached: () => clearTimeout(unattached),
    // A document that is being published becomes visible in one step or not at all, so the process may exit at any time.
    released: () => process.exit(0),
  }));
  process.on('exit', () => rmSync(started.socket, { force: true }));
  await listen(server, started.socket, certificate, started.clientCertificate);
  process.stdout.write(handshakeLine(PROTOCOL_VERSION, started.socket, certificate) + '\n');
}

function handleSignals(log) {
  // Ctrl-C in a terminal reaches the plugin too, but only the daemon ends it.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(0));
  // A daemon that ends closes the other end of the log. The end of Attach reports that.
  process.stderr.on('error', () => {});
  process.on('uncaughtException', (err) => {
    log.error('uncaught exception, exiting', { error: err.stack });
    process.exit(1);
  });
}
