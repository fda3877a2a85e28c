import type { Spent } from './calls';

/** What of a record tells where its time went. Milliseconds. */
export interface Timed {
  elapsed_ms?: number | undefined;
  queued_ms?: number | undefined;
  load_ms?: number | undefined;
  first_token_ms?: number | undefined;
  tokens_out?: number | undefined;
  tokens_per_second?: number | undefined;
  attempts?:
    readonly { outcome?: string | undefined; elapsed_ms?: number | undefined }[] | undefined;
}

/**
 * Splits the time of a call. Writing follows from the server's own count; the first token's time may contain a load,
 * so it only bounds the reading.
 */
export function spentBy(record: Timed): Spent {
  let left = record.elapsed_ms ?? 0;
  const take = (ms: number): number => {
    const taken = Math.min(left, Math.max(0, Math.round(ms)));
    left -= taken;
    return taken;
  };
  const queued = take(record.queued_ms ?? 0);
  const failed = take(
    (record.attempts ?? [])
      .filter(({ outcome }) => outcome !== 'answer' && outcome !== 'cancelled')
      .reduce((sum, { elapsed_ms: ms = 0 }) => sum + ms, 0),
  );
  const loading = take(record.load_ms ?? 0);
  const { tokens_out: tokens, tokens_per_second: rate, first_token_ms: first } = record;
  if (tokens !== undefined && rate) {
    const writing = take((tokens / rate) * 1000);
    return { queued, failed, loading, reading: take(first ?? left), writing };
  }
  if (first === undefined) return { queued, failed, loading, reading: 0, writing: 0 };
  const reading = take(first);
  return { queued, failed, loading, reading, writing: take(left) };
}
