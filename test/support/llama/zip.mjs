/** Reads single entries of a zip file (a wheel is one) with Node alone. */
import fs from 'node:fs';
import zlib from 'node:zlib';

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const DEFLATED = 8;

function findDirectory(file, size) {
  // The end record is last but for a comment of at most 64 KiB.
  const tail = readAt(file, Math.max(0, size - 65_557), Math.min(size, 65_557));
  for (let at = tail.length - 22; at >= 0; at--) {
    if (tail.readUInt32LE(at) === END_OF_DIRECTORY) {
      return { length: tail.readUInt32LE(at + 12), start: tail.readUInt32LE(at + 16) };
    }
  }
  throw new Error('not a zip file');
}

function readAt(file, start, length) {
  const buffer = Buffer.alloc(length);
  const read = fs.readSync(file, buffer, 0, length, start);
  if (read !== length) throw new Error('the zip file is cut short');
  return buffer;
}

function listEntries(file, size) {
  const { start, length } = findDirectory(file, size);
  const directory = readAt(file, start, length);
  const entries = [];
  for (let at = 0; at + 46 <= length && directory.readUInt32LE(at) === DIRECTORY_ENTRY;) {
    const nameLength = directory.readUInt16LE(at + 28);
    entries.push({
      method: directory.readUInt16LE(at + 10),
      packed: directory.readUInt32LE(at + 20),
      offset: directory.readUInt32LE(at + 42),
      name: directory.toString('utf8', at + 46, at + 46 + nameLength),
    });
    at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
}

/** The contents of the first entry whose name ends with `ending`. */
export function readZipEntry(path, ending) {
  const file = fs.openSync(path, 'r');
  try {
    const entry = listEntries(file, fs.fstatSync(file).size).find(({ name }) =>
      name.endsWith(ending),
    );
    if (!entry) throw new Error(`no ${ending} inside`);
    // The local header repeats the name, and its extra field has a length of its own.
    const header = readAt(file, entry.offset, 30);
    const data = entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
    const packed = readAt(file, data, entry.packed);
    return entry.method === DEFLATED ? zlib.inflateRawSync(packed) : packed;
  } finally {
    fs.closeSync(file);
  }
}
