import * as z from 'zod/mini';
import {
  type CallFilter,
  type CallPage,
  type CallRow,
  FACETS,
  type Facet,
  type Facets,
  type Figures,
  type LogState,
  RANGES,
  type Trends,
  type WhichCall,
} from '../core/audit/calls';
import { command, event, request } from './ipc';

/**
 * The dashboard's protocol. The webview says `ready` and gets one snapshot, then only what changed; it asks for what
 * depends on where the person is. A webview that was hidden starts again with `ready`, so nothing has to be buffered
 * for it.
 */

const text = z.string();
const count = z.number().check(z.nonnegative());
/** Milliseconds since the epoch, by the extension's clock. */
const instant = z.number();
const flag = z.optional(z.literal(true));

/** Whether a schema is that of a type of the core. */
const is = <T>(schema: z.ZodMiniType<T>): z.ZodMiniType<T> => schema;

// --- Now ----------------------------------------------------------------------------------------

const phase = z.discriminatedUnion('phase', [
  z.object({ phase: z.literal('starting') }),
  /** Place in the queue; 1: next. */
  z.object({ phase: z.literal('queued'), position: count }),
  z.object({
    phase: z.literal('loading'),
    model: text,
    /** By the time of the message. */
    elapsed_ms: count,
    expected_ms: z.optional(count),
  }),
  z.object({ phase: z.literal('reading'), model: text }),
  z.object({
    phase: z.literal('writing'),
    model: text,
    tokens: count,
    tokens_per_second: z.optional(count),
  }),
  /** Of a job of many prompts: `part`, 3 of 12 done. */
  z.object({ phase: z.literal('steps'), what: text, done: count, total: count }),
]);
export type Phase = z.infer<typeof phase>;

const runningCall = z.object({
  call_id: text,
  job: text,
  backend: text,
  model: text,
  started_at: instant,
  phase,
});
export type RunningCall = z.infer<typeof runningCall>;

const backendState = z.object({
  backend: z.enum(['local', 'cloud', 'gateway']),
  /** As it is shown: `127.0.0.1:11434`. */
  host: text,
  /** `unknown`: nobody asked yet. `failing`: the last call failed, the next is admitted. */
  state: z.enum(['unknown', 'answers', 'failing', 'open', 'half_open', 'misconfigured']),
  /** Why it is left alone or failed: `timeout`, `5xx`, `rate_limited`, `unreachable`, `auth_failed`. */
  reason: z.optional(text),
  /** When an open breaker admits the next call. */
  retry_at: z.optional(instant),
  /** Of the last failure, in sentences. */
  message: z.optional(text),
  running: count,
  waiting: count,
  most: count,
  version: z.optional(text),
});
export type BackendState = z.infer<typeof backendState>;

const residentModel = z.object({
  name: text,
  /** Bytes, all of it. */
  size: count,
  /** Bytes in VRAM. */
  size_vram: count,
  /** The window it was loaded with. Tokens. */
  context_length: z.optional(count),
  expires_at: z.optional(instant),
});
export type ResidentModel = z.infer<typeof residentModel>;

const evictedModel = z.object({ name: text, at: instant });
export type EvictedModel = z.infer<typeof evictedModel>;

const residency = z.discriminatedUnion('state', [
  z.object({ state: z.literal('asking') }),
  z.object({
    state: z.literal('known'),
    models: z.array(residentModel),
    evicted: z.array(evictedModel),
  }),
  z.object({
    state: z.literal('failed'),
    code: text,
    message: text,
    hint: text,
    /** Ollama can be started from here: it is this machine's. */
    startable: z.boolean(),
    /** The setting that may be wrong. */
    setting: z.optional(text),
  }),
]);
export type ResidencyState = z.infer<typeof residency>;

const doing = z.enum(['loading', 'keeping', 'unloading', 'pulling']);
export type Doing = z.infer<typeof doing>;

/** What is being done about models, by their keys, and what went wrong with the last of it, in sentences. */
const work = z.object({ doing: z.record(text, doing), problem: z.optional(text) });
export type Work = z.infer<typeof work>;

const status = z.object({
  profile: text,
  cloud_mode: z.enum(['off', 'primary', 'fallback']),
  /** Those that calls may go to. */
  backends: z.array(backendState),
  /** Models of the tiers in force that are local: what there is to load. */
  models: z.array(text),
  /** Settings that could not be used, in sentences. */
  problems: z.array(z.object({ setting: text, message: text })),
});
export type Status = z.infer<typeof status>;

// --- Calls --------------------------------------------------------------------------------------

const spent = z.object({
  queued: count,
  failed: count,
  loading: count,
  reading: count,
  writing: count,
});

const callRow = is<CallRow>(
  z.object({
    row: count,
    at: instant,
    job: text,
    outcome: text,
    tier: z.optional(text),
    backend: z.optional(text),
    model: z.optional(text),
    surface: z.optional(text),
    profile: z.optional(text),
    tokens_in: z.optional(count),
    tokens_out: z.optional(count),
    tokens_per_second: z.optional(count),
    elapsed_ms: z.optional(count),
    spent,
    degraded: z.optional(text),
    fallback_from: z.optional(text),
    truncated: flag,
    cut: flag,
    warnings: z.optional(count),
  }),
);

/** One stretch of a call, in the order in which they came. */
const stretch = z.object({
  /** `failed`: a try that gave no answer, whose target and outcome follow. */
  part: z.enum(['queued', 'failed', 'loading', 'reading', 'writing']),
  ms: count,
  backend: z.optional(text),
  model: z.optional(text),
  outcome: z.optional(text),
});
export type Stretch = z.infer<typeof stretch>;

const callDetails = z.object({
  row: callRow,
  /** What happened and what to do about it, for a call that failed. */
  message: z.optional(text),
  hint: z.optional(text),
  warnings: z.array(text),
  stretches: z.array(stretch),
  /** Every field of the record, but neither prompt nor answer. */
  record: z.record(text, z.unknown()),
});
export type CallDetails = z.infer<typeof callDetails>;

const perFacet = <T>(one: T): Record<Facet, T> =>
  Object.fromEntries(FACETS.map((facet) => [facet, one])) as Record<Facet, T>;

export const callFilter = is<CallFilter>(
  z.object({ ...perFacet(z.optional(text)), text: z.optional(text), since: z.optional(instant) }),
);

const facets = is<Facets>(z.object(perFacet(z.array(z.object({ value: text, count })))));

const logState = is<LogState>(
  z.discriminatedUnion('state', [
    z.object({ state: z.literal('reading'), read: count, size: count, calls: count }),
    z.object({ state: z.literal('known'), calls: count, skipped: count, more: z.boolean() }),
    z.object({ state: z.literal('failed'), message: text }),
  ]),
);

// --- Trends -------------------------------------------------------------------------------------

const figuresFields = {
  calls: count,
  failed: count,
  cancelled: count,
  fallbacks: count,
  tokens_in: count,
  tokens_out: count,
  p50_ms: z.optional(count),
  p95_ms: z.optional(count),
  tokens_per_second: z.optional(count),
  elapsed_ms: count,
  cost_usd: z.optional(count),
} satisfies Record<keyof Figures, z.ZodMiniType>;

const group = z.object({
  name: text,
  ...figuresFields,
  buckets: z.array(z.object({ calls: count, tokens: count })),
});

const trends = is<Trends>(
  z.object({
    from: instant,
    to: instant,
    bucket_ms: count,
    profiles: z.array(z.object({ profile: text, ...figuresFields })),
    profile: z.optional(text),
    total: z.object({ ...figuresFields, evictions: count }),
    buckets: z.array(z.object({ at: instant, evictions: count, ...figuresFields })),
    by: z.object({ backend: z.array(group), tier: z.array(group), model: z.array(group) }),
    future: count,
  }),
);

const trendChoice = z.object({ range: z.enum(RANGES), profile: z.optional(text) });

// --- Set-up -------------------------------------------------------------------------------------

const TIER_NAMES = ['instant', 'workhorse', 'deep', 'embed'] as const;

/** A value that is in force, the one that was set, if any, and the one that would be in force without it. */
const setText = z.object({ value: text, set: z.optional(text), unset: text });
const setNumber = z.object({ value: count, set: z.optional(count), unset: count });

const setup = z.object({
  profile: setText,
  profiles: z.array(z.object({ name: text, label: z.optional(text) })),
  tiers: z.array(
    z.object({
      tier: z.enum(TIER_NAMES),
      model: setText,
      /** Where the model runs, and its name there. */
      backend: z.enum(['local', 'cloud', 'gateway']),
      name: text,
      /** Tokens. */
      num_ctx: count,
      /** Seconds. */
      budget: setNumber,
      /** Seconds; absent for what never leaves the machine. */
      cloud_budget: z.optional(setNumber),
      cloud_model: z.optional(text),
    }),
  ),
  /** Absent: the server did not say. */
  installed: z.optional(z.array(z.object({ name: text, size: count, remote: z.boolean() }))),
  cloud: z.object({
    mode: z.enum(['off', 'primary', 'fallback']),
    host: text,
    key: z.enum(['none', 'stored', 'environment']),
  }),
  gateway: z.optional(text),
  /** The server behind `local`. */
  host: text,
});
export type Setup = z.infer<typeof setup>;

/** Settings that the dashboard writes, below `ollamaIntern.`; the mode of the cloud has a command of its own. */
export const WRITABLE_SETTINGS = [
  'profile',
  ...TIER_NAMES.map((tier) => `tiers.${tier}` as const),
  ...TIER_NAMES.map((tier) => `budgets.${tier}` as const),
  'cloud.budgets.instant',
  'cloud.budgets.workhorse',
  'cloud.budgets.deep',
] as const;
export type WritableSetting = (typeof WRITABLE_SETTINGS)[number];

/** Commands of the product that the dashboard may run, by their names in the code. */
export const RUNNABLE_COMMANDS = [
  'selectProfile',
  'startServer',
  'openLogFile',
  'setCloudKey',
  'clearCloudKey',
  'enableCloud',
  'disableCloud',
] as const;

const nothing = z.object({});
const aCall = z.object({ call_id: text });
const whichCall = is<WhichCall>(z.union([z.object({ row: count }), aCall]));
const aModel = z.object({ model: text });
const aBackend = z.object({ backend: backendState.shape.backend });

/** From the extension. */
export const EVENTS = {
  snapshot: event(
    'snapshot',
    z.object({
      /** The extension may run on another machine with another clock. */
      now: instant,
      status,
      residency,
      work,
      running: z.array(runningCall),
      log: logState,
    }),
  ),
  statusChanged: event('status/changed', z.object({ status })),
  callStarted: event('call/started', z.object({ call: runningCall })),
  callPhase: event('call/phase', z.object({ call_id: text, phase })),
  callEnded: event('call/ended', aCall),
  residencyChanged: event('residency/changed', z.object({ residency })),
  workChanged: event('work/changed', z.object({ work })),
  /** There are more calls, or the log is another one: then `anew`, and no row is what it was. */
  logChanged: event('log/changed', z.object({ log: logState, anew: z.boolean() })),
  /** A setting, a key or an installed model is another one. */
  setupChanged: event('setup/changed', nothing),
  /** A person asked for the details of this call. */
  showCall: event('call/show', aCall),
};

/** What the webview asks. */
export const REQUESTS = {
  calls: request(
    'calls',
    z.object({ filter: callFilter, from: z.optional(count), count }),
    is<CallPage>(z.object({ total: count, from: count, rows: z.array(callRow) })),
  ),
  facets: request('facets', nothing, facets),
  /** null: it is not in the log, or not any more. */
  call: request('call', whichCall, z.nullable(callDetails)),
  trends: request('trends', trendChoice, trends),
  setup: request('setup', nothing, setup),
  /** Whether a backend answers; fails with what is wrong. Milliseconds. */
  test: request('backend/test', aBackend, z.object({ took_ms: count })),
  /** Writes a setting where the Settings UI would; null: as if it had never been set. Fails with what is wrong. */
  setSetting: request(
    'setting/write',
    z.object({
      setting: z.enum(WRITABLE_SETTINGS),
      value: z.nullable(z.union([text, z.number()])),
    }),
    nothing,
  ),
};

/** What the person wants. */
export const COMMANDS = {
  ready: command('ready', nothing),
  /** Looks at everything again; the answer is a snapshot, and what is in memory when it is known. */
  refresh: command('refresh', nothing),
  stopCall: command('call/stop', aCall),
  stopAll: command('call/stopAll', nothing),
  /** What comes of these, `work/changed` tells: they may outlive the page. */
  loadModel: command('model/load', aModel),
  unloadModel: command('model/unload', aModel),
  keepModel: command('model/keep', aModel),
  pullModel: command('model/pull', aModel),
  copyCall: command('call/copy', whichCall),
  /** The next call tries a backend that is left alone. */
  retryBackend: command('backend/retry', aBackend),
  exportTrends: command('trends/export', trendChoice),
  openSettings: command('settings/open', z.object({ setting: text })),
  run: command('command/run', z.object({ command: z.enum(RUNNABLE_COMMANDS) })),
};
