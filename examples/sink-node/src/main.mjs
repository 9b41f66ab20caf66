// What the process does from its start to its end.

import { rmSync } from 'node:fs';
import { createCertificate } from './certificate.mjs';
import { PROTOCOL_VERSION, handshakeLine, readEnvironment } from './handshake.mjs';
import { createLog } from './log.mjs';
import { createServer, listen } from './server.mjs';
import { createServices } from './services.mjs';

// A plugin that nobody holds by then has lost its daemon on the way up.
const ATTACH_WITHIN_MS = 30_000;

/** Serves the plugin until the daemon lets go of it. A process that cannot start ends with exit code 1. */
export async function main() {
  const log = createLog(process.stderr);
  surviveSignals(log);

  const started = readEnvironment(process.env);
  if (started.problem) {
    process.stderr.write(started.problem + '\n');
    process.exitCode = 1;
    return;
  }
  const unattached = setTimeout(() => process.exit(1), ATTACH_WITHIN_MS);
  const certificate = await createCertificate();
  const server = createServer(createServices({
    log,
    attached: () => clearTimeout(unattached),
    // Whatever is under way is abandoned: it becomes visible in one step or not at all, so no moment is a bad one.
    released: () => process.exit(0),
  }));
  process.on('exit', () => rmSync(started.socket, { force: true }));
  await listen(server, started.socket, certificate, started.clientCertificate);
  process.stdout.write(handshakeLine(PROTOCOL_VERSION, started.socket, certificate) + '\n');
}

function surviveSignals(log) {
  // Ctrl-C in a terminal reaches the plugin too, but when the plugin ends is for the daemon to say.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(0));
  // A daemon that is gone closes the other end of the log; that it is gone is heard from Attach.
  process.stderr.on('error', () => {});
  process.on('uncaughtException', (err) => {
    log.error('the plugin has a fault and ends', { error: err.stack });
    process.exit(1);
  });
}
