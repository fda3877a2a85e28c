import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Figures, TrendGroup, Trends } from '../../src/core/audit/calls';
import {
  bucketAt,
  isMidnight,
  type Measure,
  pathOf,
  runs,
  stack,
  ticks,
  timeTicks,
} from '../../webview/dashboard/components/charts/scale';
import { fallbackRate, type Group, places, seriesBy, watch } from '../../webview/dashboard/trends';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const figures = (more: Partial<Figures> = {}): Figures => ({
  ...{ calls: 0, failed: 0, cancelled: 0, fallbacks: 0 },
  ...{ tokens_in: 0, tokens_out: 0, elapsed_ms: 0 },
  ...more,
});

describe('the scale of a chart', () => {
  const measures = fc.constantFrom<Measure>('count', 'number', 'share', 'ms');
  const highest = fc.oneof(
    fc.integer({ min: 0, max: 1e9 }),
    fc.double({ min: 0.001, max: 1e6, noNaN: true }),
  );

  it('has even ticks from 0 to the first that covers the highest value', () => {
    fc.assert(
      fc.property(highest, measures, fc.integer({ min: 1, max: 8 }), (max, measure, most) => {
        const found = ticks(max, measure, most);
        const [zero, step = NaN] = found;
        const last = found.at(-1) ?? NaN;
        assert.equal(zero, 0);
        assert.ok(last >= max * (1 - 1e-6), `${last} is below ${max}`);
        assert.ok(found.length >= 2 && found.length <= most + 1, `${found.length} ticks`);
        assert.ok(max === 0 || last - step < max, `${found.join()} goes too far above ${max}`);
        for (const [index, tick] of found.entries()) {
          assert.ok(Math.abs(tick - index * step) <= 1e-9 * tick);
        }
        if (measure === 'count') assert.ok(found.every(Number.isInteger), found.join());
      }),
    );
  });

  for (const [max, measure, expected] of [
    [0, 'count', [0, 1]],
    [1, 'count', [0, 1]],
    [7, 'count', [0, 2, 4, 6, 8]],
    [76, 'count', [0, 20, 40, 60, 80]],
    [0.16, 'share', [0, 0.05, 0.1, 0.15, 0.2]],
    [1, 'share', [0, 0.5, 1]],
    [34_000, 'ms', [0, 10_000, 20_000, 30_000, 40_000]],
    [100_000, 'ms', [0, 30_000, 60_000, 90_000, 120_000]],
    [5 * MINUTE, 'ms', [0, 2 * MINUTE, 4 * MINUTE, 6 * MINUTE]],
    [90 * MINUTE, 'ms', [0, 30 * MINUTE, HOUR, 90 * MINUTE]],
    [100 * DAY, 'ms', [0, 1_000 * HOUR, 2_000 * HOUR, 3_000 * HOUR]],
  ] as [number, Measure, number[]][]) {
    it(`goes up to ${max} (${measure}) in ${expected.length - 1} steps`, () => {
      const rounded = ticks(max, measure).map((tick) => Math.round(tick * 1e9) / 1e9);
      assert.deepEqual(rounded, expected);
    });
  }

  it('has moments that are round on the clock, in order and within the range', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: Date.UTC(2026, 0), max: Date.UTC(2027, 0) }),
        fc.constantFrom(HOUR, DAY, 7 * DAY, 30 * DAY),
        fc.integer({ min: 1, max: 24 }),
        (to, range, most) => {
          const from = to - range;
          const found = timeTicks(from, to, most);
          assert.ok(found.length <= most + 2, `${found.length} moments, at most ${most}`);
          assert.deepEqual(
            found,
            [...new Set(found)].sort((a, b) => a - b),
          );
          for (const moment of found) {
            assert.ok(moment >= from && moment <= to);
            assert.equal(moment % MINUTE, 0);
            if (range === 30 * DAY && most <= 15) assert.ok(isMidnight(moment));
          }
        },
      ),
    );
  });

  it('has about as many moments as there is room for', () => {
    const from = new Date(2026, 5, 2, 15).getTime();
    const hours = timeTicks(from, from + DAY, 8).map((moment) => new Date(moment).getHours());
    assert.deepEqual(hours, [15, 18, 21, 0, 3, 6, 9, 12, 15]);
    assert.equal(timeTicks(from, from + 30 * DAY, 6).length, 6);
  });

  it('stacks layers without a gap, up to the sum of their values', () => {
    const layers = fc.integer({ min: 1, max: 30 }).chain((count) =>
      fc.array(
        fc.array(fc.option(fc.nat(1000), { nil: undefined }), {
          minLength: count,
          maxLength: count,
        }),
        { minLength: 1, maxLength: 6 },
      ),
    );
    fc.assert(
      fc.property(layers, (values) => {
        const stacked = stack(values);
        for (const index of values[0]!.keys()) {
          let below = 0;
          for (const [number, layer] of stacked.entries()) {
            const { from, to } = layer[index]!;
            assert.equal(from, below);
            assert.equal(to - from, values[number]![index] ?? 0);
            below = to;
          }
        }
      }),
    );
  });

  it('draws a line with gaps where there is nothing, never down to zero', () => {
    const point = (x: number) => ({ x, y: 1.234 });
    const found = runs([undefined, point(1), point(2), undefined, undefined, point(5), undefined]);
    assert.deepEqual(
      found.map((run) => run.map(({ x }) => x)),
      [[1, 2], [5]],
    );
    assert.equal(pathOf(found[0]!), 'M1 1.23L2 1.23');
    assert.equal(pathOf([]), '');
  });

  it('finds the bucket below the pointer, the outer ones beyond the edges', () => {
    assert.deepEqual(
      [-5, 0, 24, 25, 99, 100, 500].map((x) => bucketAt(x, 100, 4)),
      [0, 0, 0, 1, 3, 3, 3],
    );
  });
});

describe('the series of a chart', () => {
  const group = (name: string, values: number[]): TrendGroup => {
    const calls = values.reduce((sum, value) => sum + value, 0);
    const buckets = values.map((value) => ({ calls: value, tokens: value * 100 }));
    return { name, buckets, ...figures({ calls, tokens_in: calls * 100 }) };
  };

  function trendsOf(groups: TrendGroup[], by: Group): Pick<Trends, 'buckets' | 'by'> {
    const count = groups[0]?.buckets.length ?? 0;
    const sum = (index: number): number =>
      groups.reduce((all, { buckets }) => all + (buckets[index]?.calls ?? 0), 0);
    return {
      buckets: Array.from({ length: count }, (_, index) => ({
        at: index,
        evictions: 0,
        ...figures({ calls: sum(index), tokens_in: sum(index) * 80, tokens_out: sum(index) * 20 }),
      })),
      by: { backend: [], tier: [], model: [], [by]: groups },
    };
  }

  it('add up to the total of each bucket, with looks of their own', () => {
    const groups = fc
      .tuple(fc.uniqueArray(fc.string(), { maxLength: 9 }), fc.integer({ min: 1, max: 12 }))
      .chain(([names, count]) =>
        fc.tuple(
          ...names.map((name) =>
            fc
              .array(fc.nat(50), { minLength: count, maxLength: count })
              .map((values) => group(name, values)),
          ),
        ),
      );
    const by = fc.constantFrom<Group>('backend', 'tier', 'model');
    fc.assert(
      fc.property(groups, by, fc.constantFrom('calls', 'tokens'), (all, one, what) => {
        const trends = trendsOf(all, one);
        const series = seriesBy(trends, one, what);
        for (const [index, bucket] of trends.buckets.entries()) {
          const sum = series.reduce((found, { values }) => found + (values[index] ?? 0), 0);
          const total = what === 'calls' ? bucket.calls : bucket.tokens_in + bucket.tokens_out;
          assert.equal(sum, total);
        }
        assert.equal(new Set(series.map(({ look }) => look)).size, series.length);
        assert.ok(series.every(({ look }) => look >= 0 && look <= 5));
      }),
    );
  });

  it('keep their look when another name has more calls', () => {
    const looks = (groups: TrendGroup[]) =>
      Object.fromEntries(
        seriesBy(trendsOf(groups, 'model'), 'model', 'calls').map(({ label, look }) => [
          label,
          look,
        ]),
      );
    assert.deepEqual(
      looks([group('a', [9]), group('b', [1])]),
      looks([group('b', [9]), group('a', [1])]),
    );
    const [cloud] = seriesBy(trendsOf([group('cloud', [1])], 'backend'), 'backend', 'calls');
    assert.equal(cloud?.look, 1, 'the cloud looks like the cloud when it is alone');
  });

  it('put what is rare together, and name what has no name', () => {
    const many = ['a', 'b', 'c', 'd', '', 'f', 'g'].map((name, index) => group(name, [10 - index]));
    const series = seriesBy(trendsOf(many, 'model'), 'model', 'calls');
    assert.deepEqual(
      series.map(({ label, values }) => [label, values[0]]),
      [
        ['not known', 6],
        ['a', 10],
        ['b', 9],
        ['c', 8],
        ['d', 7],
        ['others', 9],
      ],
    );
  });
});

describe('the fallback rate', () => {
  const half = (answers: number, fallbacks: number) => ({
    at: 0,
    evictions: 0,
    ...figures({ calls: answers + 3, failed: 2, cancelled: 1, fallbacks }),
  });
  const watched = (first: [number, number], second: [number, number]) => {
    const [a, b] = [half(...first), half(...second)] as const;
    const total = {
      evictions: 0,
      ...figures({
        calls: a.calls + b.calls,
        ...{ failed: 4, cancelled: 2, fallbacks: a.fallbacks + b.fallbacks },
      }),
    };
    return watch({ total, buckets: [a, b] });
  };

  it('is that of the answers, and absent without any', () => {
    assert.equal(fallbackRate(half(20, 5)), 0.25);
    assert.equal(fallbackRate(half(0, 0)), undefined);
  });

  it('is worth a look above a tenth', () => {
    assert.deepEqual(watched([100, 10], [100, 10]), { state: 'calm' });
    assert.deepEqual(watched([100, 10], [100, 11]), { state: 'high' });
  });

  it('is worth a look when it has risen clearly, of enough answers', () => {
    assert.deepEqual(watched([100, 1], [100, 8]), { state: 'rising', before: 0.01 });
    assert.deepEqual(watched([100, 0], [100, 5]), { state: 'rising', before: 0 });
    assert.deepEqual(watched([100, 4], [100, 7]), { state: 'calm' }, 'not twice as much');
    assert.deepEqual(watched([100, 1], [100, 4]), { state: 'calm' }, 'few');
    assert.deepEqual(watched([100, 0], [9, 1]), { state: 'calm' }, 'of few answers');
    assert.deepEqual(watched([100, 8], [100, 0]), { state: 'calm' }, 'it falls');
  });
});

describe('time and cost', () => {
  it('stand side by side for this machine and the cloud, whether or not they were used', () => {
    const one = (name: string, more: Partial<Figures>): TrendGroup => ({
      ...{ name, buckets: [] },
      ...figures(more),
    });
    const local = one('local', { calls: 3, elapsed_ms: 9_000, cost_usd: 0 });
    assert.deepEqual(places([local]), [
      { backend: 'local', look: 0, calls: 3, elapsed_ms: 9_000, share: 1, cost_usd: 0 },
      { backend: 'cloud', look: 1, calls: 0, elapsed_ms: 0, share: 0, cost_usd: undefined },
    ]);
    const gateway = one('gateway', { calls: 1, elapsed_ms: 3_000 });
    const unknown = one('', { calls: 1, elapsed_ms: 6_000 });
    assert.deepEqual(
      places([local, gateway, unknown]).map(({ backend, share }) => [backend, share]),
      [
        ['local', 0.5],
        ['cloud', 0],
        ['gateway', 1 / 6],
        ['', 1 / 3],
      ],
    );
    assert.deepEqual(
      places([]).map(({ share }) => share),
      [0, 0],
    );
  });
});
