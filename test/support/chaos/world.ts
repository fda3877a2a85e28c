/** Two servers, an intern and a clock on which a schedule is played. */
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import {
  type Backend,
  type BreakerStatus,
  type Clock,
  createIntern,
  type Envelope,
  type Intern,
  InternError,
  MemoryStore,
  type Phase,
  type Settings,
} from '../../../src/core';
import type { Timer } from '../ollama/clock';
import { CLOUD_KEY, type CloudServer, startCloud } from '../ollama/cloud';
import { ComputedEngine } from '../ollama/computed';
import type { EnginePiece, EngineRequest, EngineResult } from '../ollama/engine';
import {
  ManualClock,
  type OllamaServer,
  type RecordedRequest,
  startOllama,
} from '../ollama/server';
import {
  type CallPlan,
  CHAINS,
  CLOUD_DEEP_MODEL,
  CLOUD_MODEL,
  type FaultPlan,
  type Happening,
  LARGE,
  OTHER,
  type Schedule,
  type Side,
  SMALL,
} from './plan';

const OTHER_CLIENT = 'x-other-client';
const TEXT =
  'The limiter admits two calls at once.\nOthers wait in line. Waiting can be cancelled.\n';
const WRONG_KEY = 'wrong-key';
/** No schedule is allowed to take longer. */
const HORIZON_MS = 12 * 3_600_000;
/** Turns of the event loop without any change before time moves on. */
const QUIET_TURNS = 5;
/** A line of an answer is no longer; in parts each takes a turn. Bytes. */
const LONGEST_LINE = 500;
const STUCK_TURNS = 20_000;

// --- time ---------------------------------------------------------------------------------------

/** A manual clock that knows when its next timer is due, so that nobody waits through empty time. */
class SteppingClock extends ManualClock {
  readonly #due = new Set<{ at: number }>();
  /** Goes up with everything that happens on the clock. */
  changes = 0;

  override setTimeout(run: () => void, ms: number): Timer {
    const entry = { at: this.now() + Math.max(0, ms) };
    const over = (): void => void (this.#due.delete(entry) && this.changes++);
    this.#due.add(entry);
    this.changes++;
    const timer = super.setTimeout(() => (over(), run()), ms);
    return { cancel: () => (over(), timer.cancel()) };
  }

  get nextAt(): number | undefined {
    const times = [...this.#due].map(({ at }) => at);
    return times.length === 0 ? undefined : Math.min(...times);
  }
}

/** The core's clock on the simulator's; counts the core's own timers. */
class CountingClock implements Clock {
  readonly #pending = new Set<object>();

  constructor(private readonly clock: ManualClock) {}

  get pending(): number {
    return this.#pending.size;
  }

  now(): number {
    return this.clock.now();
  }

  monotonic(): number {
    return this.clock.now();
  }

  setTimeout(run: () => void, ms: number): Timer {
    const entry = {};
    this.#pending.add(entry);
    const timer = this.clock.setTimeout(() => (this.#pending.delete(entry), run()), ms);
    return { cancel: () => (this.#pending.delete(entry), timer.cancel()) };
  }
}

/** A value that changes, and since when it is what it is. */
class Since<T> {
  #before: T;
  #at = -Infinity;

  constructor(
    private readonly clock: ManualClock,
    private value: T,
  ) {
    this.#before = value;
  }

  get now(): T {
    return this.value;
  }

  set(value: T): void {
    if (value === this.value) return;
    this.#before = this.#at === this.clock.now() ? this.#before : this.value;
    this.#at = this.clock.now();
    this.value = value;
  }

  /** What it may be taken for at this moment: a change takes a moment to be heard of. */
  get possible(): T[] {
    return this.#at === this.clock.now() ? [this.value, this.#before] : [this.value];
  }
}

// --- what is seen -------------------------------------------------------------------------------

/** What an engine said in answer to one request. */
interface Said {
  side: Side;
  call: number | undefined;
  text: string;
}

/** The cloud speaks up, so that its words are known from those of the local server. */
class NotingEngine extends ComputedEngine {
  readonly said: Said[] = [];

  constructor(private readonly side: Side) {
    super();
  }

  override generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult> {
    const text = request.messages.map(({ content }) => content).join('\n');
    const said: Said = { side: this.side, call: callIn(text), text: '' };
    this.said.push(said);
    return super.generate(request, (piece) => {
      if (piece.kind !== 'text') return onPiece(piece);
      const word = this.side === 'cloud' ? piece.text.toUpperCase() : piece.text;
      said.text += word;
      return onPiece({ ...piece, text: word });
    });
  }
}

/** A request of ours at the moment when it arrives. */
export interface Arrival {
  side: Side;
  request: RecordedRequest;
  /** The number of the call, when it holds a prompt. */
  call: number | undefined;
  modes: string[];
  keys: (string | undefined)[];
  breaker: BreakerStatus['state'][];
}

/** A call as somebody outside sees it. */
export interface Seen {
  number: number;
  plan: CallPlan;
  callId: string;
  startedAt: number;
  endedAt: number | undefined;
  cancelledAt: number | undefined;
  /** The modes of the cloud during the call. */
  modes: Set<string>;
  text: string;
  deltas: number;
  phases: Set<Phase['phase']>;
  /** What was still said about it after its end. */
  late: string[];
  envelope: Envelope | undefined;
  error: unknown;
}

export class World {
  readonly clock = new SteppingClock();
  readonly coreClock = new CountingClock(this.clock);
  readonly calls: Seen[] = [];
  readonly arrivals: Arrival[] = [];
  readonly sleeps: { at: number; ms: number }[] = [];
  readonly problems: string[] = [];
  readonly store = new MemoryStore();
  readonly engines = { local: new NotingEngine('local'), cloud: new NotingEngine('cloud') };
  readonly socketsBefore = openSockets();
  isLookingUp = false;
  limit: number;
  mostConcurrent: number;
  servers!: { local: OllamaServer; cloud: CloudServer };
  intern!: Intern;
  readonly #mode: Since<string>;
  readonly #key = new Since<string | undefined>(this.clock, CLOUD_KEY);
  readonly #breaker = new Since<BreakerStatus['state']>(this.clock, 'closed');
  #keyMs: number;
  #unfinished = 0;
  readonly #work: Record<Side, Promise<void>> = {
    local: Promise.resolve(),
    cloud: Promise.resolve(),
  };
  #working = 0;
  readonly #down = new Set<Side>();
  #isOver = false;
  #asleep: number[] = [];
  readonly #others = new AbortController();

  constructor(
    readonly schedule: Schedule,
    readonly folder: string,
  ) {
    this.limit = this.mostConcurrent = schedule.limit;
    this.#mode = new Since<string>(this.clock, schedule.mode);
    this.#keyMs = schedule.keyMs;
  }

  async open(): Promise<void> {
    const { numParallel, maxLoadedModels, tokenMs } = this.schedule;
    const { clock, engines } = this;
    const cloud = await startCloud({ clock, tokenMs, engine: engines.cloud });
    const local = await startOllama({
      clock,
      numParallel,
      maxLoadedModels,
      tokenMs,
      engine: engines.local,
      cloud: { url: cloud.url },
    });
    this.servers = { local, cloud };
    this.#setLoads(this.schedule.loadMs);
    this.#watch();
    this.intern = createIntern({
      settings: this.#settings,
      env: {},
      clock: this.coreClock,
      store: this.store,
      cloudKeys: () => this.#lookUpKey(),
    });
    this.intern.listen({
      onBackend: ({ backend, breaker }) => {
        if (backend === 'cloud') this.#breaker.set(breaker.state);
      },
    });
  }

  async close(): Promise<void> {
    this.#others.abort();
    await this.intern?.dispose();
    await Promise.all(Object.values(this.servers ?? {}).map((server) => server.close()));
  }

  /** Lets everything happen that the schedule says, until all calls are over. */
  async play(): Promise<void> {
    const { calls, faults: plans, happenings } = this.schedule;
    for (const plan of plans) this.#armFault(plan);
    for (const { at, what } of happenings) this.#at(at, () => this.#happen(what));
    this.#unfinished = calls.length;
    for (const plan of calls) this.#at(plan.startsAt, () => this.#start(plan));
    await this.#untilFinished();
  }

  /** Nothing goes wrong any more: both servers are up, the key is right, the other client is gone. */
  async calm(): Promise<void> {
    const { cloud } = this.servers;
    this.#isOver = true;
    this.#others.abort();
    this.#setLoads([0]);
    cloud.keys.add(CLOUD_KEY);
    cloud.limit = undefined;
    cloud.overloaded = false;
    for (const side of ['local', 'cloud'] as const) this.servers[side].faults.clear();
    this.#watch();
    await this.#quiet();
    for (const side of this.#down) await this.servers[side].start();
    this.#down.clear();
    await this.pass(this.#keyMs);
    this.#setMode('primary');
    this.#setKey(CLOUD_KEY);
    await this.#quiet();
  }

  /** More calls, all at once. */
  async run(plans: CallPlan[]): Promise<Seen[]> {
    this.#unfinished = plans.length;
    const before = this.calls.length;
    for (const plan of plans) this.#start(plan);
    await this.#untilFinished();
    return this.calls.slice(before);
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    await this.#quiet();
  }

  /** Requests of ours that a server is still busy with. */
  get openRequests(): RecordedRequest[] {
    return [...this.servers.local.requests, ...this.servers.cloud.requests].filter(
      (r) => isOurs(r) && endOf(r) === undefined,
    );
  }

  get said(): Said[] {
    return [...this.engines.local.said, ...this.engines.cloud.said];
  }

  /** The longest load that was learned from. Milliseconds. */
  get longestLoad(): number {
    const seen = [SMALL, LARGE, OTHER].flatMap(
      (model) => this.store.get(`load:${this.intern.config.host}:${model}`) ?? [],
    );
    return Math.max(0, ...(seen as number[]));
  }

  inputOf({ number, plan }: Pick<Seen, 'number' | 'plan'>): never {
    const text = `The call note-${number}- is this one. ${TEXT}`;
    const draft = { instruction: 'Say it in one sentence.', text, before: '', after: '' };
    return (plan.job === 'draft' ? draft : { text }) as never;
  }

  get #settings(): Settings {
    const { twoModels, chain, tinyCloud } = this.schedule;
    return {
      host: this.servers.local.url,
      logPath: join(this.folder, 'log.ndjson'),
      maxConcurrent: this.limit,
      tiers: { instant: SMALL, workhorse: SMALL, deep: twoModels ? LARGE : SMALL },
      fallbacks: CHAINS[chain],
      cloud: {
        mode: this.#mode.now,
        host: this.servers.cloud.url,
        model: CLOUD_MODEL,
        deepModel: CLOUD_DEEP_MODEL,
        ...(tinyCloud && { contextWindow: 256 }),
      },
    };
  }

  #at(moment: number, run: () => void): void {
    this.clock.setTimeout(run, Math.round(moment * this.schedule.pace));
  }

  #start(plan: CallPlan): void {
    const stop = new AbortController();
    const seen: Seen = {
      number: this.calls.length,
      plan,
      callId: '',
      startedAt: this.clock.now(),
      endedAt: undefined,
      cancelledAt: undefined,
      modes: new Set(this.#mode.possible),
      text: '',
      deltas: 0,
      phases: new Set(),
      late: [],
      envelope: undefined,
      error: undefined,
    };
    this.calls.push(seen);
    const cancel = (): void => {
      if (seen.endedAt !== undefined) return;
      seen.cancelledAt = this.clock.now();
      if (plan.cancel?.how === 'signal') stop.abort();
      else this.intern.stop(seen.callId);
    };
    // One that was cancelled before it began is the signal's business alone.
    if (plan.cancel?.after === 0 && plan.cancel.how === 'signal') cancel();
    else if (plan.cancel) this.#at(plan.cancel.after, cancel);

    const noted = (what: string): void => void (seen.endedAt !== undefined && seen.late.push(what));
    const onDelta = (text: string): void => {
      noted('text');
      seen.text += text;
      seen.deltas++;
    };
    const work = this.intern.run(plan.job, this.inputOf(seen), {
      signal: stop.signal,
      onDelta: plan.streamed ? onDelta : undefined,
      onPhase: ({ phase }) => (noted(phase), seen.phases.add(phase)),
      ...(plan.model && { model: plan.model }),
    });
    seen.callId = this.intern.running.at(-1)?.call_id ?? '';
    const ended = (): void => {
      assert.equal(seen.endedAt, undefined, 'it ended twice');
      seen.endedAt = this.clock.now();
      this.#unfinished--;
    };
    void work.then(
      (envelope) => (ended(), (seen.envelope = envelope)),
      (error: unknown) => (ended(), (seen.error = error)),
    );
  }

  /** A fault that never strikes sees every request at the moment of its arrival. */
  #watch(): void {
    for (const side of ['local', 'cloud'] as const) {
      this.servers[side].faults.next({
        match: (request) => {
          if (isOurs(request)) this.#note(side, request);
          return false;
        },
      });
    }
  }

  #note(side: Side, request: RecordedRequest): void {
    this.arrivals.push({
      side,
      request,
      call: callIn(request.bodyText),
      modes: this.#mode.possible,
      keys: this.#key.possible,
      breaker: this.#breaker.possible,
    });
  }

  #armFault({ side = 'local', path, skip, times, fault }: FaultPlan): void {
    let left = skip;
    this.servers[side].faults.next({
      ...fault,
      ...(times && { times }),
      match: (r) => r.path === path && isOurs(r) && left-- <= 0,
    });
  }

  #happen(what: Happening): void {
    if (this.#isOver) return;
    const { cloud } = this.servers;
    switch (what.kind) {
      case 'restart':
        return this.#goDown(what.side, what.downMs);
      case 'evict':
        return this.#evict();
      case 'mode':
        return this.#setMode(what.mode);
      case 'limit':
        this.limit = what.limit;
        this.mostConcurrent = Math.max(this.mostConcurrent, what.limit);
        return this.intern.configure(this.#settings);
      case 'key':
        return this.#setKey({ right: CLOUD_KEY, wrong: WRONG_KEY, none: undefined }[what.key]);
      case 'revoke':
        return void cloud.keys.delete(CLOUD_KEY);
      case 'grant':
        return void cloud.keys.add(CLOUD_KEY);
      case 'usage':
        cloud.limit = what.limit;
        return;
      case 'overload':
        cloud.overloaded = what.on;
        return;
      case 'retry':
        return this.intern.retryNow(what.side);
      case 'test':
        return this.#test(what.side);
      case 'refresh':
        return this.intern.models.refresh();
      case 'sleep':
        this.#asleep.push(what.ms);
    }
  }

  #setMode(mode: string): void {
    this.#mode.set(mode);
    for (const call of this.calls) if (call.endedAt === undefined) call.modes.add(mode);
    this.intern.configure(this.#settings);
  }

  #setKey(key: string | undefined): void {
    this.#key.set(key);
    this.intern.setCloudKey(this.servers.cloud.url, key);
  }

  #lookUpKey(): Promise<string | undefined> {
    if (this.#keyMs === 0) return Promise.resolve(CLOUD_KEY);
    this.isLookingUp = true;
    return new Promise((resolve) => {
      this.clock.setTimeout(() => {
        this.isLookingUp = false;
        resolve(CLOUD_KEY);
      }, this.#keyMs);
    });
  }

  #test(backend: Backend): void {
    this.#unfinished++;
    void this.intern
      .test(backend)
      .catch((error: unknown) => {
        if (!(error instanceof InternError)) this.problems.push(`a test threw ${String(error)}`);
      })
      .finally(() => this.#unfinished--);
  }

  /** Another client wants the memory for its own model. */
  #evict(): void {
    const request = httpRequest(`${this.servers.local.url}/api/generate`, {
      method: 'POST',
      agent: false,
      headers: { [OTHER_CLIENT]: 'yes' },
      signal: this.#others.signal,
    });
    request.on('response', (response) => response.on('error', () => {}).resume());
    request.on('error', () => {});
    request.end(JSON.stringify({ model: OTHER, stream: false }));
  }

  #goDown(side: Side, downMs: number): void {
    if (this.#down.has(side)) return;
    this.#down.add(side);
    this.#do(side, () => this.servers[side].stop());
    this.clock.setTimeout(() => {
      if (this.#isOver) return;
      this.#down.delete(side);
      this.#do(side, () => this.servers[side].start());
    }, downMs);
  }

  /** A server does one thing after the other, and time waits for it. */
  #do(side: Side, work: () => Promise<void>): void {
    this.#working++;
    this.#work[side] = this.#work[side].then(work).finally(() => this.#working--);
  }

  #setLoads(lengths: number[]): void {
    let loads = 0;
    for (const model of this.servers.local.models) {
      Object.defineProperty(model, 'loadMs', {
        configurable: true,
        get: () => lengths[loads++ % lengths.length],
      });
    }
  }

  async #untilFinished(): Promise<void> {
    const end = this.clock.now() + HORIZON_MS;
    for (await this.#quiet(); this.#unfinished > 0; await this.#quiet()) {
      const ms = this.#asleep.shift();
      const { nextAt } = this.clock;
      if (ms !== undefined) {
        this.sleeps.push({ at: this.clock.now(), ms });
        await this.clock.jump(ms);
      } else if (nextAt === undefined) {
        await this.#turnsUntil(() => this.#unfinished === 0 || this.clock.nextAt !== undefined);
        assert.ok(this.#unfinished === 0 || this.clock.nextAt, 'stuck: a call waits for nothing');
      } else {
        await this.clock.advance(nextAt - this.clock.now());
      }
      assert.ok(this.clock.now() < end, 'a call does not end');
    }
  }

  /** Lets the event loop turn until nothing changes any more, without letting time pass. */
  async #quiet(): Promise<void> {
    let last = '';
    for (let same = 0; same < this.#quietTurns; same++) {
      await turn();
      const now = this.#state();
      if (now !== last || this.#working > 0) same = 0;
      last = now;
    }
  }

  get #quietTurns(): number {
    const parts = this.schedule.faults.map(
      ({ fault }) => LONGEST_LINE / (fault.chopBytes ?? Infinity),
    );
    return QUIET_TURNS + Math.ceil(Math.max(0, ...parts));
  }

  async #turnsUntil(look: () => boolean): Promise<void> {
    for (let turns = 0; turns < STUCK_TURNS && !look(); turns++) await turn();
  }

  #state(): string {
    const { local, cloud } = this.servers;
    const facts = [this.#unfinished, this.clock.changes];
    for (const call of this.calls) facts.push(call.deltas);
    for (const { requests, stats } of [local, cloud]) {
      facts.push(requests.length, stats.cancelled, stats.active);
      for (const request of requests) facts.push(request.lines, endOf(request) ?? 0);
    }
    return facts.join();
  }
}

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Of this process, on both sides of its connections. */
export function openSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

export function endOf({ endedAt, abortedAt }: RecordedRequest): number | undefined {
  return endedAt ?? abortedAt;
}

function isOurs(request: RecordedRequest): boolean {
  return request.headers[OTHER_CLIENT] === undefined;
}

/** The number of the call whose prompt is in a text. */
function callIn(text: string): number | undefined {
  const [, number] = /note-(\d+)-/.exec(text) ?? [];
  return number === undefined ? undefined : Number(number);
}
