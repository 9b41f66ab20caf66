// The handshake of hashicorp/go-plugin: what the daemon says in the environment, and the line that answers it.

import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The version of plugin.proto that this plugin speaks. */
export const PROTOCOL_VERSION = 1;

// The version of go-plugin's own protocol, of which there has been one so far.
const CORE_VERSION = 1;

// By these the plugin knows that haproxy-api started it and not a person. They are no secret.
const COOKIE_KEY = 'HAPROXY_API_PLUGIN';
const COOKIE_VALUE = '7c0f8a5e6f1d4b0e9b7d2c0a41f6e3d5';

/**
 * Reads what the daemon said: the path for the plugin's socket, and the daemon's certificate as PEM. Where something is
 * missing, the answer has only a problem, a sentence for the person who started the program.
 *
 * The daemon offers its protocol versions in PLUGIN_PROTOCOL_VERSIONS. A plugin that speaks several takes the highest
 * of them that it speaks, and its lowest where there is none; this one speaks one, so it need not look. The daemon
 * compares the answer with its own versions, and tells the person of both when they do not meet.
 */
export function readEnvironment(env) {
  if (env[COOKIE_KEY] !== COOKIE_VALUE) {
    return { problem: 'This is a plugin of haproxy-api, which starts it by itself: see README.md for how to use it.' };
  }
  if (!env.PLUGIN_CLIENT_CERT) {
    return { problem: 'PLUGIN_CLIENT_CERT is not set: this plugin talks only to a daemon that shows a certificate.' };
  }
  return {
    socket: join(env.PLUGIN_UNIX_SOCKET_DIR || tmpdir(), `plugin-${randomBytes(8).toString('hex')}`),
    clientCertificate: env.PLUGIN_CLIENT_CERT,
  };
}

/** Returns the one line that the daemon waits for on standard output, without its end. */
export function handshakeLine(version, socket, certificate) {
  const encoded = certificate.der.toString('base64').replace(/=+$/, '');
  return [CORE_VERSION, version, 'unix', socket, 'grpc', encoded].join('|');
}
