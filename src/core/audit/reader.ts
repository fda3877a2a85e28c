import { type FileHandle, open } from 'node:fs/promises';
import type { Clock, Timer } from '../clock';
import { type SetAsideFile, setAsideFiles, unlessMissing } from './files';
import { type LogFilter, type LogLine, matchesFilter, parseLogLine } from './line';

export interface LogQuery extends LogFilter {
  /** At most this many lines. */
  limit: number;
  /** How far back to look. Default: to the oldest line. */
  bytes?: number;
}

export interface Follower {
  /** Nothing is heard after it. */
  close(): void;
}

/** How often the file is looked at; its folder may be on a network, where nobody tells of changes. Milliseconds. */
const POLL_MS = 500;
const BLOCK_BYTES = 64 * 1024;
/** What is longer is no line, and is skipped. Bytes. */
export const MOST_LINE_BYTES = 16 * 1024 * 1024;
export const NEWLINE = 0x0a;

/** The lines that match, newest first, also from what was set aside. Lines that cannot be read are skipped. */
export function readLog(path: string, query: LogQuery): Promise<LogLine[]> {
  return new LogReader(path).read(query);
}

/**
 * Tells of the lines that match, oldest first: at once of the latest that are there, of none where there are none, then
 * of each that is added by whomever. `onLines` must not throw.
 */
export function followLog(
  path: string,
  query: LogQuery,
  onLines: (lines: LogLine[]) => void,
  clock: Clock,
): Follower {
  const reader = new LogReader(path);
  let timer: Timer | undefined;
  let isFirst = true;
  let closed = false;
  const look = async (): Promise<void> => {
    // What cannot be read now may be readable in a moment; nothing is left out until then.
    const lines = await reader.read(query).catch(() => []);
    if (closed) return;
    if (isFirst || lines.length > 0) onLines(lines.reverse());
    isFirst = false;
    timer = clock.setTimeout(() => void look(), POLL_MS);
  };
  void look();
  return {
    close() {
      closed = true;
      timer?.cancel();
    },
  };
}

/** Reads what it has not read yet. Files are told apart by name: not every file system numbers them reliably. */
class LogReader {
  readonly #path: string;
  /** Read up to here in the file that is written to. */
  #position = 0;
  /** The same for what was set aside, by number. */
  #positions = new Map<number, number>();

  constructor(path: string) {
    this.#path = path;
  }

  /** Newest first. */
  async read({ limit, bytes = Infinity, ...filter }: LogQuery): Promise<LogLine[]> {
    const lines: LogLine[] = [];
    let bytesLeft = bytes;
    /** Gives the position behind the last line that is complete. */
    const take = async (file: FileHandle, size: number, position: number): Promise<number> => {
      // A file that has shrunk is another one.
      const start = Math.max(position <= size ? position : 0, size - bytesLeft);
      bytesLeft -= size - start;
      let end: number | undefined;
      for await (const bytes of linesBefore(file, start, size)) {
        if (lines.length >= limit) break;
        const line = parseLogLine(bytes.toString());
        end ??= line ? size : size - bytes.length;
        if (line && matchesFilter(line, filter)) lines.push(line);
      }
      return end ?? size;
    };

    const { current, older } = await openFiles(this.#path);
    try {
      const known = new Map(this.#positions);
      const rotated = older.find(({ number }) => !known.has(number));
      if (rotated) known.set(rotated.number, this.#position);
      const size = current ? (await current.stat()).size : 0;
      const position = current ? await take(current, size, rotated ? 0 : this.#position) : 0;
      const positions = new Map<number, number>();
      for (const { path, number, size } of older.reverse()) {
        const file = lines.length < limit ? await unlessMissing(open(path, 'r')) : undefined;
        try {
          positions.set(number, file ? await take(file, size, known.get(number) ?? 0) : size);
        } finally {
          await file?.close();
        }
      }
      this.#position = position;
      this.#positions = positions;
      return lines;
    } finally {
      await current?.close();
    }
  }
}

/** The file that is written to, and those set aside before it, oldest first. */
export async function openFiles(
  path: string,
): Promise<{ current: FileHandle | undefined; older: SetAsideFile[] }> {
  const list = async (): Promise<SetAsideFile[]> =>
    (await setAsideFiles(path)).filter(({ size }) => size > 0);
  for (;;) {
    const before = await list();
    const current = await unlessMissing(open(path, 'r'));
    try {
      const older = await list();
      if (older.at(-1)?.number === before.at(-1)?.number) return { current, older };
    } catch (error) {
      await current?.close();
      throw error;
    }
    // It was set aside just now.
    await current?.close();
  }
}

/** The lines between two positions, last first. The first is what follows the last newline, so it may be cut or empty. */
async function* linesBefore(file: FileHandle, start: number, end: number): AsyncGenerator<Buffer> {
  /** Of the line whose beginning is not read yet. */
  let rest: Buffer[] = [];
  let restBytes = 0;
  for (let at = end; at > start;) {
    const length = Math.min(BLOCK_BYTES, at - start);
    at -= length;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
    let stop = bytesRead;
    while (stop > 0) {
      const newline = buffer.lastIndexOf(NEWLINE, stop - 1);
      if (newline < 0) break;
      yield Buffer.concat([buffer.subarray(newline + 1, stop), ...rest]);
      rest = [];
      restBytes = 0;
      stop = newline;
    }
    rest.unshift(buffer.subarray(0, stop));
    restBytes += stop;
    if (restBytes > MOST_LINE_BYTES) {
      // Its beginning alone is no JSON.
      rest = [];
      restBytes = 0;
    }
  }
  yield Buffer.concat(rest);
}
