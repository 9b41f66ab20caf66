// The handshake of hashicorp/go-plugin: the daemon sets environment variables, and the plugin answers with one line.

import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The version of plugin.proto that this plugin speaks. */
export const PROTOCOL_VERSION = 1;

// The version of go-plugin's own protocol, of which there is only one.
const CORE_VERSION = 1;

// By this variable the plugin recognises that haproxy-api started it, and not a person. It is not secret.
const COOKIE_KEY = 'HAPROXY_API_PLUGIN';
const COOKIE_VALUE = '7c0f8a5e6f1d4b0e9b7d2c0a41f6e3d5';

/**
 * Reads the environment: returns the path for the plugin's socket and the daemon's certificate as PEM. If something is missing, it
 * returns only a problem, for the person who started the program.
 *
 * The daemon lists its protocol versions in PLUGIN_PROTOCOL_VERSIONS. A plugin that speaks several answers with the highest common one,
 * and with its lowest if there is none. This plugin speaks only one, so it does not read the list. The daemon reports both versions if
 * it does not speak the one in the answer.
 */
export function readEnvironment(env) {
  if (env[COOKIE_KEY] !== COOKIE_VALUE) {
    return { problem: 'This is a plugin of haproxy-api, which starts it by itself: see README.md for how to use it.' };
  }
  if (!env.PLUGIN_CLIENT_CERT) {
    return { problem: 'PLUGIN_CLIENT_CERT is not set: this plugin requires a daemon with a certificate.' };
  }
  return {
    socket: join(env.PLUGIN_UNIX_SOCKET_DIR || tmpdir(), `plugin-${randomBytes(8).toString('hex')}`),
    clientCertificate: env.PLUGIN_CLIENT_CERT,
  };
}

/** Returns the line that the daemon reads from standard output, without its end. */
export function handshakeLine(version, socket, certificate) {
  const encoded = certificate.der.toString('base64').replace(/=+$/, '');
  return [CORE_VERSION, version, 'unix', socket, 'grpc', encoded].join('|');
}
