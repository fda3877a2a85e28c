import type { Figures, Range, TrendGroup, TrendQuery, Trends } from './calls';
import {
  ABSENT,
  type Columns,
  type Eviction,
  isAnswer,
  isFailure,
  isFallback,
  known,
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

/** More names than anybody can look at are left out: those with the fewest calls. */
const MOST_GROUPS = 100;

const GROUPS = ['backend', 'tier', 'model'] as const;
type By = (typeof GROUPS)[number];

/**
 * How the calls of the time up to `now` went. Whatever gets figures has a slot: first the buckets, then one for what is
 * not shown, then profiles and groups. Each call counts in five of them.
 */
export function trendsOf(table: CallTable, { range, profile: wanted, now }: TrendQuery): Trends {
  const { size, count } = BUCKETS[range];
  const to = (Math.floor(now / size) + 1) * size;
  const from = to - count * size;
  const last = now + TOLERANCE_MS;
  const bucketAt = (moment: number): number =>
    Math.min(Math.floor((moment - from) / size), count - 1);

  const chosen = chooseCalls(table, from, last);
  const profiles = profilesOf(table.traits, chosen.latest);
  const profile = profiles.length > 0 ? (wanted ?? profiles[0]) : undefined;
  const slots = new Slots(table.traits, chosen.counts, profile, count);
  const isShown = table.traits.map((its) => (its.profile ?? '') === profile);
  const { at, traits } = table.columns;
  const buckets = mapped(chosen.rows, (row) =>
    isShown[traits[row]!] ? bucketAt(at[row]!) : slots.hidden,
  );
  const calls: Calls = {
    ...{ table, rows: chosen.rows, slots, buckets },
  };
  const figuresOf = figuresOfSlots(calls);
  const groupBuckets = bucketsOfGroups(calls);

  const evicted = new Uint32Array(count);
  const evictions = table.evictions(from).filter(({ at }) => at <= last);
  for (const { at } of evictions) evicted[bucketAt(at)]!++;

  const groupsBy = (by: By): TrendGroup[] =>
    slots
      .named(by)
      .map(([name, slot]) => ({ name, ...figuresOf(slot), buckets: groupBuckets(slot) }));
  return {
    from,
    to,
    bucket_ms: size,
    profiles: profiles.map((name) => ({
      profile: name,
      ...figuresOf(slots.slotOf('profile', name)),
    })),
    profile,
    total: { ...figuresOf(slots.slotOf('profile', profile)), evictions: evictions.length },
    buckets: Array.from(evicted, (pushedOut, bucket) => ({
      at: from + bucket * size,
      ...figuresOf(bucket),
      evictions: pushedOut,
    })),
    by: { backend: groupsBy('backend'), tier: groupsBy('tier'), model: groupsBy('model') },
    future: chosen.future,
  };
}

interface Chosen {
  rows: Uint32Array;
  /** Calls that are later. */
  future: number;
  /** For each of the traits: how many calls of the range have them, and when the latest ended. */
  counts: Uint32Array;
  latest: Float64Array;
}

function chooseCalls({ length, columns, traits }: CallTable, from: number, last: number): Chosen {
  const { at, traits: ids } = columns;
  const rows = new Uint32Array(length);
  const counts = new Uint32Array(traits.length);
  const latest = new Float64Array(traits.length).fill(-Infinity);
  let chosen = 0;
  let future = 0;
  for (let row = 0; row < length; row++) {
    const moment = at[row]!;
    if (moment > last) future++;
    if (moment < from || moment > last) continue;
    rows[chosen++] = row;
    const id = ids[row]!;
    counts[id]!++;
    if (moment > latest[id]!) latest[id] = moment;
  }
  return { rows: rows.subarray(0, chosen), future, counts, latest };
}

/**
 * Those that the calls name, that of the latest call first. A call that names none has '', which comes last: a failure
 * of another program is not the machine's last word about itself.
 */
function profilesOf(traits: readonly Traits[], latest: Float64Array): string[] {
  const moments = new Map<string, number>();
  traits.forEach(({ profile = '' }, id) => {
    const moment = latest[id]!;
    if (moment > (moments.get(profile) ?? -Infinity)) moments.set(profile, moment);
  });
  return [...moments]
    .sort(([a, m], [b, n]) => Number(a === '') - Number(b === '') || n - m || (a < b ? -1 : 1))
    .map(([profile]) => profile);
}

class Slots {
  /** Of what is counted nowhere. */
  readonly hidden: number;
  /** For each of the traits: the slots of its profile and its groups. */
  readonly of: Uint32Array[];
  size: number;
  readonly #named = new Map<'profile' | By, Map<string, number>>();

  /** `counts`: how many calls have these traits. Groups are of one profile. */
  constructor(
    readonly traits: readonly Traits[],
    counts: Uint32Array,
    profile: string | undefined,
    buckets: number,
  ) {
    this.hidden = buckets;
    this.size = buckets + 1;
    const ids = [...counts.keys()].filter((id) => counts[id]! > 0);
    const ofProfile = ids.filter((id) => (traits[id]!.profile ?? '') === profile);
    this.of = (['profile', ...GROUPS] as const).map((by) => {
      const shown = by === 'profile' ? ids : ofProfile;
      const names = new Map<string, number>();
      for (const id of shown) {
        const name = traits[id]![by] ?? '';
        names.set(name, (names.get(name) ?? 0) + counts[id]!);
      }
      const sorted = [...names].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
      const most = by === 'profile' ? sorted.length : MOST_GROUPS;
      const slots = new Map(sorted.slice(0, most).map(([name]) => [name, this.size++]));
      this.#named.set(by, slots);
      const of = new Uint32Array(traits.length).fill(this.hidden);
      for (const id of shown) of[id] = slots.get(traits[id]![by] ?? '') ?? this.hidden;
      return of;
    });
  }

  /** With their slots; those with the most calls first. */
  named(by: By): [name: string, slot: number][] {
    return [...this.#named.get(by)!];
  }

  /** One that stays empty when nothing has that name. */
  slotOf(by: 'profile' | By, name: string | undefined): number {
    return this.#named.get(by)?.get(name ?? '') ?? this.size;
  }
}

/** Calls of a range, and where each of them counts. */
interface Calls {
  table: CallTable;
  rows: Uint32Array;
  slots: Slots;
  /** The slot of its bucket. */
  buckets: Uint32Array;
}

/** What is summed up, by its place among the sums of a slot. */
const SUM = {
  calls: 0,
  failed: 1,
  cancelled: 2,
  fallbacks: 3,
  tokensIn: 4,
  tokensOut: 5,
  elapsed: 6,
  cost: 7,
  /** How many calls have a cost. */
  costs: 8,
};
const SUMS = Object.keys(SUM).length;

function figuresOfSlots(calls: Calls): (slot: number) => Figures {
  const sums = sumsOf(calls);
  const times = percentilesOf(calls, calls.table.columns.elapsed);
  const rates = percentilesOf(calls, calls.table.columns.rate);
  return (slot) => {
    const sum = (place: number): number => sums[slot * SUMS + place]!;
    const rate = known(rates.p50[slot]);
    return {
      calls: sum(SUM.calls),
      failed: sum(SUM.failed),
      cancelled: sum(SUM.cancelled),
      fallbacks: sum(SUM.fallbacks),
      tokens_in: sum(SUM.tokensIn),
      tokens_out: sum(SUM.tokensOut),
      p50_ms: known(times.p50[slot]),
      p95_ms: known(times.p95[slot]),
      tokens_per_second: rate === undefined ? undefined : rate / RATE_SCALE,
      elapsed_ms: sum(SUM.elapsed),
      cost_usd: sum(SUM.costs) > 0 ? sum(SUM.cost) : undefined,
    };
  };
}

/** For each slot, one after the other. What a call adds by its traits is added once for all calls that have them. */
function sumsOf({ table, rows, buckets, slots }: Calls): Float64Array {
  const { traits: ids, tokensIn, tokensOut, elapsed, cost } = table.columns;
  const failed = table.traits.map(isFailure);
  const cancelled = table.traits.map((its) => !isAnswer(its) && !isFailure(its));
  const fallback = table.traits.map((its) => isAnswer(its) && isFallback(its));
  const add = (sums: Float64Array, slot: number, row: number, id: number): void => {
    const start = slot * SUMS;
    const add = (place: number, value: number): void => {
      sums[start + place]! += value;
    };
    add(SUM.calls, 1);
    if (failed[id]) add(SUM.failed, 1);
    if (cancelled[id]) add(SUM.cancelled, 1);
    if (fallback[id]) add(SUM.fallbacks, 1);
    if (tokensIn[row] !== ABSENT) add(SUM.tokensIn, tokensIn[row]!);
    if (tokensOut[row] !== ABSENT) add(SUM.tokensOut, tokensOut[row]!);
    if (elapsed[row] !== ABSENT) add(SUM.elapsed, elapsed[row]!);
    if (Number.isNaN(cost[row])) return;
    add(SUM.cost, cost[row]!);
    add(SUM.costs, 1);
  };

  const sums = new Float64Array((slots.size + 1) * SUMS);
  const byTraits = new Float64Array(table.traits.length * SUMS);
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index]!;
    const id = ids[row]!;
    add(sums, buckets[index]!, row, id);
    add(byTraits, id, row, id);
  }
  for (const of of slots.of) {
    for (let at = 0; at < byTraits.length; at++) {
      const id = Math.floor(at / SUMS);
      sums[of[id]! * SUMS + (at % SUMS)]! += byTraits[at]!;
    }
  }
  return sums;
}

/** Of answers, for each slot; ABSENT where there are none. By nearest rank, for all slots after one sort. */
function percentilesOf(
  { table, rows, slots, buckets }: Calls,
  column: Uint32Array,
): { p50: Uint32Array; p95: Uint32Array } {
  const { traits: ids } = table.columns;
  const answered = table.traits.map(isAnswer);
  const values = mapped(rows, (row) => (answered[ids[row]!] ? column[row]! : ABSENT));
  const sorted = ascending(values);
  const ofTraits = mapped(sorted, (call) => ids[rows[call]!]!);
  const ofBucket = mapped(sorted, (call) => buckets[call]!);
  const itself = Uint32Array.from({ length: slots.hidden + 1 }, (_, slot) => slot);
  const counts = new Uint32Array(slots.size + 1);
  const seen = new Uint32Array(slots.size + 1);
  const p50 = new Uint32Array(slots.size + 1).fill(ABSENT);
  const p95 = new Uint32Array(slots.size + 1).fill(ABSENT);
  for (const slotOf of [itself, ...slots.of]) {
    const keys = slotOf === itself ? ofBucket : ofTraits;
    for (let at = 0; at < keys.length; at++) counts[slotOf[keys[at]!]!]!++;
    const rank50 = counts.map((count) => Math.ceil((count * 50) / 100));
    const rank95 = counts.map((count) => Math.ceil((count * 95) / 100));
    for (let at = 0; at < keys.length; at++) {
      const slot = slotOf[keys[at]!]!;
      const rank = ++seen[slot]!;
      if (rank === rank50[slot]) p50[slot] = values[sorted[at]!]!;
      if (rank === rank95[slot]) p95[slot] = values[sorted[at]!]!;
    }
  }
  return { p50, p95 };
}

function bucketsOfGroups({
  table,
  rows,
  slots,
  buckets,
}: Calls): (slot: number) => { calls: number; tokens: number }[] {
  const { traits: ids, tokensIn, tokensOut } = table.columns;
  const width = slots.hidden + 1;
  const calls = new Uint32Array(slots.size * width);
  const tokens = new Float64Array(slots.size * width);
  const [, ...groups] = slots.of;
  for (const slotOf of groups) {
    for (let call = 0; call < rows.length; call++) {
      const row = rows[call]!;
      const cell = slotOf[ids[row]!]! * width + buckets[call]!;
      calls[cell]!++;
      tokens[cell]! += (known(tokensIn[row]) ?? 0) + (known(tokensOut[row]) ?? 0);
    }
  }
  return (slot) =>
    Array.from({ length: slots.hidden }, (_, bucket) => ({
      calls: calls[slot * width + bucket]!,
      tokens: tokens[slot * width + bucket]!,
    }));
}

/** Typed arrays have a method of that name, which takes ten times as long. */
function mapped(rows: Uint32Array, of: (row: number) => number): Uint32Array {
  const values = new Uint32Array(rows.length);
  for (let index = 0; index < rows.length; index++) values[index] = of(rows[index]!);
  return values;
}

const DIGIT_BITS = 11;

/**
 * The numbers of the values that are known, by value. Digit by digit: comparing hundreds of thousands would take too
 * long.
 */
function ascending(values: Uint32Array): Uint32Array {
  let sorted = new Uint32Array(values.length);
  let count = 0;
  let largest = 0;
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    if (value === ABSENT) continue;
    sorted[count++] = index;
    if (value > largest) largest = value;
  }
  sorted = sorted.subarray(0, count);
  let next = new Uint32Array(count);
  const mask = 2 ** DIGIT_BITS - 1;
  for (let shift = 0; shift < 32 && largest >>> shift > 0; shift += DIGIT_BITS) {
    const places = new Uint32Array(mask + 2);
    for (let at = 0; at < count; at++) places[((values[sorted[at]!]! >>> shift) & mask) + 1]!++;
    for (let digit = 1; digit <= mask; digit++) places[digit]! += places[digit - 1]!;
    for (let at = 0; at < count; at++) {
      const index = sorted[at]!;
      next[places[(values[index]! >>> shift) & mask]!++] = index;
    }
    [sorted, next] = [next, sorted];
  }
  return sorted;
}
