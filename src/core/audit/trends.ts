import type { Figures, Range, TrendGroup, TrendQuery, Trends } from './calls';
import {
  ABSENT,
  type Columns,
  type Eviction,
  isFailure,
  RATE_SCALE,
  type Traits,
} from './logIndex';

/** The calls of a log. */
export interface CallTable {
  readonly length: number;
  readonly columns: Columns;
  readonly traits: readonly Traits[];
  evictions(since: number): Eviction[];
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const BUCKETS: Readonly<Record<Range, { size: number; count: number }>> = {
  '1h': { size: MINUTE, count: 60 },
  '24h': { size: 30 * MINUTE, count: 48 },
  '7d': { size: 3 * HOUR, count: 56 },
  '30d': { size: 12 * HOUR, count: 60 },
};

/** A call is dated by one process and asked for by another. Milliseconds. */
const TOLERANCE_MS = 1_000;

const GROUPS = ['backend', 'tier', 'model'] as const;

/** How the calls of the time up to `now` went, bucket by bucket. */
export function trendsOf(calls: CallTable, { range, profile: wanted, now }: TrendQuery): Trends {
  const { size, count } = BUCKETS[range];
  const to = (Math.floor(now / size) + 1) * size;
  const from = to - count * size;
  const bucketOf = (moment: number): number =>
    Math.min(Math.floor((moment - from) / size), count - 1);

  const { at, traits, elapsed, rate } = calls.columns;
  const { rows, future } = rowsBetween(calls, from, now + TOLERANCE_MS);
  const names = profilesOf(calls, rows);
  const profile = names.length > 0 ? (wanted ?? names[0]) : undefined;

  const profiles = new Map(names.map((name) => [name, new Tally()]));
  const total = profiles.get(profile ?? '') ?? new Tally();
  const buckets = Array.from({ length: count }, () => new Tally());
  const groups = new Map(GROUPS.map((by) => [by, new Map<string, Group>()]));
  const kinds: (Kind | undefined)[] = [];
  const kindOf = (row: number): Kind => {
    const id = traits[row] as number;
    return (kinds[id] ??= newKind(calls.traits[id] as Traits));
  };
  const newKind = (its: Traits): Kind => {
    const name = its.profile ?? '';
    const isCounted = name === profile;
    return {
      answered: its.outcome === 'answer',
      failed: isFailure(its),
      isFallback: its.degraded !== undefined || its.fallback_from !== undefined,
      isCounted,
      profile: profiles.get(name) as Tally,
      groups: isCounted ? GROUPS.map((by) => groupOf(by, its[by] ?? '')) : [],
    };
  };
  const groupOf = (by: (typeof GROUPS)[number], name: string): Group => {
    const known = groups.get(by) as Map<string, Group>;
    let group = known.get(name);
    if (!group) known.set(name, (group = new Group(name, count)));
    return group;
  };

  for (const row of rows) {
    const kind = kindOf(row);
    kind.profile.add(calls.columns, row, kind);
    if (!kind.isCounted) continue;
    const bucket = bucketOf(at[row] as number);
    (buckets[bucket] as Tally).add(calls.columns, row, kind);
    for (const group of kind.groups) group.addTo(bucket, calls.columns, row, kind);
  }

  /** Shows each tally its values in ascending order, so that all find their percentiles after one sort. */
  const rank = (column: Uint32Array, of: (tally: Tally) => Ranks): void => {
    const answers = rows.filter((row) => column[row] !== ABSENT && kindOf(row).answered);
    for (const row of sortedBy(answers, column)) {
      const value = column[row] as number;
      const kind = kindOf(row);
      of(kind.profile).show(value);
      if (!kind.isCounted) continue;
      of(buckets[bucketOf(at[row] as number)] as Tally).show(value);
      for (const group of kind.groups) of(group).show(value);
    }
  };
  rank(elapsed, (tally) => tally.times);
  rank(rate, (tally) => tally.rates);

  const evicted = new Uint32Array(count);
  let evictions = 0;
  for (const { at: moment } of calls.evictions(from)) {
    if (moment > now + TOLERANCE_MS) continue;
    const bucket = bucketOf(moment);
    evicted[bucket] = (evicted[bucket] as number) + 1;
    evictions++;
  }
  const groupsBy = (by: (typeof GROUPS)[number]): TrendGroup[] =>
    [...(groups.get(by) as Map<string, Group>).values()]
      .map((group) => ({ name: group.name, ...group.figures(), buckets: group.buckets }))
      .sort((a, b) => b.calls - a.calls || (a.name < b.name ? -1 : 1));
  return {
    from,
    to,
    bucket_ms: size,
    profiles: [...profiles].map(([name, tally]) => ({ profile: name, ...tally.figures() })),
    profile,
    total: { ...total.figures(), evictions },
    buckets: buckets.map((tally, index) => ({
      at: from + index * size,
      ...tally.figures(),
      evictions: evicted[index] as number,
    })),
    by: { backend: groupsBy('backend'), tier: groupsBy('tier'), model: groupsBy('model') },
    future,
  };
}

/** What calls with the same traits have in common, and where they are counted. */
interface Kind {
  answered: boolean;
  failed: boolean;
  isFallback: boolean;
  /** Of the profile that was chosen. */
  isCounted: boolean;
  profile: Tally;
  groups: Group[];
}

/** Percentiles by nearest rank, of values that are counted first and then shown in ascending order. */
class Ranks {
  count = 0;
  p50: number | undefined;
  p95: number | undefined;
  #shown = 0;
  #rank50 = 0;
  #rank95 = 0;

  show(value: number): void {
    if (this.#shown === 0) {
      this.#rank50 = Math.ceil((this.count * 50) / 100);
      this.#rank95 = Math.ceil((this.count * 95) / 100);
    }
    this.#shown++;
    if (this.#shown === this.#rank50) this.p50 = value;
    if (this.#shown === this.#rank95) this.p95 = value;
  }
}

class Tally {
  readonly times = new Ranks();
  readonly rates = new Ranks();
  calls = 0;
  tokens = 0;
  #failed = 0;
  #cancelled = 0;
  #fallbacks = 0;
  #tokensIn = 0;
  #tokensOut = 0;
  #elapsed = 0;
  #cost: number | undefined;

  add(columns: Columns, row: number, { answered, failed, isFallback }: Kind): void {
    const tokensIn = columns.tokensIn[row] as number;
    const tokensOut = columns.tokensOut[row] as number;
    const elapsed = columns.elapsed[row] as number;
    const cost = columns.cost[row] as number;
    this.calls++;
    if (tokensIn !== ABSENT) this.#tokensIn += tokensIn;
    if (tokensOut !== ABSENT) this.#tokensOut += tokensOut;
    if (elapsed !== ABSENT) this.#elapsed += elapsed;
    if (!Number.isNaN(cost)) this.#cost = (this.#cost ?? 0) + cost;
    if (answered) {
      if (isFallback) this.#fallbacks++;
      if (elapsed !== ABSENT) this.times.count++;
      if (columns.rate[row] !== ABSENT) this.rates.count++;
    } else if (failed) {
      this.#failed++;
    } else {
      this.#cancelled++;
    }
  }

  figures(): Figures {
    const { p50: rate } = this.rates;
    return {
      calls: this.calls,
      failed: this.#failed,
      cancelled: this.#cancelled,
      fallbacks: this.#fallbacks,
      tokens_in: this.#tokensIn,
      tokens_out: this.#tokensOut,
      p50_ms: this.times.p50,
      p95_ms: this.times.p95,
      tokens_per_second: rate === undefined ? undefined : rate / RATE_SCALE,
      elapsed_ms: this.#elapsed,
      cost_usd: this.#cost,
    };
  }
}

class Group extends Tally {
  readonly buckets: { calls: number; tokens: number }[];

  constructor(
    readonly name: string,
    buckets: number,
  ) {
    super();
    this.buckets = Array.from({ length: buckets }, () => ({ calls: 0, tokens: 0 }));
  }

  addTo(bucket: number, columns: Columns, row: number, kind: Kind): void {
    this.add(columns, row, kind);
    const its = this.buckets[bucket] as { calls: number; tokens: number };
    its.calls++;
    for (const tokens of [columns.tokensIn[row] as number, columns.tokensOut[row] as number]) {
      if (tokens !== ABSENT) its.tokens += tokens;
    }
  }
}

function rowsBetween(
  { length, columns: { at } }: CallTable,
  from: number,
  to: number,
): { rows: Uint32Array; future: number } {
  const rows = new Uint32Array(length);
  let count = 0;
  let future = 0;
  for (let row = 0; row < length; row++) {
    const moment = at[row] as number;
    if (moment > to) future++;
    else if (moment >= from) rows[count++] = row;
  }
  return { rows: rows.subarray(0, count), future };
}

/** Those that the calls name, that of the latest first. Who names none has ''. */
function profilesOf(
  { columns: { at, traits }, traits: all }: CallTable,
  rows: Uint32Array,
): string[] {
  const latest = new Map<string, number>();
  const latestOf = new Float64Array(all.length).fill(NaN);
  for (const row of rows) {
    const id = traits[row] as number;
    const moment = at[row] as number;
    if (!((latestOf[id] as number) > moment)) latestOf[id] = moment;
  }
  all.forEach(({ profile = '' }, id) => {
    const moment = latestOf[id] as number;
    if (!Number.isNaN(moment)) latest.set(profile, Math.max(moment, latest.get(profile) ?? moment));
  });
  return [...latest].sort(([, a], [, b]) => b - a).map(([profile]) => profile);
}

const DIGIT_BITS = 11;
const DIGITS = 3;

/** By a column, ascending. Digit by digit: comparing hundreds of thousands of values would take too long. */
function sortedBy(rows: Uint32Array, column: Uint32Array): Uint32Array {
  let sorted = new Uint32Array(rows);
  let next = new Uint32Array(rows.length);
  const mask = 2 ** DIGIT_BITS - 1;
  for (let digit = 0; digit < DIGITS; digit++) {
    const shift = digit * DIGIT_BITS;
    const places = new Uint32Array(mask + 2);
    for (const row of sorted) places[(((column[row] as number) >>> shift) & mask) + 1]!++;
    for (let value = 1; value <= mask; value++) places[value]! += places[value - 1]!;
    for (const row of sorted) next[places[((column[row] as number) >>> shift) & mask]!++] = row;
    [sorted, next] = [next, sorted];
  }
  return sorted;
}
