// The gRPC server: message limits, mutual TLS, and the services under the names of their .proto files.

import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

// A document of 64 MiB and the message around it. The default limit of the library is 4 MiB.
const MAX_MESSAGE = 80 << 20;

/** The definitions of all services, by their full names. */
export const definitions = loadSync(['plugin.proto', 'go-plugin.proto', 'health.proto'], {
  includeDirs: [fileURLToPath(new URL('../proto', import.meta.url))],
  defaults: true,
  enums: String,
  longs: String,
});

/** Returns a server for services by their full names. It answers UNIMPLEMENTED to methods that are missing. */
export function createServer(services) {
  const server = new grpc.Server({
    'grpc.max_receive_message_length': MAX_MESSAGE,
    'grpc.max_send_message_length': MAX_MESSAGE,
  });
  for (const [name, methods] of Object.entries(services)) server.addService(definitions[name], methods);
  return server;
}

/** Serves on the Unix socket, only for clients with the key of clientCertificate. */
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
