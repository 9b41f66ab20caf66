// The validation of documents.

/** The error for a document that can never be applied. */
export class Rejected extends Error {}

/** Returns the files of the document, or throws Rejected. No name may lead out of the directory, because templates choose the names. */
export function filesOf(document) {
  const files = document?.files ?? [];
  if (files.length === 0) throw new Rejected('the document has no file');
  const taken = new Set();
  for (const { name } of files) {
    if (!/^[^./\0][^/\0]*$/.test(name) || taken.has(name)) {
      const quoted = JSON.stringify(name);
      throw new Rejected(`the file name ${quoted} cannot be used: it must be a plain name that is not taken`);
    }
    taken.add(name);
  }
  if (isBlank(files[0].content)) {
    throw new Rejected(`the main file ${files[0].name} is empty`);
  }
  return files;
}

// isBlank checks bytes, so that it does not have to decode a large file.
function isBlank(content) {
  return content.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
}
