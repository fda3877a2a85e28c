import { Worker } from 'node:worker_threads';
import { type Clock, systemClock, type Timer } from '../clock';
import type { CallPage, CallQuery, Facets, LogState, TrendQuery, Trends, WhichCall } from './calls';
import type { Eviction } from './logIndex';
import type { LoggedCall } from './logIndexer';

export type LogQuestion =
  | { what: 'look' }
  | { what: 'facets' }
  | { what: 'calls'; query: CallQuery }
  | { what: 'call'; which: WhichCall }
  | { what: 'trends'; query: TrendQuery }
  | { what: 'evictions'; since: number };

export type ToWorker = { open: string } | { id: number; question: LogQuestion };

export type FromWorker =
  | { state: LogState; anew: boolean }
  | { id: number; value: unknown }
  | { id: number; problem: string };

/** `anew`: no row is what it was. */
export type LogListener = (state: LogState, anew: boolean) => void;

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

/** How often a watched log is looked at: other windows write to it too. Milliseconds. */
const WATCH_MS = 500;
const MOST_HEAP_MB = 512;
const NOTHING_READ: LogState = { state: 'reading', read: 0, size: 0, calls: 0 };

/**
 * The calls of the log, read and added up in a thread of their own, which starts with the first `open`. Questions
 * reject when that thread is gone; the next `open` starts another.
 */
export class LogService {
  readonly #workerFile: string;
  readonly #clock: Clock;
  readonly #listeners = new Set<LogListener>();
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #path: string | undefined;
  #state = NOTHING_READ;
  #lastId = 0;
  #isWatched = false;
  #timer: Timer | undefined;

  constructor(workerFile: string, clock: Clock = systemClock) {
    this.#workerFile = workerFile;
    this.#clock = clock;
  }

  get state(): LogState {
    return this.#state;
  }

  /** Begins to read this log, if it is not open already. */
  open(path: string): void {
    if (this.#worker && this.#path === path) return;
    this.#path = path;
    this.#worker ??= this.#start();
    this.#worker.postMessage({ open: path } satisfies ToWorker);
    this.#change(NOTHING_READ, true);
    this.#lookAlong();
  }

  /** Reads what was added. Resolves when it is known, or when listeners know why it cannot be. */
  async look(): Promise<void> {
    await this.#ask({ what: 'look' }).catch(() => {});
  }

  /** Looks by itself from time to time. */
  watch(isWatched: boolean): void {
    if (this.#isWatched === isWatched) return;
    this.#isWatched = isWatched;
    if (!isWatched) this.#timer?.cancel();
    else if (this.#worker) this.#lookAlong();
  }

  /** Of the newest calls only while the log is read. */
  calls(query: CallQuery): Promise<CallPage> {
    return this.#ask({ what: 'calls', query });
  }

  facets(): Promise<Facets> {
    return this.#ask({ what: 'facets' });
  }

  /** By its row, or the newest with its id; undefined when it is not in the log any more. */
  call(which: WhichCall): Promise<LoggedCall | undefined> {
    return this.#ask({ what: 'call', which });
  }

  /** Waits until the whole log is read. */
  trends(query: TrendQuery): Promise<Trends> {
    return this.#ask({ what: 'trends', query });
  }

  /** Oldest first. Waits until the whole log is read. */
  evictions(since: number): Promise<Eviction[]> {
    return this.#ask({ what: 'evictions', since });
  }

  /** Gives the way to hear no more. */
  onChanged(listener: LogListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Ends the thread, and with it what it holds, until the next `open`. */
  close(): void {
    this.#end('The log is closed.');
    this.#path = undefined;
    this.#state = NOTHING_READ;
  }

  dispose(): void {
    this.#listeners.clear();
    this.close();
  }

  #start(): Worker {
    const worker = new Worker(this.#workerFile, {
      // Options of this process may be of no use there, or forbidden.
      execArgv: [],
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: MOST_HEAP_MB },
    });
    const onGone = (reason: string): void => {
      if (this.#worker !== worker) return;
      const message = `The log is not read any more: ${reason}.`;
      this.#end(message);
      this.#change({ state: 'failed', message }, true);
    };
    worker.on('message', (message: FromWorker) => {
      if (this.#worker === worker) this.#receive(message);
    });
    worker.on('error', (error: Error) => onGone(error.message));
    worker.on('exit', () => onGone('its thread ended'));
    return worker;
  }

  #receive(message: FromWorker): void {
    if ('state' in message) return this.#change(message.state, message.anew);
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ('problem' in message) waiting?.reject(new Error(message.problem));
    else waiting?.resolve(message.value as never);
  }

  #ask<T>(question: LogQuestion): Promise<T> {
    const worker = this.#worker;
    if (!worker) return Promise.reject(new Error('The log is not open.'));
    return new Promise<T>((resolve, reject) => {
      const id = ++this.#lastId;
      this.#waiting.set(id, { resolve, reject });
      worker.postMessage({ id, question } satisfies ToWorker);
    });
  }

  /** Looks now, and while it is watched again and again. */
  #lookAlong(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const worker = this.#worker;
    void this.look().then(() => {
      if (!this.#isWatched || this.#worker !== worker || this.#timer) return;
      this.#timer = this.#clock.setTimeout(() => this.#lookAlong(), WATCH_MS);
    });
  }

  #end(reason: string): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const worker = this.#worker;
    this.#worker = undefined;
    void worker?.terminate();
    for (const { reject } of this.#waiting.values()) reject(new Error(reason));
    this.#waiting.clear();
  }

  #change(state: LogState, anew: boolean): void {
    this.#state = state;
    for (const listener of this.#listeners) listener(state, anew);
  }
}
