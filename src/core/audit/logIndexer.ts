import { type FileHandle, open } from 'node:fs/promises';
import type {
  CallPage,
  CallQuery,
  CallRow,
  Facets,
  LogState,
  TrendQuery,
  Trends,
  WhichCall,
} from './calls';
import { type SetAsideFile, unlessMissing } from './files';
import { type LogLine, parseLogLine } from './line';
import { callIdOf, type Eviction, hashOf, LogIndex, type Mark } from './logIndex';
import { MOST_LINE_BYTES, NEWLINE, openFiles, readLog } from './reader';

export interface LogIndexerOptions {
  /** `anew`: the rows are not what they were. Must not throw. */
  onChanged: (state: LogState, anew: boolean) => void;
  /** Milliseconds that never run backwards. */
  monotonic?: () => number;
  /** The oldest calls go when there are more. */
  mostRows?: number;
  /** The newest calls are shown first when there is more to read than this. Bytes. */
  tailFrom?: number;
  /** Bytes. */
  blockBytes?: number;
}

/** A call as it is listed, and as it stands in the log. */
export interface LoggedCall {
  row: CallRow;
  line: LogLine;
}

/** A file of the log, as far as it is read. */
interface LogFile {
  readonly id: number;
  /** Of what was set aside; undefined: it is written to. */
  number: number | undefined;
  /** Behind the last line that was read. */
  position: number;
  /** What stands before it, by which the file is known again: not every file system numbers files reliably. */
  last: Buffer;
  /** Within a line that is too long. */
  isSkipping: boolean;
}

const MB = 1024 * 1024;
const BLOCK_BYTES = MB;
const TAIL_FROM = MB;
const TAIL_CALLS = 200;
const TAIL_BYTES = 4 * MB;
const LAST_BYTES = 1024;
const PROGRESS_MS = 200;
const CALL_KINDS = ['call', 'error', 'timeout'];
const NOTHING = Buffer.alloc(0);

/**
 * The calls of a log on disk, with all that was set aside. Reads everything once and then only what was added; a log
 * that is another one is read anew.
 */
export class LogIndexer {
  readonly #path: string;
  readonly #onChanged: LogIndexerOptions['onChanged'];
  readonly #monotonic: () => number;
  readonly #mostRows: number | undefined;
  readonly #tailFrom: number;
  readonly #blockBytes: number;
  #state: LogState = { state: 'reading', read: 0, size: 0, calls: 0 };
  /** What is asked: that of everything, or until it is known that of the newest calls. */
  #shown: LogIndex;
  /** The lines of the newest calls, by row. */
  #tail: LogLine[] | undefined;
  #index: LogIndex;
  /** Oldest first. */
  #files: LogFile[] = [];
  #lastFile = 0;
  #skipped = 0;
  /** Lines that were taken or skipped. */
  #lines = 0;
  #bytes = { read: 0, size: 0 };
  #toldAt = -Infinity;
  /** Whose rows were told of last. */
  #told: { index: LogIndex; generation: number } | undefined;
  /** Everything was read, up to the end that it had then. */
  #isWhole = false;
  #isClosed = false;
  #looking: Promise<void> = Promise.resolve();
  #nextLook: Promise<void> | undefined;

  constructor(path: string, options: LogIndexerOptions) {
    this.#path = path;
    this.#onChanged = options.onChanged;
    this.#monotonic = options.monotonic ?? (() => performance.now());
    this.#mostRows = options.mostRows;
    this.#tailFrom = options.tailFrom ?? TAIL_FROM;
    this.#blockBytes = options.blockBytes ?? BLOCK_BYTES;
    this.#index = new LogIndex(this.#mostRows);
    this.#shown = this.#index;
  }

  get state(): LogState {
    return this.#state;
  }

  /** Reads what was added. Resolves when it is known, or when it is known why it cannot be; one look at a time. */
  look(): Promise<void> {
    this.#nextLook ??= this.#looking.then(() => {
      this.#nextLook = undefined;
      this.#looking = this.#look();
      return this.#looking;
    });
    return this.#nextLook;
  }

  /** Reads no further. */
  close(): void {
    this.#isClosed = true;
  }

  calls(query: CallQuery): CallPage {
    return this.#shown.query(query);
  }

  facets(): Facets {
    return this.#shown.facets();
  }

  row(row: number): CallRow | undefined {
    return this.#shown.row(row);
  }

  /** What the row stands for, read again; undefined when it is not there any more. */
  async line(row: number): Promise<LogLine | undefined> {
    if (this.#tail) return this.#tail[row];
    const mark = this.#shown.mark(row);
    const file = mark && this.#files.find(({ id }) => id === mark.file);
    if (!file) return undefined;
    const line = await this.#lineAt(file, mark);
    if (line) return line;
    // It may have been set aside just now.
    await this.look();
    return this.#files.includes(file) ? this.#lineAt(file, mark) : undefined;
  }

  /** By its row, or the newest with its id; undefined when it is not there any more. Row and line are of one moment. */
  async call(which: WhichCall): Promise<LoggedCall | undefined> {
    const { index, generation } = this.#told ?? {};
    // What a row is now has not been told yet, so whoever asks means another one.
    const isUntold = index === this.#shown && generation !== this.#shown.generation;
    if (isUntold) await this.look();
    const number = 'row' in which ? which.row : await this.find(which.call_id);
    if (number === undefined) return undefined;
    const row = this.row(number);
    const line = await this.line(number);
    return row && line && { row, line };
  }

  /** The row of the newest call with this id, which may have been added just now. */
  async find(callId: string, thenLook = true): Promise<number | undefined> {
    const shown = this.#shown;
    const { generation } = shown;
    for (const row of shown.candidates(callId)) {
      const line = await this.line(row);
      if (shown !== this.#shown || generation !== shown.generation) return this.find(callId);
      if (line && callIdOf(line) === callId) return row;
    }
    if (!thenLook) return undefined;
    await this.look();
    return this.find(callId, false);
  }

  /** Of all calls: waits until they are known. */
  async trends(query: TrendQuery): Promise<Trends> {
    if (this.#state.state === 'reading') await this.look();
    return this.#shown.trends(query);
  }

  /** In the order of the log. */
  async evictions(since: number): Promise<Eviction[]> {
    if (this.#state.state === 'reading') await this.look();
    return this.#shown.evictions(since);
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    try {
      const { current, older } = await openFiles(this.#path);
      try {
        await this.#readOn(current, older);
      } finally {
        await current?.close();
      }
    } catch (error) {
      const message = `The log ${this.#path} cannot be read: ${reasonOf(error)}.`;
      if (this.#state.state === 'failed' && this.#state.message === message) return;
      this.#change({ state: 'failed', message }, false);
    }
  }

  async #readOn(current: FileHandle | undefined, older: SetAsideFile[]): Promise<void> {
    const stats = await current?.stat();
    if (stats?.isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' });
    const size = stats?.size ?? 0;
    const isContinued = this.#isWhole && (await this.#isContinued(current, size, older));
    if (!isContinued) await this.#begin(older.reduce((sum, file) => sum + file.size, size));

    const before = this.#lines;
    for (const { path, number, size } of older) {
      const file = this.#fileOf(number);
      if (size <= file.position) continue;
      const handle = await unlessMissing(open(path, 'r'));
      try {
        if (handle) await this.#read(file, handle, size);
      } finally {
        await handle?.close();
      }
    }
    if (current) await this.#read(this.#fileOf(undefined), current, size);
    if (this.#isClosed) return;

    this.#isWhole = true;
    this.#tail = undefined;
    this.#shown = this.#index;
    const { length: calls, generation, isCut: more } = this.#index;
    const anew = this.#told?.index !== this.#index || this.#told.generation !== generation;
    if (!anew && before === this.#lines && this.#state.state === 'known') return;
    this.#told = { index: this.#index, generation };
    this.#change({ state: 'known', calls, skipped: this.#skipped, more }, anew);
  }

  /**
   * Whether the files are those that were read, and more of them at most: the one that was written to may have been set
   * aside, and the oldest be gone. Then each is known by its new name, and what is gone is forgotten.
   */
  async #isContinued(
    current: FileHandle | undefined,
    size: number,
    older: SetAsideFile[],
  ): Promise<boolean> {
    const aside = this.#files.filter(({ number }) => number !== undefined);
    const written = this.#files.find(({ number }) => number === undefined);
    const gone = aside.filter(({ number }) => !older.some((file) => file.number === number));
    if (gone.some((file, index) => file !== aside[index])) return false;
    const sizeOf = ({ number }: LogFile): number =>
      older.find((file) => file.number === number)?.size ?? Infinity;
    if (aside.some((file) => sizeOf(file) < file.position)) return false;

    const latest = aside.at(-1)?.number ?? 0;
    const added = older.filter(({ number }) => !aside.some((file) => file.number === number));
    if (added.some(({ number }) => number < latest)) return false;
    if (written) {
      const [setAside] = added;
      const file = setAside ? await unlessMissing(open(setAside.path, 'r')) : current;
      try {
        if ((setAside?.size ?? size) < written.position) return false;
        if (!(await isSame(file, written))) return false;
      } finally {
        if (file !== current) await file?.close();
      }
      if (setAside) written.number = setAside.number;
    }
    this.#files = this.#files.filter((file) => !gone.includes(file));
    this.#index.dropFiles(new Set(gone.map(({ id }) => id)));
    return true;
  }

  /** All is to be read anew. Of much, the newest calls are shown at once. */
  async #begin(size: number): Promise<void> {
    this.#isWhole = false;
    this.#index = new LogIndex(this.#mostRows);
    this.#files = [];
    this.#skipped = 0;
    this.#bytes = { read: 0, size };
    this.#toldAt = this.#monotonic();
    if (size <= this.#tailFrom) return;
    const query = { kinds: CALL_KINDS, limit: TAIL_CALLS, bytes: TAIL_BYTES };
    const lines = (await readLog(this.#path, query)).reverse();
    const index = new LogIndex();
    this.#tail = lines.filter((line) => index.add(line, { file: 0, offset: 0, length: 0 }));
    this.#shown = index;
    this.#tellProgress(true);
  }

  #fileOf(number: number | undefined): LogFile {
    const known = this.#files.find((file) => file.number === number);
    if (known) return known;
    const file = { id: ++this.#lastFile, number, position: 0, last: NOTHING, isSkipping: false };
    this.#files.push(file);
    return file;
  }

  /** Takes the lines between its position and `end`. The last waits until it is whole. */
  async #read(file: LogFile, handle: FileHandle, end: number): Promise<void> {
    let rest: Buffer = NOTHING;
    for (let at = file.position; at < end && !this.#isClosed;) {
      const block = await readBytes(handle, at, Math.min(this.#blockBytes, end - at));
      if (block.length === 0) break;
      at += block.length;
      this.#bytes.read += block.length;
      rest = this.#takeLines(file, rest.length > 0 ? Buffer.concat([rest, block]) : block);
      if (!this.#isWhole) this.#tellProgress(false);
    }
    // Not everybody ends the last line.
    if (rest.length > 0 && parseLogLine(rest.toString())) this.#takeLine(file, rest, rest.length);
    const known = Math.min(file.position, LAST_BYTES);
    file.last = await readBytes(handle, file.position - known, known);
  }

  /** Takes the lines of what follows the position. Gives what follows them. */
  #takeLines(file: LogFile, bytes: Buffer): Buffer {
    let start = 0;
    for (;;) {
      const newline = bytes.indexOf(NEWLINE, start);
      if (newline < 0) break;
      this.#takeLine(file, bytes.subarray(start, newline), newline + 1 - start);
      start = newline + 1;
    }
    const rest = bytes.subarray(start);
    if (rest.length <= MOST_LINE_BYTES && !file.isSkipping) return rest;
    if (!file.isSkipping) this.#skip();
    file.isSkipping = true;
    file.position += rest.length;
    return NOTHING;
  }

  /** `taken`: with the end of the line. */
  #takeLine(file: LogFile, bytes: Buffer, taken: number): void {
    const place = { file: file.id, offset: file.position, length: bytes.length };
    file.position += taken;
    if (file.isSkipping) {
      file.isSkipping = false;
      return;
    }
    const text = bytes.length > MOST_LINE_BYTES ? undefined : bytes.toString();
    if (text?.trim() === '') return;
    const line = text && parseLogLine(text);
    if (line && this.#index.add(line, place)) this.#lines++;
    else this.#skip();
  }

  #skip(): void {
    this.#lines++;
    this.#skipped++;
  }

  async #lineAt(file: LogFile, mark: Mark): Promise<LogLine | undefined> {
    const path = file.number === undefined ? this.#path : `${this.#path}.${file.number}`;
    const handle = await open(path, 'r').catch(() => undefined);
    try {
      const bytes = handle && (await readBytes(handle, mark.offset, mark.length));
      const line = bytes && parseLogLine(bytes.toString());
      const isSame =
        line && Date.parse(line.ts) === mark.at && hashOf(callIdOf(line)) === mark.hash;
      return isSame ? line : undefined;
    } catch {
      return undefined;
    } finally {
      await handle?.close();
    }
  }

  #tellProgress(anew: boolean): void {
    const now = this.#monotonic();
    if (!anew && now - this.#toldAt < PROGRESS_MS) return;
    this.#toldAt = now;
    this.#change({ state: 'reading', ...this.#bytes, calls: this.#index.length }, anew);
  }

  #change(state: LogState, anew: boolean): void {
    if (this.#isClosed) return;
    this.#state = state;
    this.#onChanged(state, anew);
  }
}

/** Less at the end of the file. */
async function readBytes(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

async function isSame(handle: FileHandle | undefined, file: LogFile): Promise<boolean> {
  const { last, position } = file;
  if (last.length === 0) return true;
  const there = handle && (await readBytes(handle, position - last.length, last.length));
  return there?.equals(last) === true;
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return 'this user may not read it';
    case 'EISDIR':
      return 'it is a folder';
    default:
      return message;
  }
}
