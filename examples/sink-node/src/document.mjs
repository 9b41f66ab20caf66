// What makes a document usable at all.

/** A document that will never do, however often it is offered. */
export class Rejected extends Error {}

/** Returns the files of the document, or throws Rejected. Names come from outside: none may lead out of its folder. */
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
    throw new Rejected(`the main file ${files[0].name} is empty: it would replace a good one by nothing`);
  }
  return files;
}

// isBlank looks at bytes, because the text of a large file need not be made for this.
function isBlank(content) {
  return content.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
}
