import * as z from 'zod/mini';
import type { CallRow } from '../core/audit/calls';
import type { Envelope } from '../core/audit/envelope';
import type { LogLine } from '../core/audit/line';
import { spentBy } from '../core/audit/spent';
import type { CallDetails, Stretch } from './dashboard';

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

const errorDetails = z.object({
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
  details: maybe(errorDetails),
});

/** What may be told of a call, whoever logged it. */
type Logged = Partial<z.infer<typeof envelopeRecord>> & z.infer<typeof failureRecord>;

/** Others may log whole files in one field; a person reads the beginning. Characters, and items of a list. */
const MOST_CHARACTERS = 2_000;
const MOST_ITEMS = 200;

/** Without a hint: the log has none. */
export function detailsOf(line: LogLine, row: CallRow): CallDetails {
  const logged = loggedOf(line, row);
  const { message, warnings = [], ...record } = bounded(logged) as Logged;
  return {
    row,
    message,
    warnings,
    stretches: stretchesOf(logged),
    record: withoutUndefined(record),
  };
}

/** What `Copy as JSON` copies. */
export function recordJson(line: LogLine, row: CallRow): string {
  return JSON.stringify({ ts: line.ts, ...withoutUndefined(loggedOf(line, row)) }, null, 2);
}

/** The call's own job and outcome are those of its row, which knows the names that others give to them. */
function loggedOf(line: LogLine, { job, outcome }: CallRow): Logged {
  const { envelope } = line;
  return line.kind === 'call' && typeof envelope === 'object' && envelope !== null
    ? envelopeRecord.parse({ ...envelope, job })
    : failureRecord.parse({ ...line, job, code: outcome });
}

/** In the order in which they came. Their sum is at most the call's time: what is not known is in none. */
function stretchesOf(logged: Logged): Stretch[] {
  const { backend, model, attempts = [], elapsed_ms: elapsed = 0 } = logged;
  const spent = spentBy(logged);
  let left = elapsed - Object.values<number>({ ...spent }).reduce((sum, ms) => sum + ms, 0);
  let failedLeft = spent.failed;

  const tries = attempts
    .filter(({ outcome }) => outcome !== 'answer')
    .slice(0, MOST_ITEMS)
    .map(({ elapsed_ms: ms = 0, ...target }): Stretch => {
      // A cancelled try is no failed time, so what it took is of the rest.
      const isCancelled = target.outcome === 'cancelled';
      const taken = Math.min(isCancelled ? left : failedLeft, Math.round(ms));
      if (isCancelled) left -= taken;
      else failedLeft -= taken;
      return { part: 'failed', ms: taken, ...target };
    });
  const answering = (['loading', 'reading', 'writing'] as const).map((part): Stretch => ({
    part,
    ms: spent[part],
    backend,
    model,
  }));
  return [
    ...[{ part: 'queued', ms: spent.queued } as const].filter(({ ms }) => ms > 0),
    ...tries,
    ...answering.filter(({ ms }) => ms > 0),
  ];
}

function bounded(value: unknown): unknown {
  if (typeof value === 'string') {
    return value.length > MOST_CHARACTERS ? `${value.slice(0, MOST_CHARACTERS)}…` : value;
  }
  if (Array.isArray(value)) return value.slice(0, MOST_ITEMS).map(bounded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, bounded(inner)]));
}

function withoutUndefined(value: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined));
}
