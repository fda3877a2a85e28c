import type { Figures, Trends } from '../core/audit/calls';

/** Of a row, in this order. Times are ISO 8601 in UTC, the rest is as in the log. */
const COLUMNS = [
  ...['from', 'to', 'profile', 'group', 'name', 'calls', 'failed', 'cancelled', 'fallbacks'],
  ...['tokens_in', 'tokens_out', 'p50_ms', 'p95_ms', 'tokens_per_second', 'elapsed_ms'],
  ...['cost_usd', 'evictions'],
] as const;

/** What a spreadsheet would take for the beginning of a formula. */
const FORMULA = /^[=+\-@\t\r\n]/;

/**
 * Trends as CSV (RFC 4180). Rows of the group `all` are the buckets, one after another; those of `backend`, `tier` and
 * `model` are sums over the whole range, by name; those of `profile` are the sums of each profile, the only rows that
 * are not of the profile shown. What is not known is empty. The log says of no eviction whose it was, so only buckets
 * have them.
 */
export function trendsCsv(trends: Trends): string {
  const { profile = '', bucket_ms: bucketMs, buckets, by, profiles } = trends;
  const whole = { from: trends.from, to: trends.to };
  const rows = [
    [...COLUMNS],
    ...buckets.map((bucket) => [
      ...rowStart({ from: bucket.at, to: bucket.at + bucketMs }, profile, 'all', ''),
      ...figureCells(bucket),
      number(bucket.evictions),
    ]),
    ...(['backend', 'tier', 'model'] as const).flatMap((group) =>
      by[group].map((one) => [
        ...rowStart(whole, profile, group, one.name),
        ...figureCells(one),
        '',
      ]),
    ),
    ...profiles.map((one) => [
      ...rowStart(whole, one.profile, 'profile', one.profile),
      ...figureCells(one),
      '',
    ]),
  ];
  return rows.map((row) => `${row.join(',')}\r\n`).join('');
}

function rowStart(
  { from, to }: { from: number; to: number },
  profile: string,
  group: string,
  name: string,
): string[] {
  return [
    new Date(from).toISOString(),
    new Date(to).toISOString(),
    text(profile),
    group,
    text(name),
  ];
}

function figureCells(figures: Figures): string[] {
  return [
    ...[figures.calls, figures.failed, figures.cancelled, figures.fallbacks],
    ...[figures.tokens_in, figures.tokens_out, figures.p50_ms, figures.p95_ms],
    ...[figures.tokens_per_second, figures.elapsed_ms, figures.cost_usd],
  ].map(number);
}

function number(value: number | undefined): string {
  return value === undefined ? '' : String(value);
}

function text(value: string): string {
  const harmless = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
