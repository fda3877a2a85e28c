import type { Figures, TrendGroup, Trends } from '../../src/core/audit/calls';
import { t } from './l10n';

export const GROUPS = ['backend', 'tier', 'model'] as const;
export type Group = (typeof GROUPS)[number];

/** What the log calls it, which may be nothing. */
export function named(name: string): string {
  return name === '' ? t('not known') : name;
}

/** Values of one name, one for each bucket; undefined where there is nothing to tell. */
export interface Series {
  label: string;
  values: (number | undefined)[];
  /** The colour and the pattern, by their number. */
  look: number;
}

/** More differ neither by colour nor by pattern. */
const MOST_SERIES = 5;
/** What is not any of the names has a look of its own. */
const REST = 5;

/** Names that are always there keep their look, whoever else is shown. */
const KNOWN: Record<Group, readonly string[]> = {
  backend: ['local', 'cloud', 'gateway'],
  tier: ['instant', 'workhorse', 'deep', 'embed'],
  model: [],
};

/**
 * Calls or tokens of each bucket by a group. The series of a bucket add up to its total: what belongs to none that is
 * shown is in the last one.
 */
export function seriesBy(
  { buckets, by }: Pick<Trends, 'buckets' | 'by'>,
  group: Group,
  what: 'calls' | 'tokens',
): Series[] {
  const groups = by[group];
  const shown = shownGroups(groups, group);
  const series = shown.map(({ name, look, buckets: values }) => ({
    label: named(name),
    look,
    values: values.map((bucket) => bucket[what]),
  }));
  const rest = buckets.map((bucket, index) => {
    const total = what === 'calls' ? bucket.calls : bucket.tokens_in + bucket.tokens_out;
    return total - series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0);
  });
  if (rest.every((value) => value <= 0)) return series;
  return [...series, { label: t('others'), values: rest, look: REST }];
}

function shownGroups(
  groups: readonly TrendGroup[],
  group: Group,
): (TrendGroup & { look: number })[] {
  const known = KNOWN[group];
  const most = [...groups]
    .sort((a, b) => b.calls - a.calls || compare(a.name, b.name))
    .slice(0, MOST_SERIES);
  const named = known.flatMap((name) => most.find((one) => one.name === name) ?? []);
  // By name and not by number, so that nobody changes colour when another one gets ahead.
  const others = most
    .filter(({ name }) => !known.includes(name))
    .sort((a, b) => compare(a.name, b.name));
  const looks = named.map(({ name }) => known.indexOf(name));
  const free = Array.from({ length: MOST_SERIES }, (_, look) => look).filter(
    (look) => !looks.includes(look),
  );
  return [...named, ...others].map((one, index) => ({
    ...one,
    look: looks[index] ?? free[index - named.length] ?? REST,
  }));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

type Counts = Pick<Figures, 'calls' | 'failed' | 'cancelled' | 'fallbacks'>;

/** How many of the answers were not what was asked for: degraded, or of a lower tier. Absent without an answer. */
export function fallbackRate({ calls, failed, cancelled, fallbacks }: Counts): number | undefined {
  const answers = calls - failed - cancelled;
  return answers > 0 ? Math.min(1, fallbacks / answers) : undefined;
}

/** A rate above this is worth a look. */
export const WATCHED_RATE = 0.1;
/** A rise is one from so many answers on, when the rate is so many times what it was, and so much more. */
const RISE = { answers: 10, times: 2, more: 0.05 };

export type Watch =
  | { state: 'calm' }
  | { state: 'high' }
  /** `before`: the rate of the first half of the range. */
  | { state: 'rising'; before: number };

/** Whether the rate of fallbacks is one that somebody should look at. */
export function watch({ total, buckets }: Pick<Trends, 'total' | 'buckets'>): Watch {
  if ((fallbackRate(total) ?? 0) > WATCHED_RATE) return { state: 'high' };
  const middle = Math.floor(buckets.length / 2);
  const [first, second] = [buckets.slice(0, middle), buckets.slice(middle)].map(sumOf);
  const [before, after] = [fallbackRate(first!), fallbackRate(second!)];
  if (before === undefined || after === undefined) return { state: 'calm' };
  const enough = [first!, second!].every(
    ({ calls, failed, cancelled }) => calls - failed - cancelled >= RISE.answers,
  );
  const rises = after >= before * RISE.times && after - before >= RISE.more;
  return enough && rises ? { state: 'rising', before } : { state: 'calm' };
}

function sumOf(figures: readonly Counts[]): Counts {
  const sum = { calls: 0, failed: 0, cancelled: 0, fallbacks: 0 };
  for (const { calls, failed, cancelled, fallbacks } of figures) {
    sum.calls += calls;
    sum.failed += failed;
    sum.cancelled += cancelled;
    sum.fallbacks += fallbacks;
  }
  return sum;
}

export interface Place {
  backend: string;
  calls: number;
  elapsed_ms: number;
  /** Of the time of all. */
  share: number;
  /** Absent: not known. */
  cost_usd?: number | undefined;
  look: number;
}

/** Where it ran and what that cost: this machine and the cloud always, so that they stand side by side. */
export function places(backends: readonly TrendGroup[]): Place[] {
  const all = backends.reduce((sum, { elapsed_ms }) => sum + elapsed_ms, 0);
  const others = backends.map(({ name }) => name).filter((name) => !ALWAYS.includes(name));
  return [...ALWAYS, ...others].map((backend) => {
    const {
      calls = 0,
      elapsed_ms = 0,
      cost_usd,
    } = backends.find(({ name }) => name === backend) ?? {};
    const known = KNOWN.backend.indexOf(backend);
    return {
      ...{ backend, calls, elapsed_ms, cost_usd },
      share: all > 0 ? elapsed_ms / all : 0,
      look: known < 0 ? REST : known,
    };
  });
}

const ALWAYS: readonly string[] = ['local', 'cloud'];
