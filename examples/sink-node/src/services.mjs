// The gRPC services that the daemon calls. They do not know what the sink does with a document.

import grpc from '@grpc/grpc-js';
import { decode } from './config.mjs';
import { Rejected } from './document.mjs';
import { Sink } from './sink.mjs';

const NAME = 'node';
const VERSION = '1.0.0';

// The enum values for what the sink does.
const ACTIONS = { unchanged: 'ACTION_UNCHANGED', written: 'ACTION_WRITTEN' };

/**
 * Returns the services by their full names. attached is called when the daemon attaches to the plugin, and released when Attach ends or
 * the daemon requests the end.
 */
export function createServices({ log, attached, released }) {
  const plugin = { sink: null, applying: null };
  return {
    'grpc.health.v1.Health': { Check: unary(checkServing) },
    'plugin.GRPCController': { Shutdown: (_, callback) => { callback(null, {}); setImmediate(released); } },
    'haproxyapi.plugin.v1.Plugin': {
      Configure: unary((request) => configure(plugin, request, log)),
      Attach: (call) => { attached(); call.on('cancelled', released); call.write({}); },
      Stop: unary(async () => ({})), // the published document stays
    },
    'haproxyapi.plugin.v1.Sink': {
      Apply: unary(({ document }, signal) => apply(plugin, document, signal)),
      Cancel: unary(async () => { plugin.applying?.abort(); return {}; }),
      Check: unary(async ({ document }) => withFailure(() => configured(plugin).check(document))),
      Health: unary(() => configured(plugin).health()),
    },
  };
}

// unary returns a gRPC method for an async function. Its signal is aborted when the caller cancels the call.
function unary(method) {
  return async (call, callback) => {
    const cancelled = new AbortController();
    call.on('cancelled', () => cancelled.abort());
    try {
      callback(null, await method(call.request, cancelled.signal));
    } catch (err) {
      callback({ code: err.code in grpc.status ? err.code : grpc.status.UNKNOWN, details: err.message });
    }
  };
}

function statusError(code, message) {
  return Object.assign(new Error(message), { code });
}

async function checkServing({ service }) {
  if (service !== 'plugin') throw statusError(grpc.status.NOT_FOUND, `there is no service ${service}`);
  return { status: 'SERVING' };
}

async function configure(plugin, { name, block }, log) {
  if (plugin.sink) {
    throw statusError(grpc.status.FAILED_PRECONDITION, 'it is already configured: start it again for another block');
  }
  const { config, faults } = decode(parse(block));
  if (faults.length === 0) {
    plugin.sink = new Sink(config, log);
    log.info('configured', { name, directory: config.directory, keep: config.keep });
  }
  return { name: NAME, version: VERSION, kind: 'KIND_SINK', faults, capabilities: ['CAPABILITY_CHECK'] };
}

function parse(block) {
  let parsed;
  try {
    parsed = JSON.parse(block.toString());
  } catch {
    parsed = null;
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw statusError(grpc.status.INVALID_ARGUMENT, 'the configuration block is not a JSON object');
  }
  return parsed;
}

function configured({ sink }) {
  if (!sink) throw statusError(grpc.status.FAILED_PRECONDITION, 'the plugin is not configured: call Configure first');
  return sink;
}

// apply stops when the daemon calls Cancel, and when the call ends with the daemon.
async function apply(plugin, document, callSignal) {
  const sink = configured(plugin);
  const applying = new AbortController();
  plugin.applying = applying;
  const signal = AbortSignal.any([applying.signal, callSignal]);
  const start = performance.now();
  try {
    return await withFailure(async () => {
      const { action, reason, details } = await sink.apply(document, signal);
      return { result: { action: ACTIONS[action], reason, details, took: duration(performance.now() - start) } };
    }, signal);
  } finally {
    if (plugin.applying === applying) plugin.applying = null;
  }
}

// withFailure returns the response of run, or a response with the failure for its error. An error of gRPC itself would mean that the
// plugin is faulty, not that the document failed.
async function withFailure(run, signal) {
  try {
    return await run();
  } catch (err) {
    return { failure: { code: failureCode(err, signal), message: err.message } };
  }
}

function failureCode(err, signal) {
  if (err instanceof Rejected) return 'CODE_REJECTED';
  return signal?.aborted ? 'CODE_CANCELED' : 'CODE_UNSPECIFIED';
}

function duration(ms) {
  return { seconds: Math.floor(ms / 1000), nanos: Math.floor((ms % 1000) * 1e6) };
}
