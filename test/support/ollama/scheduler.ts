/**
 * Which models are in memory and whose turn it is: Ollama's rules.
 *
 * - One request at a time per model (`numParallel`); the others wait in an unbounded FIFO queue.
 * - Loads happen one by one; only requests that need a load count against `maxQueue`.
 * - Other runner options mean a reload, which waits for the requests that are running.
 * - When there is no room, the idle runner with the shortest keep-alive goes.
 */
import { pause, unlessAborted, type Clock, type Timer } from './clock';
import type { Engine } from './engine';
import { errors, RequestCanceled } from './errors';
import type { Fault } from './faults';
import type { InstalledModel } from './models';

export interface SchedulerOptions {
  engine: Engine;
  clock: Clock;
  numParallel: number;
  maxQueue: number;
  maxLoadedModels: number;
  /** Bytes on the graphics card; 0 is a machine without one. */
  vram: number;
  /** Bytes beside it. A load that fits into neither runs out of memory. */
  ram: number;
  loadMs: number;
  loadTimeoutMs: number;
  /** Of a model that is loaded by a request without one. */
  keepAliveMs: number;
  /** Something changed that a test may be waiting for. */
  onChange: () => void;
}

export interface Wanted {
  model: InstalledModel;
  numCtx: number;
  /** Everything that a running runner cannot change, as comparable text. */
  runnerKey: string;
  /** Infinity is forever, 0 is until the request is over. Undefined: as the runner has it, or else the server's. */
  keepAliveMs: number | undefined;
  signal: AbortSignal;
  loadFault?: Fault['load'];
}

/** The right to use a loaded runner, until released. */
export interface Lease {
  runner: Runner;
  /** How long it took to have the model ready. */
  loadMs: number;
  release(): void;
}

export interface RunnerSnapshot {
  name: string;
  numCtx: number;
  size: number;
  sizeVram: number;
  loading: boolean;
  /** Requests that use it or wait for it. */
  references: number;
  keepAliveMs: number;
  /** Undefined while it has never been idle. */
  expiresAt?: number;
}

export class Runner {
  loading = true;
  references = 0;
  expiresAt?: number;
  /** Set when the runner must go as soon as nobody uses it. */
  leaving = false;
  /** Set when its process died under the requests that wait for it. */
  dead = false;
  expiry?: Timer;
  readonly slots: Slots;
  readonly gone: Promise<void>;
  resolveGone!: () => void;
  ready: Promise<void> = Promise.resolve();

  constructor(
    readonly model: InstalledModel,
    readonly numCtx: number,
    readonly runnerKey: string,
    readonly size: number,
    readonly sizeVram: number,
    public keepAliveMs: number,
    numParallel: number,
  ) {
    this.slots = new Slots(numParallel);
    this.gone = new Promise((resolve) => (this.resolveGone = resolve));
  }
}

/** A fair semaphore: first come, first served, and a waiter can leave the line. */
class Slots {
  private free: number;
  private readonly line: (() => void)[] = [];

  constructor(count: number) {
    this.free = count;
  }

  async take(signal: AbortSignal): Promise<void> {
    if (this.free > 0) {
      this.free--;
      return;
    }
    let turn!: () => void;
    const myTurn = new Promise<void>((resolve) => (turn = resolve));
    this.line.push(turn);
    try {
      await unlessAborted(myTurn, signal);
    } catch (error) {
      const place = this.line.indexOf(turn);
      // Called just as the client left: the slot goes to the next in line.
      if (place < 0) this.give();
      else this.line.splice(place, 1);
      throw error;
    }
  }

  give(): void {
    const next = this.line.shift();
    if (next) next();
    else this.free++;
  }
}

interface Pending {
  wanted: Wanted;
  resolve: (runner: Runner) => void;
  reject: (error: unknown) => void;
}

const KV_BYTES = 2 * 2;
/** Most models share each key/value head between four query heads. */
const GROUPED_HEADS = 4;
const GRAPH_BYTES = 256 * 2 ** 20;

/** Weights, key/value cache for the window, and the compute graph. */
export function memoryNeeded(model: InstalledModel, numCtx: number, numParallel: number): number {
  const layers = Math.max(1, Math.round(model.parameterCount / (12 * model.embeddingLength ** 2)));
  const cache = (layers * model.embeddingLength * KV_BYTES * numCtx * numParallel) / GROUPED_HEADS;
  const graph = Math.min(GRAPH_BYTES, model.size / 16);
  return Math.round(model.size + cache + graph);
}

export class Scheduler {
  readonly stats = { loads: 0, unloads: 0, evictions: 0 };
  private readonly loaded = new Map<string, Runner>();
  private readonly pending: Pending[] = [];
  private processing = false;
  /** The last unload: a load of the same model must not overtake it in the engine. */
  private unloading: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: SchedulerOptions) {}

  /** Longest-lived first, as /api/ps lists them. */
  runners(): Runner[] {
    return [...this.loaded.values()].sort((a, b) => this.expiryOf(b) - this.expiryOf(a));
  }

  expiryOf(runner: Runner): number {
    return runner.expiresAt ?? this.options.clock.now() + runner.keepAliveMs;
  }

  snapshot(): RunnerSnapshot[] {
    return this.runners().map((runner) => ({
      name: runner.model.name,
      numCtx: runner.numCtx,
      size: runner.size,
      sizeVram: runner.sizeVram,
      loading: runner.loading,
      references: runner.references,
      keepAliveMs: runner.keepAliveMs,
      expiresAt: runner.expiresAt,
    }));
  }

  /** Requests that wait for their load to begin. */
  get queued(): number {
    return this.pending.length;
  }

  async acquire(wanted: Wanted): Promise<Lease> {
    const started = this.options.clock.now();
    const runner = await this.referTo(wanted);
    const loadMs = this.options.clock.now() - started;
    try {
      await runner.slots.take(wanted.signal);
      if (runner.dead) {
        runner.slots.give();
        throw errors.runnerStopped();
      }
    } catch (error) {
      this.drop(runner);
      throw error;
    }
    let released = false;
    return {
      runner,
      loadMs,
      release: () => {
        if (released) return;
        released = true;
        runner.slots.give();
        this.drop(runner);
      },
    };
  }

  /** `keep_alive: 0` without a prompt. Returns at once; the runner goes when it is idle. */
  expire(model: InstalledModel): void {
    const runner = this.loaded.get(model.name);
    if (runner) this.leave(runner);
  }

  /** The runner's process is dead: it is gone whatever it was doing. */
  kill(runner: Runner): void {
    runner.dead = true;
    this.remove(runner);
  }

  /** The server process ends. */
  clear(): void {
    for (const { reject } of this.pending.splice(0)) reject(new RequestCanceled());
    for (const runner of [...this.loaded.values()]) this.remove(runner);
  }

  /** A ready runner that counts this request among its users. */
  private async referTo(wanted: Wanted): Promise<Runner> {
    for (;;) {
      if (wanted.signal.aborted) throw new RequestCanceled();
      const runner = this.loaded.get(wanted.model.name);
      if (!runner || !suits(runner, wanted)) return this.enqueue(wanted);
      this.refer(runner, wanted);
      try {
        await unlessAborted(runner.ready, wanted.signal);
        return runner;
      } catch (error) {
        this.drop(runner);
        // Whoever asked for that load went away; this request asks for its own.
        const orphaned = error instanceof RequestCanceled && !wanted.signal.aborted;
        if (!orphaned) throw error;
      }
    }
  }

  private enqueue(wanted: Wanted): Promise<Runner> {
    if (this.pending.length >= this.options.maxQueue && this.processing) throw errors.queueFull();
    return new Promise((resolve, reject) => {
      const deliver = (runner: Runner) => {
        // The client may have left between the end of the load and this moment.
        if (wanted.signal.aborted) this.drop(runner);
        else resolve(runner);
      };
      const entry: Pending = { wanted, resolve: deliver, reject };
      this.pending.push(entry);
      this.options.onChange();
      wanted.signal.addEventListener(
        'abort',
        () => {
          const place = this.pending.indexOf(entry);
          if (place >= 0) this.pending.splice(place, 1);
          this.options.onChange();
          reject(new RequestCanceled());
        },
        { once: true },
      );
      void this.processPending();
    });
  }

  /** Strictly one by one: a slow load holds up every other model that is not loaded. */
  private async processPending(): Promise<void> {
    if (this.processing) return;
    this.processing = true;
    try {
      for (let entry = this.pending.shift(); entry; entry = this.pending.shift()) {
        await this.provide(entry.wanted).then(entry.resolve, entry.reject);
      }
    } finally {
      this.processing = false;
    }
  }

  private async provide(wanted: Wanted): Promise<Runner> {
    for (;;) {
      if (wanted.signal.aborted) throw new RequestCanceled();
      const current = this.loaded.get(wanted.model.name);
      if (current && suits(current, wanted)) {
        this.refer(current, wanted);
        return current;
      }
      const victim = current ?? this.inTheWay(wanted);
      if (!victim) return this.load(wanted);
      if (victim !== current) this.stats.evictions++;
      this.leave(victim);
      await unlessAborted(victim.gone, wanted.signal);
    }
  }

  /** The runner that has to go before this model can be loaded, if any. */
  private inTheWay(wanted: Wanted): Runner | undefined {
    const { maxLoadedModels, vram } = this.options;
    const full = this.loaded.size >= maxLoadedModels;
    const tooLittle = vram > 0 && this.sizeOf(wanted) > this.freeVram();
    if (!this.loaded.size || !(full || tooLittle)) return undefined;
    const byKeepAlive = [...this.loaded.values()].sort(
      (a, b) => compare(a.keepAliveMs, b.keepAliveMs) || compare(a.model.name, b.model.name),
    );
    return byKeepAlive.find((runner) => runner.references === 0) ?? byKeepAlive[0];
  }

  private async load(wanted: Wanted): Promise<Runner> {
    const size = this.sizeOf(wanted);
    const { clock, vram, ram, numParallel, engine } = this.options;
    if (size > vram + ram) {
      // What Ollama does when memory runs out: every runner is let go.
      for (const other of this.loaded.values()) this.leave(other);
      throw errors.outOfMemory(size - wanted.model.size);
    }
    const runner = new Runner(
      wanted.model,
      wanted.numCtx,
      wanted.runnerKey,
      size,
      Math.max(0, Math.min(size, this.freeVram())),
      wanted.keepAliveMs ?? this.options.keepAliveMs,
      numParallel,
    );
    // In the list from now on: /api/ps shows a model while it is still loading.
    this.loaded.set(wanted.model.name, runner);
    this.refer(runner, wanted);
    runner.ready = this.start(runner, wanted, clock, engine);
    this.options.onChange();
    try {
      await runner.ready;
    } catch (error) {
      this.remove(runner);
      throw wanted.signal.aborted ? new RequestCanceled() : error;
    }
    return runner;
  }

  private async start(runner: Runner, wanted: Wanted, clock: Clock, engine: Engine): Promise<void> {
    const { model, signal, loadFault } = wanted;
    const fault = loadFault ?? (model.loadError ? { error: model.loadError } : undefined);
    try {
      if (fault === 'stalls') {
        await pause(clock, this.options.loadTimeoutMs, signal);
        throw errors.loadStalled();
      }
      const ms = model.loadMs ?? this.options.loadMs;
      if (ms > 0) await pause(clock, ms, signal);
      if (fault === 'out-of-memory') throw errors.outOfMemory(runner.size - model.size);
      if (fault) throw errors.loadFailed(textOf(fault));
      await this.unloading;
      await unlessAborted(engine.load(model, runner.numCtx, signal), signal);
    } catch (error) {
      throw signal.aborted ? new RequestCanceled() : error;
    }
    runner.loading = false;
    this.stats.loads++;
    this.options.onChange();
  }

  private refer(runner: Runner, wanted: Wanted): void {
    runner.references++;
    if (wanted.keepAliveMs !== undefined) runner.keepAliveMs = wanted.keepAliveMs;
    runner.expiry?.cancel();
    runner.expiresAt = undefined;
    this.options.onChange();
  }

  private drop(runner: Runner): void {
    runner.references--;
    if (runner.references === 0) this.becomeIdle(runner);
    this.options.onChange();
  }

  private becomeIdle(runner: Runner): void {
    if (this.loaded.get(runner.model.name) !== runner) return;
    if (runner.leaving || runner.keepAliveMs <= 0) return this.remove(runner);
    const { clock } = this.options;
    runner.expiresAt = clock.now() + runner.keepAliveMs;
    if (Number.isFinite(runner.keepAliveMs)) {
      runner.expiry = clock.setTimeout(() => this.remove(runner), runner.keepAliveMs);
    }
  }

  private leave(runner: Runner): void {
    runner.leaving = true;
    runner.keepAliveMs = 0;
    if (runner.references === 0) this.remove(runner);
  }

  private remove(runner: Runner): void {
    runner.expiry?.cancel();
    if (this.loaded.get(runner.model.name) !== runner) return;
    this.loaded.delete(runner.model.name);
    if (!runner.loading) this.stats.unloads++;
    this.unloading = this.options.engine.unload(runner.model).catch(() => undefined);
    runner.resolveGone();
    this.options.onChange();
  }

  private sizeOf(wanted: Wanted): number {
    return memoryNeeded(wanted.model, wanted.numCtx, this.options.numParallel);
  }

  private freeVram(): number {
    let used = 0;
    for (const runner of this.loaded.values()) used += runner.sizeVram;
    return this.options.vram - used;
  }
}

function suits(runner: Runner, wanted: Wanted): boolean {
  return !runner.leaving && runner.runnerKey === wanted.runnerKey;
}

function textOf(fault: 'fails' | { error: string }): string {
  if (fault !== 'fails') return fault.error;
  const cause = "error loading model: check_tensor_dims: tensor 'output_norm.weight' not found";
  return `llama-server process has terminated: exit status 1: ${cause}\n${cause}`;
}

function compare<T extends number | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
