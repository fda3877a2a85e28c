import * as z from 'zod/mini';
import { command, event } from './ipc';

/**
 * The dashboard's protocol. The webview says `ready` and gets one snapshot, then only what changed. A webview that was
 * hidden starts again with `ready`, so nothing has to be buffered for it.
 */

const text = z.string();
const count = z.number().check(z.nonnegative());
/** Milliseconds since the epoch, by the extension's clock. */
const instant = z.number();

export const PHASES = ['starting', 'queued', 'loading', 'reading', 'writing', 'steps'] as const;

const runningCall = z.object({
  call_id: text,
  job: text,
  model: text,
  started_at: instant,
  phase: z.enum(PHASES),
  /** The phase in words: `loading qwen3:14b, 14 s of about 20 s`. */
  text,
});
export type RunningCall = z.infer<typeof runningCall>;

/** Where the time of a call went. Milliseconds; what is not known is in none of them. */
const spent = z.object({
  queued: count,
  /** Tries of other targets that gave no answer. */
  failed: count,
  loading: count,
  reading: count,
  writing: count,
});
export type Spent = z.infer<typeof spent>;

const callEntry = z.object({
  id: text,
  /** When the call ended. */
  at: instant,
  job: text,
  /** `answer`, or the code of the error. */
  outcome: text,
  /** What happened and what to do about it, for a call that failed. */
  message: z.optional(text),
  hint: z.optional(text),
  tier: z.optional(text),
  backend: z.optional(text),
  model: z.optional(text),
  tokens_in: z.optional(count),
  tokens_out: z.optional(count),
  tokens_per_second: z.optional(count),
  elapsed_ms: z.optional(count),
  spent,
  /** Every field of the record, but neither prompt nor answer. */
  record: z.record(text, z.unknown()),
});
export type CallEntry = z.infer<typeof callEntry>;

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

const status = z.object({
  /** The local server, as it is shown: `127.0.0.1:11434`. */
  host: text,
  profile: text,
  /** Settings that could not be used, in sentences. */
  problems: z.array(text),
});
export type Status = z.infer<typeof status>;

const nothing = z.object({});
const aCall = z.object({ call_id: text });

/** From the extension. */
export const EVENTS = {
  snapshot: event(
    'snapshot',
    z.object({
      /** The extension may run on another machine with another clock. */
      now: instant,
      status,
      residency,
      running: z.array(runningCall),
      /** Newest first. */
      calls: z.array(callEntry),
    }),
  ),
  callStarted: event('call/started', z.object({ call: runningCall })),
  callPhase: event('call/phase', z.object({ call_id: text, phase: z.enum(PHASES), text })),
  callFinished: event('call/finished', z.object({ call: callEntry })),
  callFailed: event('call/failed', z.object({ call: callEntry })),
  /** A person asked for the details of this call. */
  showCall: event('call/show', aCall),
  residencyChanged: event('residency/changed', z.object({ residency })),
  statusChanged: event('status/changed', z.object({ status })),
};

/** From the webview. */
export const COMMANDS = {
  ready: command('ready', nothing),
  stopCall: command('call/stop', aCall),
  copyCall: command('call/copy', aCall),
  /** Looks at everything again; the answer is a snapshot, and what is in memory when it is known. */
  refresh: command('refresh', nothing),
  openLog: command('log/open', nothing),
  pickProfile: command('profile/pick', nothing),
  startServer: command('server/start', nothing),
  openSettings: command('settings/open', z.object({ setting: text })),
};

/** As many calls as the dashboard shows. */
export const MAX_CALLS = 200;

/** The list with one more call, newest first; a call that is in it already is replaced. */
export function withCall(calls: readonly CallEntry[], call: CallEntry): CallEntry[] {
  return [call, ...calls.filter(({ id }) => id !== call.id)]
    .sort((a, b) => b.at - a.at)
    .slice(0, MAX_CALLS);
}
