/** What may happen in a schedule of random calls and random faults. */
import fc from 'fast-check';
import type { CloudMode } from '../../../src/core';
import type { UsageLimit } from '../ollama/cloud';
import { type Fault, faults } from '../ollama/server';
import type { StreamedJob } from '../streamed';

export type Side = 'local' | 'cloud';

export const SMALL = 'hermes3:8b';
export const LARGE = 'qwen3:14b';
export const OTHER = 'qwen3:8b';
/** The local server passes calls of it on to the cloud. */
export const PASSED_ON = 'gpt-oss:120b-cloud';
export const CLOUD_MODEL = 'minimax-m3:cloud';
export const CLOUD_DEEP_MODEL = 'gpt-oss:120b';

export interface CallPlan {
  job: StreamedJob;
  startsAt: number;
  /** Counted from its start. */
  cancel: { after: number; how: 'signal' | 'stop' } | undefined;
  /** Whether somebody reads along. */
  streamed: boolean;
  /** Named by the caller. */
  model?: string;
}

export interface FaultPlan {
  side?: Side;
  path: string;
  /** So many requests to the path come through first. */
  skip: number;
  times?: number;
  fault: Fault;
}

export type Happening =
  | { kind: 'restart'; side: Side; downMs: number }
  /** Another client loads a model of its own. */
  | { kind: 'evict' }
  | { kind: 'mode'; mode: CloudMode }
  | { kind: 'limit'; limit: number }
  /** What the product holds as its key. */
  | { kind: 'key'; key: 'right' | 'wrong' | 'none' }
  /** Whether the cloud still knows the key. */
  | { kind: 'revoke' | 'grant' }
  | { kind: 'usage'; limit: { kind: UsageLimit; retryAfter?: string } | undefined }
  | { kind: 'overload'; on: boolean }
  | { kind: 'retry'; side: Side }
  | { kind: 'test'; side: Side }
  | { kind: 'refresh' }
  /** The machine sleeps. */
  | { kind: 'sleep'; ms: number };

export interface Schedule {
  /** Stretches or crowds all moments. */
  pace: number;
  limit: number;
  twoModels: boolean;
  numParallel: number;
  maxLoadedModels: number;
  tokenMs: number;
  /** How long the first load takes, the second, and so on, round and round. */
  loadMs: number[];
  mode: CloudMode;
  chain: keyof typeof CHAINS;
  /** The cloud's window is too small for any prompt. */
  tinyCloud: boolean;
  /** How long it takes to look the key up. */
  keyMs: number;
  calls: CallPlan[];
  faults: FaultPlan[];
  happenings: { at: number; what: Happening }[];
}

export const CHAINS = {
  none: undefined,
  cloud: { '*': [`cloud/${CLOUD_DEEP_MODEL}`] },
  local: { '*': [`local/${OTHER}`] },
  both: { [SMALL]: [`cloud/${CLOUD_DEEP_MODEL}`, `local/${OTHER}`], '*': [`cloud/${CLOUD_MODEL}`] },
} as const;

/** Moments at which much happens are more likely than others. */
const moment = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 0, max: 400 }),
  fc.integer({ min: 0, max: 8_000 }),
  fc.integer({ min: 0, max: 40_000 }),
  fc.integer({ min: 0, max: 150_000 }),
);
const lines = fc.integer({ min: 0, max: 12 });
const side = fc.constantFrom<Side>('local', 'cloud');
/** As a header: seconds, or a date on the clock of the schedule. */
const retryAfter = fc.constantFrom(undefined, '0', '2', '45', 'Thu, 01 Jan 2026 00:00:30 GMT');

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
  retryAfter.map((after) =>
    faults.status(429, 'too many requests', after === undefined ? {} : { 'Retry-After': after }),
  ),
  fc.constantFrom(500, 503).map((status) => faults.status(status, 'it failed')),
  fc.constantFrom(400, 401, 403).map((status) => faults.status(status, 'it refuses')),
  fc.constant(faults.status(404, "model 'x' not found")),
  fc.constantFrom(200, 502).map(faults.page),
  fc.constant(faults.redirect('http://127.0.0.1:9/')),
  fc
    .constantFrom('fails' as const, 'out-of-memory' as const, 'stalls' as const)
    .map((load) => ({ load })),
);

const anyPath = fc.oneof(
  { weight: 6, arbitrary: fc.constant('/api/chat') },
  { weight: 3, arbitrary: fc.constant('/api/generate') },
  { weight: 2, arbitrary: fc.constant('/api/show') },
  { weight: 1, arbitrary: fc.constantFrom('/api/ps', '/api/tags') },
);

const anyMode = fc.constantFrom<CloudMode[]>('off', 'primary', 'fallback');

const anyHappening: fc.Arbitrary<Happening> = fc.oneof(
  fc.record({ kind: fc.constant('restart' as const), side, downMs: moment }),
  fc.constant({ kind: 'evict' as const }),
  fc.record({ kind: fc.constant('mode' as const), mode: anyMode }),
  fc.record({ kind: fc.constant('limit' as const), limit: fc.integer({ min: 1, max: 3 }) }),
  fc.record({
    kind: fc.constant('key' as const),
    key: fc.constantFrom('right' as const, 'right' as const, 'wrong' as const, 'none' as const),
  }),
  fc.record({ kind: fc.constantFrom('revoke' as const, 'grant' as const) }),
  fc.record({
    kind: fc.constant('usage' as const),
    limit: fc.option(
      fc.record({
        kind: fc.constantFrom<UsageLimit[]>('session', 'hourly', 'weekly'),
        retryAfter,
      }),
      { nil: undefined },
    ),
  }),
  fc.record({ kind: fc.constant('overload' as const), on: fc.boolean() }),
  fc.record({ kind: fc.constant('retry' as const), side }),
  fc.record({ kind: fc.constant('test' as const), side }),
  fc.constant({ kind: 'refresh' as const }),
  fc.record({ kind: fc.constant('sleep' as const), ms: fc.integer({ min: 100, max: 3_600_000 }) }),
);

const anyCall: fc.Arbitrary<CallPlan> = fc.record({
  job: fc.constantFrom<StreamedJob[]>('summarize_fast', 'summarize_deep', 'draft'),
  startsAt: moment,
  cancel: fc.option(
    fc.record({ after: moment, how: fc.constantFrom('signal' as const, 'stop' as const) }),
    { nil: undefined, freq: 3 },
  ),
  streamed: fc.boolean(),
  model: fc.option(
    fc.constantFrom(
      OTHER,
      `local/${SMALL}`,
      `cloud/${CLOUD_MODEL}`,
      `cloud/${CLOUD_DEEP_MODEL}`,
      'cloud/no-such-model',
      PASSED_ON,
    ),
    { nil: undefined, freq: 2 },
  ),
});

const anyDay: fc.Arbitrary<Schedule> = fc.record({
  pace: fc.constantFrom(1, 0.2, 0.02),
  limit: fc.integer({ min: 1, max: 3 }),
  twoModels: fc.boolean(),
  numParallel: fc.constantFrom(1, 1, 2),
  maxLoadedModels: fc.constantFrom(1, 2),
  tokenMs: fc.constantFrom(0, 0, 30, 700),
  loadMs: fc.array(
    fc.oneof(fc.constant(0), fc.integer({ max: 6_000 }).map(Math.abs), fc.nat(220_000)),
    { minLength: 1, maxLength: 4 },
  ),
  mode: fc.constantFrom<CloudMode[]>('off', 'primary', 'primary', 'fallback', 'fallback'),
  chain: fc.constantFrom('none', 'none', 'cloud', 'local', 'both'),
  tinyCloud: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
  keyMs: fc.constantFrom(0, 0, 300, 15_000),
  calls: fc.array(anyCall, { minLength: 1, maxLength: 8 }),
  faults: fc.array(
    fc.record({
      side,
      path: anyPath,
      skip: fc.integer({ min: 0, max: 3 }),
      times: fc.constantFrom(1, 1, 3, 6, 20),
      fault: anyFault,
    }),
    { maxLength: 6 },
  ),
  happenings: fc.array(fc.record({ at: moment, what: anyHappening }), { maxLength: 5 }),
});

/** Narrow places that chance alone seldom finds: what is put into an otherwise random day. */
interface Scene {
  mode?: CloudMode;
  limit?: number;
  calls: Partial<CallPlan>[];
  faults: FaultPlan[];
  happenings: Schedule['happenings'];
}

const PLAIN: CallPlan = {
  job: 'summarize_fast',
  startsAt: 0,
  cancel: undefined,
  streamed: true,
};
const seconds = fc.integer({ min: 1, max: 9_000 });
const cloudCall = { model: `cloud/${CLOUD_MODEL}` };

/** Something changes while the cloud, or the local server for it, is asked about a model. */
const whileAsked: fc.Arbitrary<Scene> = fc.record({
  mode: fc.constantFrom<CloudMode[]>('primary', 'fallback'),
  calls: fc.constantFrom([{}], [cloudCall], [{ model: PASSED_ON }], [{}, cloudCall]),
  faults: fc
    .tuple(side, seconds)
    .map(([on, ms]) => [{ side: on, path: '/api/show', skip: 0, fault: faults.late(ms) }]),
  happenings: fc
    .tuple(
      seconds,
      fc.constantFrom<Happening[]>(
        { kind: 'mode', mode: 'off' },
        { kind: 'key', key: 'none' },
        { kind: 'key', key: 'wrong' },
      ),
    )
    .map(([at, what]) => [{ at, what }]),
});

/** The cloud is left alone while calls to it ask about another model. */
const whileLeftAlone: fc.Arbitrary<Scene> = fc.record({
  limit: fc.constant(3),
  mode: fc.constantFrom<CloudMode[]>('primary', 'fallback'),
  calls: fc.array(
    fc.record({
      startsAt: seconds,
      model: fc.constantFrom(`cloud/${CLOUD_MODEL}`, `cloud/${CLOUD_DEEP_MODEL}`),
    }),
    { minLength: 2, maxLength: 6 },
  ),
  faults: fc.tuple(seconds, retryAfter).map(([ms, after]) => [
    { side: 'cloud' as const, path: '/api/show', skip: 0, times: 2, fault: faults.late(ms) },
    {
      side: 'cloud' as const,
      path: '/api/chat',
      skip: 0,
      times: 3,
      fault: faults.status(429, 'too many', after === undefined ? {} : { 'Retry-After': after }),
    },
  ]),
  happenings: fc.constant([]),
});

/** A breaker has just become half open, and several want to be the probe. */
const whileHalfOpen: fc.Arbitrary<Scene> = fc
  .record({
    limit: fc.integer({ min: 2, max: 3 }),
    mode: fc.constantFrom<CloudMode[]>('primary', 'fallback'),
    late: seconds,
    after: fc.array(
      fc.record({
        startsAt: fc.integer({ min: 19_900, max: 32_000 }),
        cancel: fc.option(
          fc.record({ after: seconds, how: fc.constantFrom('signal' as const, 'stop' as const) }),
          { nil: undefined },
        ),
      }),
      { minLength: 2, maxLength: 5 },
    ),
  })
  .map(({ late, after, ...rest }) => ({
    ...rest,
    calls: [
      ...[0, 1, 2].map((n) => ({ ...cloudCall, startsAt: n * 10 })),
      ...after.map((call) => ({ ...cloudCall, ...call })),
    ],
    faults: [
      { side: 'cloud' as const, path: '/api/chat', skip: 0, times: 3, fault: faults.page(502) },
      { side: 'cloud' as const, path: '/api/chat', skip: 0, times: 4, fault: faults.late(late) },
    ],
    happenings: [],
  }));

/** The machine sleeps while one call waits for its answer. */
const whileAsleep: fc.Arbitrary<Scene> = fc
  .record({
    mode: anyMode,
    late: fc.integer({ min: 10, max: 4_900 }),
    at: fc.integer({ min: 10, max: 4_900 }),
    ms: fc.integer({ min: 6_000, max: 3_600_000 }),
  })
  .map(({ mode, late, at, ms }) => ({
    mode,
    calls: [{}],
    faults: (['local', 'cloud'] as const).map((on) => ({
      side: on,
      path: '/api/chat',
      skip: 0,
      fault: faults.late(late),
    })),
    happenings: [{ at, what: { kind: 'sleep' as const, ms } }],
  }));

const anyScene = fc.oneof(whileAsked, whileLeftAlone, whileHalfOpen, whileAsleep);

/** Half of all days are nothing but chance. */
export const anySchedule: fc.Arbitrary<Schedule> = fc.oneof(
  { weight: 2, arbitrary: anyDay },
  {
    weight: 1,
    arbitrary: fc.tuple(anyDay, anyScene).map(([any, { calls, ...scene }]) => ({
      ...any,
      ...scene,
      pace: 1,
      keyMs: 0,
      calls: [...calls.map((call) => ({ ...PLAIN, ...call })), ...any.calls.slice(0, 2)],
    })),
  },
  {
    weight: 1,
    arbitrary: anyScene.map(({ calls, ...scene }) => day(calls, scene)),
  },
);

/** A day on which nothing goes wrong, but for what is said. */
export function day(calls: Partial<CallPlan>[], rest: Partial<Schedule> = {}): Schedule {
  return {
    pace: 1,
    limit: 2,
    twoModels: false,
    numParallel: 1,
    maxLoadedModels: 2,
    tokenMs: 0,
    loadMs: [0],
    mode: 'off',
    chain: 'none',
    tinyCloud: false,
    keyMs: 0,
    faults: [],
    happenings: [],
    ...rest,
    calls: calls.map((call) => ({ ...PLAIN, ...call })),
  };
}
