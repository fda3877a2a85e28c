/**
 * Random calls against a server on which random things go wrong. Whatever happens, each call has to end once, in time,
 * with one line in the log, and to leave nothing behind.
 *
 *   FAULT_RUNS=5000                    so many schedules instead of what fits the unit suite
 *   FAULT_SEED=… FAULT_PATH=…          repeats a failure: both are in its message
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import {
  type Clock,
  createIntern,
  type Envelope,
  type Intern,
  InternError,
  type JobName,
  type LogLine,
  MemoryStore,
  type Phase,
} from '../../src/core';
import { JOBS } from '../../src/core/jobs/registry';
import { allowanceBySize } from '../../src/core/routing/loads';
import { LOCAL_BUDGET_MS } from '../../src/core/routing/tiers';
import {
  type Fault,
  faults,
  ManualClock,
  type OllamaServer,
  type RecordedRequest,
  startOllama,
} from '../support/ollama/server';
import type { Timer } from '../support/ollama/clock';

const RUNS = Number(process.env['FAULT_RUNS'] ?? 0);
/** What the unit suite has for this. Milliseconds. */
const SUITE_MS = 20_000;
const MOST_RUNS = 600;

const SMALL = 'hermes3:8b';
const LARGE = 'qwen3:14b';
const OTHERS = 'qwen3:8b';
const OTHER_CLIENT = 'x-other-client';
const TEXT =
  'The limiter admits two calls at once.\nOthers wait in line. Waiting can be cancelled.\n';
const INPUTS = {
  summarize_fast: { text: TEXT },
  summarize_deep: { text: TEXT },
  draft: { instruction: 'Say it in one sentence.', text: TEXT, before: '', after: '' },
} as const;

// --- what may happen ----------------------------------------------------------------------------

interface CallPlan {
  job: JobName;
  startsAt: number;
  /** Counted from its start. */
  cancel: { after: number; how: 'signal' | 'stop' } | undefined;
  streamed: boolean;
}

interface FaultPlan {
  path: string;
  /** So many requests to the path come through first. */
  skip: number;
  fault: Fault;
}

interface Schedule {
  limit: number;
  twoModels: boolean;
  numParallel: number;
  maxLoadedModels: number;
  tokenMs: number;
  /** How long the first load takes, the second, and so on, round and round. */
  loadMs: number[];
  calls: CallPlan[];
  faults: FaultPlan[];
  /** When another client loads a model of its own. */
  evictions: number[];
  restart: { at: number; downMs: number } | undefined;
}

/** Moments at which much happens are more likely than others. */
const moment = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 0, max: 400 }),
  fc.integer({ min: 0, max: 8_000 }),
  fc.integer({ min: 0, max: 150_000 }),
);
const lines = fc.integer({ min: 0, max: 12 });

const anyFault: fc.Arbitrary<Fault> = fc.oneof(
  fc.integer({ min: 10, max: 8_000 }).map(faults.slow),
  fc.integer({ min: 10, max: 40_000 }).map(faults.late),
  fc.constant(faults.hang()),
  lines.map(faults.resetAfter),
  lines.map(faults.endAfter),
  lines.map(faults.runnerDiesAfter),
  lines.map((n) => faults.garbageAfter(n)),
  lines.map((n) => faults.errorAfter(n, 'unexpected EOF')),
  fc.constant(faults.repeatGuard()),
  fc.integer({ min: 16, max: 60 }).map(faults.chopped),
  fc.constant(faults.rateLimited(2)),
  fc.constantFrom(500, 503).map((status) => faults.status(status, 'it failed')),
  fc.constantFrom(200, 502).map(faults.page),
  fc
    .constantFrom('fails' as const, 'out-of-memory' as const, 'stalls' as const)
    .map((load) => ({ load })),
);

const anyPath = fc.oneof(
  { weight: 5, arbitrary: fc.constant('/api/chat') },
  { weight: 3, arbitrary: fc.constant('/api/generate') },
  { weight: 1, arbitrary: fc.constantFrom('/api/ps', '/api/show') },
);

const anySchedule: fc.Arbitrary<Schedule> = fc.record({
  limit: fc.integer({ min: 1, max: 3 }),
  twoModels: fc.boolean(),
  numParallel: fc.constantFrom(1, 1, 2),
  maxLoadedModels: fc.constantFrom(1, 2),
  tokenMs: fc.constantFrom(0, 0, 30, 700),
  loadMs: fc.array(
    fc.oneof(fc.constant(0), fc.integer({ max: 6_000 }).map(Math.abs), fc.nat(220_000)),
    { minLength: 1, maxLength: 4 },
  ),
  calls: fc.array(
    fc.record({
      job: fc.constantFrom<JobName[]>('summarize_fast', 'summarize_deep', 'draft'),
      startsAt: moment,
      cancel: fc.option(
        fc.record({ after: moment, how: fc.constantFrom('signal' as const, 'stop' as const) }),
        { nil: undefined, freq: 3 },
      ),
      streamed: fc.boolean(),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  faults: fc.array(
    fc.record({ path: anyPath, skip: fc.integer({ min: 0, max: 3 }), fault: anyFault }),
    { maxLength: 5 },
  ),
  evictions: fc.array(moment, { maxLength: 2 }),
  restart: fc.option(fc.record({ at: moment, downMs: moment }), { nil: undefined, freq: 4 }),
});

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

// --- one schedule -------------------------------------------------------------------------------

/** A call as somebody outside sees it. */
interface Seen {
  plan: CallPlan;
  callId: string;
  startedAt: number;
  endedAt: number | undefined;
  cancelledAt: number | undefined;
  text: string;
  deltas: number;
  phases: Set<Phase['phase']>;
  /** What was still said about it after its end. */
  late: string[];
  envelope: Envelope | undefined;
  error: unknown;
}

/** The longest that the core waits for a short question, and for a resident model's sign of life. */
const QUESTION_MS = 10_000;
const SIGN_OF_LIFE_MS = 1_000;
/** Before that a load is not shown. */
const UNSEEN_LOAD_MS = 300;
/** Bytes travel in no time, but not quite. */
const SLACK_MS = 5_000;
/** No schedule is allowed to take longer. */
const HORIZON_MS = 4 * 3_600_000;
/** Turns of the event loop without any change before time moves on. */
const QUIET_TURNS = 5;
/** A line of an answer is no longer; in parts each takes a turn. Bytes. */
const LONGEST_LINE = 500;
const STUCK_TURNS = 20_000;

class World {
  readonly clock = new SteppingClock();
  readonly coreClock = new CountingClock(this.clock);
  readonly calls: Seen[] = [];
  readonly store = new MemoryStore();
  server!: OllamaServer;
  intern!: Intern;
  #unfinished = 0;
  #serverWork: Promise<unknown> | undefined;
  #isDown = false;
  #isOver = false;
  readonly #others = new AbortController();

  constructor(
    readonly schedule: Schedule,
    readonly folder: string,
  ) {}

  async open(): Promise<void> {
    const { numParallel, maxLoadedModels, tokenMs, limit, twoModels } = this.schedule;
    this.server = await startOllama({ clock: this.clock, numParallel, maxLoadedModels, tokenMs });
    this.#setLoads(this.schedule.loadMs);
    this.intern = createIntern({
      settings: {
        host: this.server.url,
        logPath: join(this.folder, 'log.ndjson'),
        maxConcurrent: limit,
        tiers: { instant: SMALL, workhorse: SMALL, deep: twoModels ? LARGE : SMALL },
      },
      env: {},
      clock: this.coreClock,
      store: this.store,
    });
  }

  async close(): Promise<void> {
    this.#others.abort();
    await this.intern?.dispose();
    await this.server?.close();
  }

  /** Lets everything happen that the schedule says, until all calls are over. */
  async play(): Promise<void> {
    const { calls, faults: plans, evictions, restart } = this.schedule;
    for (const plan of plans) this.#armFault(plan);
    for (const at of evictions) this.clock.setTimeout(() => this.#evict(), at);
    if (restart) this.clock.setTimeout(() => this.#goDown(restart.downMs), restart.at);
    this.#unfinished = calls.length;
    for (const plan of calls) this.clock.setTimeout(() => this.#start(plan), plan.startsAt);
    await this.#untilFinished();
  }

  /** Nothing goes wrong any more: the server is up, the other client is gone. */
  async calm(): Promise<void> {
    this.#isOver = true;
    this.#others.abort();
    this.server.faults.clear();
    this.#setLoads([0]);
    await this.#quiet();
    if (this.#isDown) await this.server.start();
    this.#isDown = false;
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

  /** Requests of ours that the server is still busy with. */
  get openRequests(): RecordedRequest[] {
    return this.server.requests.filter(
      (r) => isOurs(r) && r.endedAt === undefined && r.abortedAt === undefined,
    );
  }

  /** The longest load that was learned from. Milliseconds. */
  get longestLoad(): number {
    const seen = [SMALL, LARGE].flatMap(
      (model) => this.store.get(`load:${this.intern.config.host}:${model}`) ?? [],
    );
    return Math.max(0, ...(seen as number[]));
  }

  #start(plan: CallPlan): void {
    const stop = new AbortController();
    const seen: Seen = {
      plan,
      callId: '',
      startedAt: this.clock.now(),
      endedAt: undefined,
      cancelledAt: undefined,
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
    else if (plan.cancel) this.clock.setTimeout(cancel, plan.cancel.after);

    const noted = (what: string): void => void (seen.endedAt !== undefined && seen.late.push(what));
    const onDelta = (text: string): void => {
      noted('text');
      seen.text += text;
      seen.deltas++;
    };
    const work = this.intern.run(plan.job, INPUTS[plan.job], {
      signal: stop.signal,
      onDelta: plan.streamed ? onDelta : undefined,
      onPhase: ({ phase }) => (noted(phase), seen.phases.add(phase)),
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

  #armFault({ path, skip, fault }: FaultPlan): void {
    let left = skip;
    this.server.faults.next({
      ...fault,
      match: (r) => r.path === path && isOurs(r) && left-- <= 0,
    });
  }

  /** Another client wants the memory for its own model. */
  #evict(): void {
    if (this.#isOver) return;
    void fetch(`${this.server.url}/api/generate`, {
      method: 'POST',
      headers: { [OTHER_CLIENT]: 'yes' },
      body: JSON.stringify({ model: OTHERS, stream: false }),
      signal: this.#others.signal,
    })
      .then((response) => response.text())
      .catch(() => undefined);
  }

  #goDown(downMs: number): void {
    if (this.#isOver) return;
    this.#isDown = true;
    this.#work(this.server.stop());
    this.clock.setTimeout(() => {
      if (this.#isOver) return;
      this.#isDown = false;
      this.#work(this.server.start());
    }, downMs);
  }

  /** The server does one thing after the other, and time waits for it. */
  #work(work: Promise<void>): void {
    const all = Promise.all([this.#serverWork, work]).finally(() => {
      if (this.#serverWork === all) this.#serverWork = undefined;
    });
    this.#serverWork = all;
  }

  #setLoads(lengths: number[]): void {
    let loads = 0;
    for (const model of this.server.models) {
      Object.defineProperty(model, 'loadMs', {
        configurable: true,
        get: () => lengths[loads++ % lengths.length],
      });
    }
  }

  async #untilFinished(): Promise<void> {
    const end = this.clock.now() + HORIZON_MS;
    for (await this.#quiet(); this.#unfinished > 0; await this.#quiet()) {
      const { nextAt } = this.clock;
      if (nextAt === undefined) {
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
      if (now !== last || this.#serverWork) same = 0;
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
    const { requests, stats } = this.server;
    const sent = requests.reduce((sum, r) => sum + r.lines, 0);
    const heard = this.calls.reduce((sum, c) => sum + c.deltas, 0);
    const facts = [requests.length, sent, heard, this.#unfinished, stats.cancelled];
    return [...facts, stats.active, this.openRequests.length, this.clock.changes].join();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function isOurs(request: RecordedRequest): boolean {
  return request.headers[OTHER_CLIENT] === undefined;
}

// --- what has to hold ---------------------------------------------------------------------------

function checkEnd(call: Seen): void {
  const { plan, envelope, error } = call;
  assert.ok(call.endedAt !== undefined, 'it did not end');
  assert.match(call.callId, /^call_/);
  assert.deepEqual(call.late, [], 'it was spoken of after its end');
  if (envelope) {
    assert.equal(error, undefined);
    assert.equal(envelope.call_id, call.callId);
    assert.equal(envelope.attempts.at(-1)?.outcome, 'answer');
    if (plan.streamed) {
      const shown = JOBS[plan.job].parse(call.text, INPUTS[plan.job] as never);
      assert.deepEqual(envelope.result, shown.result, 'the answer is not what was streamed');
    }
    return;
  }
  assert.ok(error instanceof InternError, `not an InternError: ${String(error)}`);
  assert.equal(error.callId, call.callId);
  assert.doesNotMatch(error.message, /unexpected/, String(error.cause));
  if (error.code === 'cancelled') {
    assert.ok(call.cancelledAt !== undefined, 'nobody cancelled it');
  } else if (plan.streamed) {
    assert.equal(error.details.partial ?? false, call.text !== '', `partial: ${error.message}`);
  }
}

/** Stop means stop: not a moment passes. */
function checkCancel(call: Seen): void {
  if (call.cancelledAt === undefined) return;
  assert.equal(call.endedAt, call.cancelledAt, 'it went on after it was cancelled');
}

function checkLog(call: Seen, log: LogLine[]): LogLine {
  const own = log.filter(
    (line) =>
      ['call', 'error', 'timeout'].includes(line.kind) &&
      ((line['envelope'] as Envelope | undefined)?.call_id ?? line['call_id']) === call.callId,
  );
  assert.equal(own.length, 1, `${own.length} lines in the log`);
  const [line] = own as [LogLine];
  const code = call.error instanceof InternError ? call.error.code : undefined;
  assert.equal(line.kind, call.envelope ? 'call' : code === 'timeout' ? 'timeout' : 'error');
  assert.equal(line['code'], code);
  return line;
}

/** How long a call may take by itself: what it asks, loads, waits for and streams, in each of its attempts. */
function ownBound(call: Seen, attempts: number, world: World): number {
  const { schedule } = world;
  const budget = LOCAL_BUDGET_MS[JOBS[call.plan.job].tier];
  const learned = Math.max(30_000, 4 * world.longestLoad);
  const most = Math.max(allowanceBySize(15e9), learned);
  const loading = call.phases.has('loading') ? most : UNSEEN_LOAD_MS + SIGN_OF_LIFE_MS;
  // What it can do, what exists when it is missing, what is in memory.
  const questions = 3 * QUESTION_MS;
  // Twice: a model that was taken for resident may have to be loaded again.
  const attempt = questions + 2 * (loading + budget) + SIGN_OF_LIFE_MS;
  const lineMs = Math.max(0, ...schedule.faults.map(({ fault }) => fault.lineDelayMs ?? 0));
  const pieces = call.plan.streamed ? call.deltas : 200;
  return attempts * attempt + (pieces + 3) * (schedule.tokenMs + lineMs) + budget + SLACK_MS;
}

/** A call waits for calls of ours and for nothing else: the time in which there were others does not count. */
function waited(call: Seen, all: Seen[]): number {
  const [from, to] = [call.startedAt, call.endedAt ?? Infinity];
  const others = all
    .filter((other) => other !== call)
    .map((o): [number, number] => [Math.max(from, o.startedAt), Math.min(to, o.endedAt ?? to)])
    .sort((a, b) => a[0] - b[0]);
  let sum = 0;
  let covered = from;
  for (const [start, end] of others) {
    sum += Math.max(0, end - Math.max(start, covered));
    covered = Math.max(covered, end);
  }
  return sum;
}

function checkBound(call: Seen, line: LogLine, world: World): void {
  const attempts = (line['attempts'] ?? call.envelope?.attempts ?? []) as unknown[];
  const took = (call.endedAt ?? Infinity) - call.startedAt;
  const bound = ownBound(call, Math.max(1, attempts.length), world) + waited(call, world.calls);
  assert.ok(took <= bound, `it took ${took} ms, more than ${bound} ms`);
}

/** Only shared questions about models may outlive the call that asked first: others may want the answer. */
function checkNothingLeft(world: World): void {
  assert.deepEqual(world.intern.running, []);
  const open = world.openRequests;
  const shared = open.filter((r) => r.path === '/api/show' || r.path === '/api/tags');
  const left = open.filter((r) => !shared.includes(r)).map((r) => r.path);
  assert.deepEqual(left, [], 'requests go on after all calls have ended');
  const timers = world.coreClock.pending;
  assert.ok(timers <= shared.length, `${timers} timers, ${shared.length} questions`);
}

async function checkIdle(world: World): Promise<void> {
  await world.pass(QUESTION_MS);
  assert.equal(world.coreClock.pending, 0, 'a timer is left');
  await world.server.whenIdle();
  assert.deepEqual(world.openRequests, []);
  assert.equal(world.server.stats.active, 0);
  assert.equal(world.server.stats.queued, 0);
}

/** As many calls as there are permits, and one more: exactly one has to wait, and all succeed. */
async function checkPermits(world: World): Promise<void> {
  const { limit } = world.schedule;
  const plan: CallPlan = {
    job: 'summarize_fast',
    startsAt: 0,
    cancel: undefined,
    streamed: true,
  };
  const fresh = await world.run(Array.from({ length: limit + 1 }, () => plan));
  for (const { error } of fresh) assert.equal(error, undefined, `a fresh call: ${String(error)}`);
  const queued = fresh.filter((call) => call.phases.has('queued')).length;
  assert.equal(queued, 1, `${queued} of ${limit + 1} calls had to wait for ${limit} permits`);
}

async function logOf(world: World): Promise<LogLine[]> {
  await world.intern.flush();
  const text = await readFile(world.intern.config.logPath, 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as LogLine);
}

async function survives(schedule: Schedule): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'intern-faults-'));
  const world = new World(schedule, folder);
  try {
    await world.open();
    await world.play();
    checkNothingLeft(world);
    await world.calm();
    await checkIdle(world);
    const played = [...world.calls];
    await checkPermits(world);
    checkNothingLeft(world);
    const log = await logOf(world);
    for (const call of world.calls) {
      checkEnd(call);
      checkCancel(call);
      const line = checkLog(call, log);
      if (played.includes(call)) checkBound(call, line, world);
    }
    return world;
  } finally {
    await world.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** A day on which nothing goes wrong, but for what is said. */
function day(calls: Partial<CallPlan>[], rest: Partial<Schedule> = {}): Schedule {
  const plan: CallPlan = { job: 'summarize_fast', startsAt: 0, cancel: undefined, streamed: true };
  return {
    limit: 2,
    twoModels: false,
    numParallel: 1,
    maxLoadedModels: 2,
    tokenMs: 0,
    loadMs: [0],
    faults: [],
    evictions: [],
    restart: undefined,
    ...rest,
    calls: calls.map((call) => ({ ...plan, ...call })),
  };
}

describe('whatever goes wrong', () => {
  it('a call whose request is overtaken on the wire is not timed out for it', async () => {
    const late = { path: '/api/chat', skip: 0, fault: faults.late(100) };
    const { calls } = await survives(day([{}, {}], { tokenMs: 700, faults: [late] }));
    assert.deepEqual(
      calls.map(({ error }) => error),
      calls.map(() => undefined),
    );
  });

  it('calls that share a failed question keep their own ids', async () => {
    const fault = { ...faults.status(500, 'it failed'), delayMs: 100 };
    const failed = { path: '/api/show', skip: 0, fault };
    const { calls } = await survives(day([{}, {}], { faults: [failed] }));
    assert.equal(calls.filter(({ error }) => error instanceof InternError).length, 2);
  });

  it('a call that fails while its model is looked for stops looking', async () => {
    const refused = { ...faults.status(500, 'it failed'), delayMs: 5_500 };
    const schedule = day([{}, { startsAt: 10_000 }], {
      faults: [
        { path: '/api/chat', skip: 1, fault: refused },
        { path: '/api/generate', skip: 1, fault: faults.hang() },
      ],
    });
    await survives(schedule);
  });

  it("the end of another model's load does not stretch a budget to a load allowance", async () => {
    const schedule = day([{}, { job: 'summarize_deep', startsAt: 40_000 }, { startsAt: 41_000 }], {
      twoModels: true,
      loadMs: [0, 4_000],
      faults: [{ path: '/api/chat', skip: 1, fault: faults.hang() }],
    });
    const { calls } = await survives(schedule);
    const { error } = calls[2] ?? {};
    assert.ok(error instanceof InternError);
    assert.match(error.message, /did not answer within 5 s/);
  });

  it('every call ends once, in time, is logged once, and leaves nothing behind', async function () {
    this.timeout(RUNS > 0 ? 0 : 4 * SUITE_MS);
    const outcomes = new Map<string, number>();
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(anySchedule, async (schedule) => {
        const { calls } = await survives(schedule);
        runs++;
        for (const { error } of calls) {
          const outcome = error instanceof InternError ? error.code : 'answer';
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        }
      }),
      {
        numRuns: RUNS || MOST_RUNS,
        ...(RUNS === 0 && { interruptAfterTimeLimit: SUITE_MS }),
        ...(process.env['FAULT_SEED'] && { seed: Number(process.env['FAULT_SEED']) }),
        ...(process.env['FAULT_PATH'] && { path: process.env['FAULT_PATH'] }),
      },
    );
    if (RUNS > 0) console.log(`      ${runs} schedules: ${JSON.stringify([...outcomes])}`);
  });
});
