import * as z from 'zod/mini';
import type { Envelope } from '../core/audit/envelope';
import { jobOf, type LogLine } from '../core/audit/line';
import { spentBy } from '../core/audit/spent';
import type { CallEntry } from './dashboard';

/** What an error tells about its call when the log could not be read. */
interface Failure {
  code: string;
  message: string;
  hint: string;
  callId: string | undefined;
}

/** A field that is missing or of another type is absent; it never spoils the rest of the line. */
const maybe = <T>(type: z.ZodMiniType<T>) => z.catch(z.optional(type), undefined);
const text = maybe(z.string());
const number = maybe(z.number());
const milliseconds = maybe(z.number().check(z.nonnegative()));
const flag = maybe(z.boolean());

const residency = z.object({
  in_vram: z.boolean(),
  size_bytes: z.number(),
  size_vram_bytes: z.number(),
  evicted: z.boolean(),
});
const attempt = z.object({
  backend: text,
  model: text,
  outcome: text,
  elapsed_ms: milliseconds,
});

/**
 * The fields that the dashboard shows, in this order. Others write to the same file and may put more into it, a
 * prompt even: what is not named here never reaches the webview. A new field of the envelope is a line here.
 */
const ENVELOPE_FIELDS = {
  call_id: text,
  job: text,
  surface: text,
  tier_used: text,
  fallback_from: text,
  backend: text,
  degraded: flag,
  degrade_reason: text,
  model: text,
  model_requested: text,
  hardware_profile: text,
  num_ctx: number,
  tokens_in: milliseconds,
  tokens_out: milliseconds,
  tokens_per_second: milliseconds,
  elapsed_ms: milliseconds,
  queued_ms: milliseconds,
  load_ms: milliseconds,
  first_token_ms: milliseconds,
  attempts: maybe(z.array(attempt)),
  calls: number,
  residency: maybe(z.nullable(residency)),
  truncated: flag,
  done_reason: text,
  cost_usd: number,
  warnings: maybe(z.array(z.string())),
} satisfies Record<Exclude<keyof Envelope, 'result'>, z.ZodMiniType>;

const envelopeRecord = z.object(ENVELOPE_FIELDS);

const details = z.object({
  status: number,
  model: text,
  available: maybe(z.array(z.string())),
  capability: text,
  prompt_tokens: number,
  num_ctx: number,
  retry_after_ms: number,
  usage_limit: flag,
  partial: flag,
  elapsed_ms: number,
});

const failureRecord = z.object({
  call_id: text,
  job: text,
  surface: text,
  code: text,
  message: text,
  tier: text,
  backend: text,
  model: text,
  hardware_profile: text,
  elapsed_ms: milliseconds,
  queued_ms: milliseconds,
  attempts: maybe(z.array(attempt)),
  details: maybe(details),
});

export function entryFromEnvelope(envelope: Envelope, at: number): CallEntry {
  return fromEnvelope({ ...envelope }, envelope.job, at, envelope.call_id);
}

/** undefined for a line that records no call. */
export function entryFromLine(line: LogLine): CallEntry | undefined {
  const at = Date.parse(line.ts);
  if (Number.isNaN(at)) return undefined;
  const job = jobOf(line) ?? 'unknown';
  // Products that log no id: the moment and the job have to do.
  const id = `${line.ts} ${job}`;
  switch (line.kind) {
    case 'call':
      return isObject(line.envelope) ? fromEnvelope(line.envelope, job, at, id) : undefined;
    case 'error':
    case 'timeout':
      return fromFailure(line, job, at, id);
    default:
      return undefined;
  }
}

export function entryFromError(error: Failure, job: string, at: number): CallEntry {
  const { code, message, callId } = error;
  const id = callId ?? `${at} ${job}`;
  return withHint(
    fromFailure({ kind: 'error', call_id: callId, code, message }, job, at, id),
    error,
  );
}

/** The log has no hints: they are for the person who waits. */
export function withHint(entry: CallEntry, { hint }: { hint: string }): CallEntry {
  return { ...entry, hint };
}

/** What `Copy as JSON` copies. */
export function recordJson(entry: CallEntry): string {
  return JSON.stringify({ ts: new Date(entry.at).toISOString(), ...entry.record }, null, 2);
}

function fromEnvelope(raw: object, job: string, at: number, fallbackId: string): CallEntry {
  const record = envelopeRecord.parse({ ...raw, job });
  return {
    id: record.call_id ?? fallbackId,
    at,
    job,
    outcome: 'answer',
    tier: record.tier_used,
    backend: record.backend,
    model: record.model,
    tokens_in: record.tokens_in,
    tokens_out: record.tokens_out,
    tokens_per_second: record.tokens_per_second,
    elapsed_ms: record.elapsed_ms,
    spent: spentBy(record),
    record: withoutUndefined(record),
  };
}

function fromFailure(raw: object, job: string, at: number, fallbackId: string): CallEntry {
  const record = failureRecord.parse({ ...raw, job });
  const kind = 'kind' in raw && raw.kind === 'timeout' ? 'timeout' : 'error';
  const code = record.code ?? kind;
  return {
    id: record.call_id ?? fallbackId,
    at,
    job,
    outcome: code,
    message: record.message,
    tier: record.tier,
    backend: record.backend,
    model: record.model,
    elapsed_ms: record.elapsed_ms,
    spent: spentBy(record),
    record: withoutUndefined({ ...record, code }),
  };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function withoutUndefined(value: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined));
}
