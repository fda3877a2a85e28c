import { isUtf8 } from 'node:buffer';
import { open, readdir, realpath, stat } from 'node:fs/promises';
import { basename, isAbsolute, join, relative, sep } from 'node:path';
import { cancelledError } from '../core';

/** One of the files that a job reads. */
export interface ReadFile {
  /** The path, as it is shown. */
  name: string;
  text: string;
  /** Where it was found. */
  path: string;
}

/** A file or folder that was not read, and why. */
export interface LeftOut {
  name: string;
  reason: string;
}

/** A file whose text may not be what its author wrote, and why. */
export type Doubt = LeftOut;

export interface FilesRead {
  sources: ReadFile[];
  leftOut: LeftOut[];
  doubts: Doubt[];
}

export interface ReadOptions {
  /** Nothing outside of these folders is read, wherever links point. */
  roots: readonly string[];
  /** What they are called, in their order. Default: as the last part of their paths. */
  names?: readonly string[];
  /** Nobody chose the paths: what is hidden or installed is passed by, as it is in folders. */
  found?: boolean;
  /** What editors hold and did not save yet, by path. */
  unsaved?: ReadonlyMap<string, string>;
  limits?: { files: number; bytes: number };
  signal?: AbortSignal;
  onFile?: (name: string, read: number) => void;
}

export const LIMITS = { files: 500, bytes: 5_000_000 };
/** Of a longer log only the end is read, or nothing: strings have a longest length. Bytes. */
export const MOST_LOG = 256_000_000;

/** Files, and those in folders and below, as text. Only cancelling rejects: what cannot be read is left out. */
export async function readFiles(
  paths: readonly string[],
  options: ReadOptions,
): Promise<FilesRead> {
  const named = options.roots.map((path, at) => ({
    path,
    name: options.names?.[at] ?? basename(path),
  }));
  const names = distinctNames(named);
  const roots = await Promise.all(
    options.roots.map(async (path, at) => ({
      path,
      name: names[at] ?? path,
      real: await realpath(path).catch(() => path),
    })),
  );
  const reading = new Reading(options, roots);
  for (const path of paths) await reading.take(path, !options.found);
  const { sources, leftOut, doubts } = reading;
  return { sources, leftOut, doubts };
}

interface Root {
  path: string;
  name: string;
  /** Without links. */
  real: string;
}

class Reading {
  readonly sources: ReadFile[] = [];
  readonly leftOut: LeftOut[] = [];
  readonly doubts: Doubt[] = [];
  /** Links may lead to one place in several ways, and in circles. */
  readonly #seen = new Set<string>();
  #bytes = 0;

  constructor(
    private readonly options: ReadOptions,
    private readonly roots: readonly Root[],
  ) {}

  /** A place that was not chosen itself, but found in a folder, is passed by when it is hidden or installed. */
  async take(path: string, chosen: boolean): Promise<void> {
    if (this.options.signal?.aborted) throw cancelledError();
    const name = this.#nameOf(path);
    const skip = (reason: string): void => void this.leftOut.push({ name, reason });
    const { files } = this.options.limits ?? LIMITS;
    const isPassedBy = (at: string): boolean => !chosen && PASSED_BY.test(basename(at));
    if (isPassedBy(path)) return skip('hidden or installed');
    // Folders are not looked into then: there may be any number of files in them.
    if (this.sources.length >= files) return skip(`more than ${files} files`);
    try {
      const real = await realpath(path);
      if (!this.roots.some((root) => isInside(real, root.real))) {
        return skip('outside of the workspace');
      }
      if (isPassedBy(real)) return skip('hidden or installed');
      if (this.#seen.has(real)) return;
      this.#seen.add(real);
      const found = await stat(real);
      if (found.isDirectory()) return await this.#takeFolder(path);
      if (!found.isFile()) return skip('not a file');
      await this.#takeFile(path, real, name, found.size, skip);
    } catch (thrown) {
      if (this.options.signal?.aborted) throw thrown;
      skip('could not be read');
    }
  }

  async #takeFolder(path: string): Promise<void> {
    const entries = await readdir(path);
    for (const entry of entries.sort()) await this.take(join(path, entry), false);
  }

  async #takeFile(
    path: string,
    real: string,
    name: string,
    size: number,
    skip: (reason: string) => void,
  ): Promise<void> {
    const { bytes } = this.options.limits ?? LIMITS;
    const unsaved = this.options.unsaved?.get(path) ?? this.options.unsaved?.get(real);
    const room = bytes - this.#bytes;
    const tooMuch = `more than ${megabytes(bytes)} in all`;
    if (unsaved === undefined && size > room) return skip(tooMuch);
    // It may have grown since it was measured: its end alone would pass for the whole.
    const file = unsaved === undefined ? await readEnd(real, room) : undefined;
    if (file?.cut) return skip(tooMuch);
    const read: Decoded | undefined = file ? textOf(file.bytes) : { text: unsaved ?? '' };
    if (read === undefined) return skip('not text');
    if (read.text.trim() === '') return skip('empty');
    const length = Buffer.byteLength(read.text);
    if (length > room) return skip(tooMuch);
    this.#bytes += length;
    this.sources.push({ name, text: read.text, path });
    if (read.doubt) this.doubts.push({ name, reason: read.doubt });
    this.options.onFile?.(name, this.sources.length);
  }

  /** Relative to its workspace folder, which is named when there are several. */
  #nameOf(path: string): string {
    const root = this.roots.find((one) => isInside(path, one.path));
    if (!root) return basename(path);
    const inner = relative(root.path, path).split(sep).join('/');
    return this.roots.length > 1 ? `${root.name}/${inner}` : inner || basename(path);
  }
}

/** The names of folders; where some share one, each has instead as much of the end of its path as tells them apart. */
export function distinctNames(folders: readonly { name: string; path: string }[]): string[] {
  return folders.map(({ name, path }) => {
    const same = folders.filter((one) => one.name === name && one.path !== path);
    if (same.length === 0) return name;
    const parts = partsOf(path);
    const ends = parts.map((_part, at) => parts.slice(-1 - at).join('/'));
    const others = same.map((one) => `/${partsOf(one.path).join('/')}`);
    return ends.find((end) => !others.some((other) => other.endsWith(`/${end}`))) ?? path;
  });
}

function partsOf(path: string): string[] {
  return path.split(/[\\/]/).filter(Boolean);
}

/** Whether a path is a folder or lies below it. */
export function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** Names of what is hidden or installed. */
const PASSED_BY = /^(\.|node_modules$)/;

/** What bytes say. */
export interface Decoded {
  text: string;
  /** Why that may not be what their author wrote. */
  doubt?: string;
}

/** What bytes say as text; undefined: they are none. */
export function textOf(bytes: Buffer): Decoded | undefined {
  const utf16 = UTF_16[bytes.subarray(0, 2).toString('hex')];
  if (!utf16 && bytes.includes(0)) return undefined;
  const text = new TextDecoder(utf16 ?? 'utf-8').decode(bytes);
  if (utf16 || isUtf8(bytes)) return { text };
  const bad = text.match(/\uFFFD/g)?.length ?? 0;
  const good = text.match(/[^\0-\x7F\uFFFD]/g)?.length ?? 0;
  if (good > bad) return { text, doubt: 'Shown as \uFFFD where bytes are not UTF-8' };
  const western = westernOf(bytes);
  return CONTROL.test(western)
    ? undefined
    : { text: western, doubt: 'Not UTF-8, and read as Windows-1252' };
}

/** What no text has. Terminals have others: bell, backspace, escape. */
// eslint-disable-next-line no-control-regex
const CONTROL = /[\0-\x06\x0E-\x1A\x1C-\x1F]/;

/** Windows-1252. Some versions of Node take it for Latin-1, which has no characters here. */
function westernOf(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[\x80-\x9F]/g, (c) => C1[c.charCodeAt(0) - 0x80] ?? c);
}

const C1 = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8DŽ\x8F\x90‘’“”•–—˜™š›œ\x9DžŸ';

/** By their byte order marks. */
const UTF_16: Record<string, string> = { fffe: 'utf-16le', feff: 'utf-16be' };

/** The end of a file, from the start of a line when there is more of it. */
export async function readEnd(
  path: string,
  most: number,
): Promise<{ bytes: Buffer; cut: boolean }> {
  // Opening a pipe would wait for somebody who writes to it.
  if (!(await stat(path)).isFile()) throw new Error('not a file');
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    const cut = size > most;
    const start = cut ? size - most : 0;
    const bytes = Buffer.alloc(Math.min(size, most));
    let length = 0;
    while (length < bytes.length) {
      const { bytesRead } = await handle.read(bytes, length, bytes.length - length, start + length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    const read = bytes.subarray(0, length);
    return { bytes: cut ? read.subarray(read.indexOf('\n') + 1) : read, cut };
  } finally {
    await handle.close();
  }
}

/** Names that are told of each kind. */
const MOST_NAMES = 3;

/** `a.log, b.log, c.log and 4 more` */
export function someNames(names: readonly string[]): string {
  const told = names.slice(0, MOST_NAMES).map((name) => name.replace(/\s+/g, ' '));
  const more = names.length - told.length;
  return `${told.join(', ')}${more > 0 ? ` and ${more.toLocaleString('en-US')} more` : ''}`;
}

/** What was left out or may be misread, in one sentence for each reason. */
export function readingNotes({ leftOut, doubts }: Omit<FilesRead, 'sources'>): string[] {
  return [
    ...byReason(leftOut).map(([reason, names]) => `Left out (${reason}): ${someNames(names)}.`),
    ...byReason(doubts).map(([reason, names]) => `${reason}: ${someNames(names)}.`),
  ];
}

/** Each reason once, with the names of its files. */
function byReason(files: readonly LeftOut[]): [reason: string, names: string[]][] {
  return [...new Set(files.map(({ reason }) => reason))].map((reason) => [
    reason,
    files.filter((one) => one.reason === reason).map(({ name }) => name),
  ]);
}

/** `5 MB`. */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_000_000).toLocaleString('en-US')} MB`;
}
