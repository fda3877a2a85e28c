import { appendFile, chmod, mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

export const LOG_KINDS = [
  'call',
  'error',
  'timeout',
  'fallback',
  'backend_fallback',
  'breaker',
  'prewarm',
  'eviction',
] as const;
export type LogKind = (typeof LOG_KINDS)[number];

export interface LogEvent {
  kind: LogKind;
  [field: string]: unknown;
}

/** A line as it was read: others write to the same file, so nothing but `kind` and `ts` is certain. */
export interface LogLine extends LogEvent {
  ts: string;
}

/** The file is set aside as `.1` when it has grown past this. Bytes. */
const ROTATE_BYTES = 20 * 1024 * 1024;

/** The size is looked at this many times while the file grows to its limit. */
const ROTATE_CHECKS = 100;

/**
 * The audit trail: one JSON line an event, appended in one write so that several processes can share the file.
 * A log that cannot be written never fails a call; `onProblem` hears of it once.
 */
export class AuditLog {
  readonly path: string;
  readonly #now: () => number;
  readonly #onProblem: (error: Error) => void;
  readonly #rotateBytes: number;
  #tail: Promise<void> = Promise.resolve();
  #ready = false;
  #failed = false;
  /** Characters written since the size was looked at; others write too. */
  #unchecked = Infinity;

  constructor(
    path: string,
    now: () => number,
    onProblem: (error: Error) => void = () => {},
    rotateBytes = ROTATE_BYTES,
  ) {
    this.path = path;
    this.#now = now;
    this.#onProblem = onProblem;
    this.#rotateBytes = rotateBytes;
  }

  /** Appends one line. Returns at once; lines are written in order. */
  write(event: LogEvent): void {
    const { kind, ...fields } = event;
    const line = `${JSON.stringify({ kind, ts: new Date(this.#now()).toISOString(), ...fields })}\n`;
    this.#tail = this.#tail.then(() => this.#append(line));
  }

  /** Resolves when everything written so far is on its way to the disk. */
  async flush(): Promise<void> {
    await this.#tail;
  }

  async #append(line: string): Promise<void> {
    try {
      if (!this.#ready) await this.#prepare();
      await this.#appendLine(line);
      this.#unchecked += line.length;
      if (this.#unchecked >= this.#rotateBytes / ROTATE_CHECKS) await this.#rotate();
      this.#failed = false;
    } catch (error) {
      this.#ready = false;
      if (!this.#failed) this.#onProblem(error as Error);
      this.#failed = true;
    }
  }

  async #appendLine(line: string): Promise<void> {
    try {
      await appendFile(this.path, line, { flag: 'a', mode: 0o600 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      // Somebody deleted the folder.
      await this.#prepare();
      await appendFile(this.path, line, { flag: 'a', mode: 0o600 });
    }
  }

  async #prepare(): Promise<void> {
    const created = await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    if (created) await chmod(dirname(this.path), 0o700);
    const file = await open(this.path, 'a', 0o600);
    try {
      // A file made by another program may be readable by others.
      await file.chmod(0o600);
    } finally {
      await file.close();
    }
    this.#ready = true;
  }

  async #rotate(): Promise<void> {
    this.#unchecked = 0;
    try {
      if ((await stat(this.path)).size < this.#rotateBytes) return;
      await rename(this.path, `${this.path}.1`);
    } catch (error) {
      // Another window was quicker.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    this.#ready = false;
  }
}

/** How much of the end of the file is read. Bytes. */
const TAIL_BYTES = 512 * 1024;

/** The latest lines, newest first. Lines that others wrote are kept, lines that are no JSON are skipped. */
export async function tailLog(path: string, limit: number): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  // Right after a rotation the latest lines are in the file that was set aside.
  for (const file of [path, `${path}.1`]) {
    if (lines.length >= limit) break;
    for (const line of (await readEnd(file, TAIL_BYTES)).split('\n').reverse()) {
      if (lines.length >= limit) break;
      const parsed = parseLogLine(line);
      if (parsed) lines.push(parsed);
    }
  }
  return lines;
}

export function parseLogLine(line: string): LogLine | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const value = JSON.parse(line) as Partial<LogLine>;
    return typeof value.kind === 'string' && typeof value.ts === 'string'
      ? (value as LogLine)
      : undefined;
  } catch {
    return undefined;
  }
}

async function readEnd(path: string, bytes: number): Promise<string> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
  try {
    const { size } = await file.stat();
    const length = Math.min(size, bytes);
    const buffer = Buffer.alloc(length);
    await file.read(buffer, 0, length, size - length);
    const text = buffer.toString('utf8');
    // The first line is likely cut.
    return size > bytes ? text.slice(text.indexOf('\n') + 1) : text;
  } finally {
    await file.close();
  }
}
