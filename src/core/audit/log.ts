import { chmod, type FileHandle, mkdir, open, rename, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setAsideFiles, unlessMissing } from './files';

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

/** How large the log may become. Bytes. */
export interface LogSizes {
  /** The file is set aside when it has grown past this. */
  file: number;
  /** So much is kept of what was set aside, and the rest of a file that begins in it. */
  kept: number;
}

const MB = 1024 * 1024;
const SIZES: LogSizes = { file: 20 * MB, kept: 60 * MB };

/** The size is looked at this many times while the file grows to its limit. */
const ROTATE_CHECKS = 100;

/** Whoever has taken longer than this to set the file aside has died over it. */
const TAKEN_MS = 10_000;

/**
 * The audit trail: one JSON line an event, appended in one write so that several processes can share the file.
 * A log that cannot be written never fails a call; `onProblem` hears of it once.
 */
export class AuditLog {
  readonly path: string;
  readonly #now: () => number;
  readonly #onProblem: (error: Error) => void;
  readonly #sizes: LogSizes;
  #tail: Promise<void> = Promise.resolve();
  #ready = false;
  #failed = false;
  /** Characters written since the size was looked at; others write too. */
  #unchecked = Infinity;
  /** The disk took only the beginning of a line. */
  #isCut = false;

  constructor(
    path: string,
    now: () => number,
    onProblem: (error: Error) => void = () => {},
    sizes = SIZES,
  ) {
    this.path = path;
    this.#now = now;
    this.#onProblem = onProblem;
    this.#sizes = sizes;
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
      if (this.#unchecked >= this.#sizes.file / ROTATE_CHECKS) await this.#rotate();
      this.#failed = false;
    } catch (error) {
      this.#ready = false;
      if (!this.#failed) this.#onProblem(error as Error);
      this.#failed = true;
    }
  }

  async #appendLine(line: string): Promise<void> {
    // One write and no more: between two of them another process may put a line of its own.
    const bytes = Buffer.from(this.#isCut ? `\n${line}` : line);
    const file = await this.#open();
    try {
      const { bytesWritten } = await file.write(bytes);
      this.#isCut = bytesWritten < bytes.length;
      if (this.#isCut) throw new Error('There was no room for the whole line.');
    } finally {
      await file.close();
    }
  }

  async #open(): Promise<FileHandle> {
    const file = await unlessMissing(open(this.path, 'a', 0o600));
    if (file) return file;
    // Somebody deleted the folder.
    await this.#prepare();
    return open(this.path, 'a', 0o600);
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

  /** Windows refuses while others have the file open; then it goes on growing until the size is looked at again. */
  async #rotate(): Promise<void> {
    this.#unchecked = 0;
    try {
      if (await this.#isFull()) await this.#setAside();
    } catch {
      return;
    }
  }

  /**
   * Whoever creates the file of the next number sets the log aside there, so that of several windows only one does, and
   * no file that has lines is ever replaced.
   */
  async #setAside(): Promise<void> {
    const latest = (await setAsideFiles(this.path)).at(-1);
    if (latest?.size === 0 && this.#now() - latest.changedAt < TAKEN_MS) return;
    const target = `${this.path}.${(latest?.number ?? 0) + 1}`;
    await (await open(target, 'wx', 0o600)).close();
    try {
      // Since the first look another window may have set it aside under the number before.
      if (await this.#isFull()) await rename(this.path, target);
    } finally {
      if ((await stat(target)).size === 0) await unlink(target);
    }
    // Whoever opens the log finds one, even an empty one.
    this.#ready = false;
    await this.#prepare();
    await this.#deleteOldest();
  }

  async #deleteOldest(): Promise<void> {
    let kept = 0;
    for (const { path, size, changedAt } of (await setAsideFiles(this.path)).reverse()) {
      const isLeftOver = size === 0 && this.#now() - changedAt >= TAKEN_MS;
      if (kept >= this.#sizes.kept || isLeftOver) await unlink(path);
      kept += size;
    }
  }

  async #isFull(): Promise<boolean> {
    return (await stat(this.path)).size >= this.#sizes.file;
  }
}
