import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  type Figures,
  type Range,
  RANGES,
  type TrendQuery,
  type Trends,
} from '../../src/core/audit/calls';
import { LogIndex } from '../../src/core/audit/logIndex';

const NOW = Date.parse('2026-03-04T05:06:07.890Z');
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const BUCKETS: Record<Range, [size: number, count: number]> = {
  '1h': [MINUTE, 60],
  '24h': [30 * MINUTE, 48],
  '7d': [3 * HOUR, 56],
  '30d': [12 * HOUR, 60],
};

interface Call {
  at: number;
  code?: string | undefined;
  profile?: string | undefined;
  tier?: string | undefined;
  backend?: string | undefined;
  model?: string | undefined;
  tokens_in?: number | undefined;
  tokens_out?: number | undefined;
  rate?: number | undefined;
  elapsed?: number | undefined;
  degraded?: boolean | undefined;
  from?: string | undefined;
  cost?: number | undefined;
}

const ts = (at: number): string => new Date(at).toISOString();

function indexOf(calls: readonly Call[], evictions: readonly number[] = []): LogIndex {
  const index = new LogIndex();
  const place = { file: 1, offset: 0, length: 0 };
  for (const call of calls) {
    const names = { backend: call.backend, model: call.model, hardware_profile: call.profile };
    const numbers = { elapsed_ms: call.elapsed, cost_usd: call.cost };
    const line = call.code
      ? { kind: 'error', ts: ts(call.at), tool: 'draft', code: call.code, tier: call.tier }
      : { kind: 'call', ts: ts(call.at), tool: 'draft' };
    const envelope = {
      ...{ ...names, ...numbers, tier_used: call.tier },
      ...{ tokens_in: call.tokens_in, tokens_out: call.tokens_out },
      ...{ tokens_per_second: call.rate, degraded: call.degraded, fallback_from: call.from },
    };
    const more = call.code ? { ...names, ...numbers } : { envelope };
    assert.ok(index.add({ ...line, ...more }, place));
  }
  evictions.forEach((at, n) => index.add({ kind: 'eviction', ts: ts(at), model: `m${n}` }, place));
  return index;
}

const trends = (calls: readonly Call[], query: Partial<TrendQuery> = {}): Trends =>
  indexOf(calls).trends({ range: '1h', now: NOW, ...query });

describe('trends', () => {
  it('have the buckets of their range, at multiples of their size, the last with the end in it', () => {
    for (const range of RANGES) {
      const [size, count] = BUCKETS[range];
      for (const now of [NOW, Math.floor(NOW / size) * size, Math.ceil(NOW / size) * size - 1]) {
        const { from, to, bucket_ms: bucket, buckets } = trends([], { range, now });
        assert.equal(bucket, size);
        assert.deepEqual(
          buckets.map(({ at }) => at),
          Array.from({ length: count }, (_, index) => from + index * size),
        );
        assert.equal(from % size, 0);
        assert.equal(to, from + size * count);
        assert.ok(now >= to - size && now < to, range);
      }
    }
  });

  it('of nothing are nothing, and no profile is invented', () => {
    const none = trends([{ at: NOW - 2 * HOUR }], { profile: 'p' });
    assert.equal(none.profile, undefined);
    assert.deepEqual(none.profiles, []);
    assert.deepEqual(none.by, { backend: [], tier: [], model: [] });
    const { calls, cost_usd: cost, p50_ms: p50, tokens_per_second: rate } = none.total;
    assert.deepEqual(
      { calls, cost, p50, rate },
      { calls: 0, cost: undefined, p50: undefined, rate: undefined },
    );
  });

  it('tell how calls ended', () => {
    const { total } = trends([
      { at: NOW, elapsed: 100 },
      { at: NOW, degraded: true },
      { at: NOW, from: 'deep' },
      { at: NOW, from: 'deep', degraded: true },
      { at: NOW, code: 'timeout', elapsed: 5 },
      { at: NOW, code: 'cancelled' },
      { at: NOW, code: 'no such code' },
    ]);
    const { calls, failed, cancelled, fallbacks, elapsed_ms: elapsed } = total;
    assert.deepEqual(
      { calls, failed, cancelled, fallbacks, elapsed },
      { calls: 7, failed: 2, cancelled: 1, fallbacks: 3, elapsed: 105 },
    );
  });

  it('have percentiles by nearest rank, of answers alone', () => {
    const answers = Array.from({ length: 100 }, (_, n) => ({
      at: NOW,
      elapsed: 100 - n,
      rate: n / 4,
    }));
    const { total } = trends([...answers, { at: NOW, code: 'timeout', elapsed: 999 }, { at: NOW }]);
    assert.equal(total.p50_ms, 50);
    assert.equal(total.p95_ms, 95);
    assert.equal(total.tokens_per_second, 12.25);
    const { total: one } = trends([{ at: NOW, elapsed: 7 }]);
    assert.deepEqual([one.p50_ms, one.p95_ms], [7, 7]);
  });

  it('have costs only where one is known', () => {
    const { by, total } = trends([
      { at: NOW, backend: 'local', cost: 0 },
      { at: NOW, backend: 'cloud' },
      { at: NOW, backend: 'gateway', cost: 0.25 },
      { at: NOW, backend: 'gateway', cost: 0.5 },
    ]);
    assert.deepEqual(
      Object.fromEntries(by.backend.map(({ name, cost_usd: cost }) => [name, cost])),
      { local: 0, cloud: undefined, gateway: 0.75 },
    );
    assert.equal(total.cost_usd, 0.75);
  });

  it('never mix profiles', () => {
    const calls = [
      { at: NOW - 3, profile: 'a', elapsed: 10, model: 'x' },
      { at: NOW - 1, profile: 'b', elapsed: 1_000, model: 'y' },
      { at: NOW - 2, elapsed: 5 },
    ];
    const latest = trends(calls);
    assert.deepEqual(
      latest.profiles.map(({ profile, p50_ms: p50 }) => [profile, p50]),
      [
        ['b', 1_000],
        ['a', 10],
        ['', 5],
      ],
    );
    assert.equal(latest.profile, 'b');
    assert.equal(latest.total.elapsed_ms, 1_000);
    const other = trends(calls, { profile: 'a' });
    assert.deepEqual(
      other.by.model.map(({ name }) => name),
      ['x'],
    );
    assert.equal(other.total.p95_ms, 10);
    assert.equal(trends(calls, { profile: '' }).total.calls, 1);
    const gone = trends(calls, { profile: 'gone' });
    assert.deepEqual([gone.profile, gone.total.calls], ['gone', 0]);
  });

  it('stay at the profile of the latest call that names one when another program logs a bare timeout', () => {
    const index = indexOf([{ at: NOW - 2, profile: 'a', elapsed: 10 }]);
    const place = { file: 1, offset: 0, length: 0 };
    index.add({ kind: 'timeout', ts: ts(NOW - 1), tier: 'instant', timeout_ms: 5_000 }, place);
    const latest = index.trends({ range: '1h', now: NOW });
    assert.equal(latest.profile, 'a');
    assert.equal(latest.total.calls, 1);
    assert.deepEqual(
      latest.profiles.map(({ profile, calls }) => [profile, calls]),
      [
        ['a', 1],
        ['', 1],
      ],
    );
  });

  it('count calls of a clock that was wrong apart', () => {
    const { future, total, buckets } = trends([
      { at: NOW + 1_001 },
      { at: NOW + 40 * 24 * HOUR },
      { at: NOW + 1_000 },
      { at: NOW },
    ]);
    assert.deepEqual([future, total.calls, buckets.at(-1)?.calls], [2, 2, 2]);
  });

  it('put a call that is dated a moment later into the last bucket', () => {
    const now = Math.ceil(NOW / MINUTE) * MINUTE - 1;
    const { buckets } = indexOf([{ at: now + 1_000 }], [now + 1_000]).trends({ range: '1h', now });
    assert.deepEqual([buckets.at(-1)?.calls, buckets.at(-1)?.evictions], [1, 1]);
  });

  it('count what was pushed out of memory, on whatever machine', () => {
    const index = indexOf([{ at: NOW }], [NOW - 2 * HOUR, NOW - 59 * MINUTE, NOW, NOW + 2_000]);
    const { total, buckets } = index.trends({ range: '1h', now: NOW });
    assert.equal(total.evictions, 2);
    assert.deepEqual([buckets[0]?.evictions, buckets.at(-1)?.evictions], [1, 1]);
  });

  it('show the names with the most calls when there are too many', () => {
    const calls = Array.from({ length: 150 }, (_, n) => ({ at: NOW, model: `m${n}` }));
    const { by, total } = trends([...calls, { at: NOW, model: 'm149' }]);
    assert.equal(by.model.length, 100);
    assert.deepEqual([by.model[0]?.name, by.model[0]?.calls, total.calls], ['m149', 2, 151]);
  });

  it('are those of a plain computation', () => {
    const some = <T>(...values: (T | undefined)[]) => fc.constantFrom(undefined, ...values);
    const call: fc.Arbitrary<Call> = fc.record({
      at: fc.oneof(
        fc.integer({ min: NOW - 90 * MINUTE, max: NOW + 5_000 }),
        fc.integer({ min: NOW - 40 * 24 * HOUR, max: NOW }),
      ),
      code: some('cancelled', 'timeout', undefined, undefined),
      profile: some('a', 'constructor', ''),
      tier: some('deep', 'instant', '__proto__'),
      backend: some('local', 'cloud'),
      model: some('m', 'toString', 'x'.repeat(9)),
      tokens_in: fc.option(fc.nat(9_000), { nil: undefined }),
      tokens_out: fc.option(fc.nat(2 ** 31), { nil: undefined }),
      rate: fc.option(
        fc.nat(9_999).map((n) => n / 100),
        { nil: undefined },
      ),
      elapsed: fc.option(fc.oneof(fc.nat(50), fc.nat(2 ** 31 - 1)), { nil: undefined }),
      degraded: some(true, false),
      from: some('deep'),
      cost: fc.option(
        fc.nat(64).map((n) => n / 8),
        { nil: undefined },
      ),
    });
    fc.assert(
      fc.property(
        fc.array(call, { maxLength: 60, size: 'max' }),
        fc.array(fc.integer({ min: NOW - 2 * HOUR, max: NOW + 3_000 }), { maxLength: 9 }),
        fc.constantFrom(...RANGES),
        some('a', '', 'gone'),
        (calls, evictions, range, profile) => {
          const query = { range, profile, now: NOW };
          assert.deepEqual(
            indexOf(calls, evictions).trends(query),
            plainly(calls, evictions, query),
          );
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** The same, one figure after the other. */
function plainly(calls: Call[], evictions: number[], { range, profile, now }: TrendQuery): Trends {
  const [size, count] = BUCKETS[range];
  const from = Math.floor(now / size) * size - (count - 1) * size;
  const inRange = calls.filter(({ at }) => at >= from && at <= now + 1_000);
  const bucketOf = (at: number) => Math.min(count - 1, Math.floor((at - from) / size));
  const nameOf = (call: Call) => call.profile ?? '';
  const latest = new Map<string, number>();
  for (const call of inRange) {
    latest.set(nameOf(call), Math.max(call.at, latest.get(nameOf(call)) ?? -Infinity));
  }
  const order = [...latest]
    .sort(([a, m], [b, n]) => Number(!a) - Number(!b) || n - m || (a < b ? -1 : 1))
    .map(([name]) => name);
  const chosen = inRange.length > 0 ? (profile ?? order[0]) : undefined;
  const mine = inRange.filter((call) => nameOf(call) === chosen);
  const pushedOut = evictions.filter((at) => at >= from && at <= now + 1_000);
  const groups = (by: 'backend' | 'tier' | 'model') =>
    [...new Set(mine.map((call) => call[by] ?? ''))]
      .map((name) => {
        const its = mine.filter((call) => (call[by] ?? '') === name);
        const buckets = Array.from({ length: count }, (_, index) => {
          const those = its.filter(({ at }) => bucketOf(at) === index);
          const tokens = those.map((one) =>
            one.code ? 0 : (one.tokens_in ?? 0) + (one.tokens_out ?? 0),
          );
          return { calls: those.length, tokens: sum(tokens) };
        });
        return { name, ...plainFigures(its), buckets };
      })
      .sort((a, b) => b.calls - a.calls || (a.name < b.name ? -1 : 1));
  return {
    from,
    to: from + count * size,
    bucket_ms: size,
    profiles: order.map((name) => ({
      profile: name,
      ...plainFigures(inRange.filter((call) => nameOf(call) === name)),
    })),
    profile: chosen,
    total: { ...plainFigures(mine), evictions: pushedOut.length },
    buckets: Array.from({ length: count }, (_, index) => ({
      at: from + index * size,
      ...plainFigures(mine.filter(({ at }) => bucketOf(at) === index)),
      evictions: pushedOut.filter((at) => bucketOf(at) === index).length,
    })),
    by: { backend: groups('backend'), tier: groups('tier'), model: groups('model') },
    future: calls.filter(({ at }) => at > now + 1_000).length,
  };
}

function plainFigures(calls: Call[]): Figures {
  const answers = calls.filter(({ code }) => code === undefined);
  const ranked = (values: (number | undefined)[], share: number) => {
    const known = values.filter((value) => value !== undefined).sort((a, b) => a - b);
    return known[Math.ceil((known.length * share) / 100) - 1];
  };
  const costs = calls.map(({ cost }) => cost).filter((cost) => cost !== undefined);
  return {
    calls: calls.length,
    failed: calls.filter(({ code }) => code === 'timeout').length,
    cancelled: calls.filter(({ code }) => code === 'cancelled').length,
    fallbacks: answers.filter(({ degraded, from }) => degraded || from).length,
    tokens_in: sum(answers.map((call) => call.tokens_in ?? 0)),
    tokens_out: sum(answers.map((call) => call.tokens_out ?? 0)),
    p50_ms: ranked(
      answers.map((call) => call.elapsed),
      50,
    ),
    p95_ms: ranked(
      answers.map((call) => call.elapsed),
      95,
    ),
    tokens_per_second: ranked(
      answers.map((call) => call.rate),
      50,
    ),
    elapsed_ms: sum(calls.map((call) => call.elapsed ?? 0)),
    cost_usd: costs.length > 0 ? sum(costs) : undefined,
  };
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
