// The services that the daemon calls. Nothing here knows what the sink does with a document.

import grpc from '@grpc/grpc-js';
import { decode } from './config.mjs';
import { Rejected } from './document.mjs';
import { Sink } from './sink.mjs';

const NAME = 'node';
const VERSION = '1.0.0';

// The enum values for what the sink does.
const ACTIONS = { unchanged: 'ACTION_UNCHANGED', written: 'ACTION_WRITTEN' };

/**
 * Returns the services by their full names. attached is called when the daemon takes hold of the plugin, released when
 * it lets go or asks for the end.
 */
export function createServices({ log, attached, released }) {
  const plugin = { sink: null, applying: null };
  return {
    'grpc.health.v1.Health': { Check: unary(checkServing) },
    'plugin.GRPCController': { Shutdown: (_, callback) => { callback(null, {}); setImmediate(released); } },
    'haproxyapi.plugin.v1.Plugin': {
      Configure: unary((request) => configure(plugin, request, log)),
      Attach: (call) => { attached(); call.on('cancelled', released); call.write({}); },
      Stop: unary(async () => ({})), // what is published stays published
    },
    'haproxyapi.plugin.v1.Sink': {
      Apply: unary(({ document }, signal) => apply(plugin, document, signal)),
      Cancel: unary(async () => { plugin.applying?.abort(); return {}; }),
      Check: unary(async ({ document }) => withFailure(() => configured(plugin).check(document))),
      Health: unary(() => configured(plugin).health()),
    },
  };
}

// unary makes a method of gRPC from a function that returns a promise. Its signal is aborted when the caller gives up.
function unary(method) {
  return async (call, callback) => {
    const abandoned = new AbortController();
    call.on('cancelled', () => abandoned.abort());
    try {
      callback(null, await method(call.request, abandoned.signal));
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
    throw statusError(grpc.status.FAILED_PRECONDITION, 'it is configured already: start it anew for another block');
  }
  const { config, faults } = decode(parse(block));
  if (faults.length === 0) {
    plugin.sink = new Sink(config, log);
    log.info('configured', { name, folder: config.folder, keep: config.keep });
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

// apply is stopped by the daemon's Cancel, and by the end of the call, which is the end of the daemon.
async function apply(plugin, document, abandoned) {
  const sink = configured(plugin);
  const applying = new AbortController();
  plugin.applying = applying;
  const signal = AbortSignal.any([applying.signal, abandoned]);
  const began = performance.now();
  try {
    return await withFailure(async () => {
      const { action, reason, details } = await sink.apply(document, signal);
      return { result: { action: ACTIONS[action], reason, details, took: duration(performance.now() - began) } };
    }, signal);
  } finally {
    if (plugin.applying === applying) plugin.applying = null;
  }
}

// withFailure returns what run returns, or the failure that tells the daemon what to make of its error. A document that
// failed is no failed call: an error of gRPC itself would say that the plugin is in trouble.
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
