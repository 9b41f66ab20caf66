// The gRPC server: message limits, mutual TLS, and the services under the names of their .proto files.

import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

// A document of 64 MiB and what surrounds it. The library's own limit for what it receives is 4 MiB.
const MAX_MESSAGE = 80 << 20;

/** The definitions of all services, by their full names. */
export const definitions = loadSync(['plugin.proto', 'go-plugin.proto', 'health.proto'], {
  includeDirs: [fileURLToPath(new URL('../proto', import.meta.url))],
  defaults: true,
  enums: String,
  longs: String,
});

/** Returns a server of the services given by their full names. A method that is not given answers UNIMPLEMENTED. */
export function createServer(services) {
  const server = new grpc.Server({
    'grpc.max_receive_message_length': MAX_MESSAGE,
    'grpc.max_send_message_length': MAX_MESSAGE,
  });
  for (const [name, methods] of Object.entries(services)) server.addService(definitions[name], methods);
  return server;
}

/** Serves on the Unix socket whoever holds the key to clientCertificate, and nobody else. */
export function listen(server, socket, certificate, clientCertificate) {
  const credentials = grpc.ServerCredentials.createSsl(
    Buffer.from(clientCertificate),
    [{ private_key: Buffer.from(certificate.key), cert_chain: Buffer.from(certificate.cert) }],
    true,
  );
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, credentials, (err) => (err ? reject(err) : resolve()));
  });
}
