// The plugin's log: one JSON object per line on standard error. The daemon writes it to its own log, with level and fields.

/** Returns a log with a method for each level. Fields must have a JSON representation. */
export function createLog(stream) {
  const at = (level) => (msg, fields = {}) => {
    stream.write(JSON.stringify({ time: new Date().toISOString(), level, msg, ...fields }) + '\n');
  };
  return { debug: at('DEBUG'), info: at('INFO'), warn: at('WARN'), error: at('ERROR') };
}
