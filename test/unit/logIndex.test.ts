import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  type CallFilter,
  type CallQuery,
  type CallRow,
  DEGRADED,
  FACETS,
  FAILED,
} from '../../src/core/audit/calls';
import type { LogLine } from '../../src/core/audit/line';
import { callIdOf, LogIndex } from '../../src/core/audit/logIndex';

const TS = '2026-01-02T03:04:05.678Z';
const AT = Date.parse(TS);
const PLACE = { file: 1, offset: 0, length: 0 };
const NOTHING_SPENT = { queued: 0, failed: 0, loading: 0, reading: 0, writing: 0 };

type Fields = Record<string, unknown>;

const call = (envelope: Fields, more: Fields = {}): LogLine => ({
  ...{ kind: 'call', ts: TS, tool: 'draft', envelope },
  ...more,
});
const failure = (fields: Fields): LogLine => ({ kind: 'error', ts: TS, tool: 'draft', ...fields });

function indexOf(lines: readonly LogLine[], mostRows?: number): LogIndex {
  const index = new LogIndex(mostRows);
  lines.forEach((line, offset) => index.add(line, { ...PLACE, offset }));
  return index;
}

/** What is known of it. */
function rowOf(line: LogLine): Partial<CallRow> {
  const row = indexOf([line]).row(0);
  assert.ok(row);
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));
}

const jobsOf = (index: LogIndex, query: Partial<CallQuery> = {}): string[] =>
  index.query({ filter: {}, count: 99, ...query }).rows.map(({ job }) => job);

describe('a row of the index', () => {
  it('tells of an answer what the envelope tells', () => {
    const envelope = {
      ...{ call_id: 'c', job: 'summarize_deep', surface: 'chat', tier_used: 'workhorse' },
      ...{ model: 'qwen3:8b', hardware_profile: 'dev', backend: 'local' },
      ...{ tokens_in: 900, tokens_out: 100, tokens_per_second: 44.1, elapsed_ms: 10_000 },
      ...{ queued_ms: 500, load_ms: 2_000, first_token_ms: 300, done_reason: 'length' },
      ...{ degraded: true, degrade_reason: 'cloud_timeout', fallback_from: 'deep' },
      attempts: [
        { backend: 'cloud', model: 'x', outcome: 'timeout', elapsed_ms: 1_000 },
        { backend: 'local', model: 'qwen3:8b', outcome: 'answer', elapsed_ms: 9_000 },
      ],
      ...{ truncated: true, cost_usd: 0, warnings: ['One.', 'Two.'] },
    };
    assert.deepEqual(rowOf(call(envelope)), {
      ...{ row: 0, at: AT, job: 'summarize_deep', outcome: 'answer', tier: 'workhorse' },
      ...{ backend: 'local', model: 'qwen3:8b', surface: 'chat', profile: 'dev' },
      ...{ tokens_in: 900, tokens_out: 100, tokens_per_second: 44.1, elapsed_ms: 10_000 },
      spent: { queued: 500, failed: 1_000, loading: 2_000, reading: 300, writing: 2_268 },
      ...{ degraded: 'cloud_timeout', fallback_from: 'deep', truncated: true, cut: true },
      warnings: 2,
    });
  });

  it('tells of a failure what its line tells', () => {
    const fields = {
      ...{ call_id: 'c', surface: 'tool', code: 'unreachable', message: 'No answer.' },
      ...{ tier: 'deep', backend: 'cloud', model: 'm', hardware_profile: 'dev' },
      ...{ elapsed_ms: 40, queued_ms: 10 },
    };
    assert.deepEqual(rowOf(failure(fields)), {
      ...{ row: 0, at: AT, job: 'draft', outcome: 'unreachable', tier: 'deep', backend: 'cloud' },
      ...{ model: 'm', surface: 'tool', profile: 'dev', elapsed_ms: 40 },
      spent: { ...NOTHING_SPENT, queued: 10 },
    });
    assert.equal(rowOf(failure({})).outcome, 'error');
    assert.equal(rowOf(failure({ kind: 'timeout' })).outcome, 'timeout');
    assert.equal(rowOf(failure({ kind: 'timeout', code: 'cancelled' })).outcome, 'cancelled');
  });

  it('is made of lines that other programs wrote', () => {
    const line: LogLine = {
      ...{ kind: 'call', ts: '2026-04-21T12:00:00Z', tool: 'ollama_classify' },
      envelope: {
        ...{ tier_used: 'instant', model: 'hermes3:8b', hardware_profile: 'dev-rtx5080' },
        ...{ tokens_in: 87, tokens_out: 12, elapsed_ms: 340 },
        residency: { in_vram: true, evicted: false },
      },
    };
    assert.deepEqual(rowOf(line), {
      ...{ row: 0, at: Date.parse(line.ts), job: 'ollama_classify', outcome: 'answer' },
      ...{ tier: 'instant', model: 'hermes3:8b', profile: 'dev-rtx5080' },
      ...{ tokens_in: 87, tokens_out: 12, elapsed_ms: 340, spent: NOTHING_SPENT },
    });
  });

  it('has no field that is of a wrong type, and nothing else suffers', () => {
    const names = ['tier_used', 'model', 'hardware_profile', 'backend', 'surface', 'fallback_from'];
    const counts = ['tokens_in', 'tokens_out', 'tokens_per_second', 'elapsed_ms', 'queued_ms'];
    const others = ['load_ms', 'first_token_ms', 'attempts', 'warnings', 'truncated', 'degraded'];
    const more = ['done_reason', 'cost_usd', 'call_id', 'job', 'degrade_reason'];
    const wrong = [null, true, {}, [], [null, 7, { elapsed_ms: 'x', outcome: 1 }], -1, -0.5, 1e300];
    const bare = { row: 0, at: AT, job: 'draft', outcome: 'answer', spent: NOTHING_SPENT };
    for (const field of [...names, ...counts, ...others, ...more]) {
      for (const value of wrong) {
        const isFlag = value === true && (field === 'truncated' || field === 'degraded');
        const isList = field === 'warnings' && Array.isArray(value) && value.length > 0;
        if (isFlag || isList) continue;
        assert.deepEqual(
          rowOf(call({ [field]: value })),
          bare,
          `${field}: ${JSON.stringify(value)}`,
        );
      }
      const text = rowOf(call({ [field]: '7' }));
      if (counts.includes(field)) assert.deepEqual(text, bare);
    }
    assert.equal(rowOf(failure({ code: 7, message: [], tool: null })).job, 'unknown');
    assert.equal(rowOf(call({ tokens_in: NaN, elapsed_ms: Infinity })).tokens_in, undefined);
  });

  it('never throws, whatever the line', () => {
    const names = fc.constantFrom('kind', 'ts', 'tool', 'envelope', 'attempts', 'model', 'code');
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom('call', 'error', 'eviction', TS, '__proto__', ''),
    );
    const fields = fc.dictionary(fc.oneof(names, fc.string()), value);
    fc.assert(
      fc.property(
        fields,
        fields,
        fc.constantFrom('call', 'timeout', 'eviction'),
        (outer, envelope, kind) => {
          const index = indexOf([{ envelope, ...outer, kind, ts: TS }]);
          index.query({ filter: { text: 'x' }, count: 9 });
          index.facets();
          index.trends({ range: '30d', now: AT });
        },
      ),
    );
  });

  it('is not made of what records no call', () => {
    const index = new LogIndex();
    const add = (line: LogLine): boolean => index.add(line, PLACE);
    assert.equal(add(call({}, { envelope: null })), false);
    assert.equal(add(call({}, { ts: 'soon' })), false);
    assert.equal(add(failure({ ts: 'soon' })), false);
    assert.equal(add({ kind: 'eviction', ts: TS }), false);
    assert.equal(add({ kind: 'eviction', ts: 'soon', model: 'm' }), false);
    for (const kind of ['fallback', 'breaker', 'prewarm', 'guardrail', 'constructor']) {
      assert.equal(add({ kind, ts: 'soon' }), true);
    }
    assert.equal(index.length, 0);
    for (const row of [0, -1, 0.5, NaN]) assert.equal(index.row(row), undefined);
  });

  it('has names of bearable length', () => {
    const { model = '' } = rowOf(call({ model: '😀'.repeat(1_000_000) }));
    assert.equal(model, `${'😀'.repeat(150)}…`);
    assert.equal(rowOf(call({ model: 'm'.repeat(300) })).model, 'm'.repeat(300));
  });
});

describe('the index of calls', () => {
  it('gives pages, oldest first, by default the newest', () => {
    const index = indexOf(Array.from({ length: 10 }, (_, n) => call({ job: `${n}` })));
    const page = (query: Partial<CallQuery>) => {
      const { total, from, rows } = index.query({ filter: {}, count: 3, ...query });
      return [total, from, rows.map(({ job }) => job).join('')];
    };
    assert.deepEqual(page({}), [10, 7, '789']);
    assert.deepEqual(page({ from: 0 }), [10, 0, '012']);
    assert.deepEqual(page({ from: 8 }), [10, 8, '89']);
    assert.deepEqual(page({ from: 99 }), [10, 10, '']);
    assert.deepEqual(page({ from: -5 }), [10, 0, '012']);
    assert.deepEqual(page({ count: 99 }), [10, 0, '0123456789']);
    assert.deepEqual(page({ count: 0 }), [10, 10, '']);
    assert.deepEqual(page({ count: -1 }), [10, 10, '']);
  });

  it('keeps the order of the log when a clock jumps', () => {
    const index = indexOf(
      ['2026-01-03', '2026-01-01', '2026-01-04', '2026-01-02'].map((ts) =>
        call({ job: ts }, { ts }),
      ),
    );
    assert.deepEqual(jobsOf(index), ['2026-01-03', '2026-01-01', '2026-01-04', '2026-01-02']);
    assert.deepEqual(jobsOf(index, { filter: { since: Date.parse('2026-01-02') } }), [
      '2026-01-03',
      '2026-01-04',
      '2026-01-02',
    ]);
  });

  it('finds all that failed, and all that is degraded', () => {
    const index = indexOf([
      call({ job: 'good' }),
      call({ job: 'worse', degraded: true }),
      failure({ tool: 'stopped', code: 'cancelled' }),
      failure({ tool: 'late', kind: 'timeout' }),
      failure({ tool: 'odd', code: FAILED }),
    ]);
    const found = (outcome: string) => jobsOf(index, { filter: { outcome } });
    assert.deepEqual(found(FAILED), ['late', 'odd']);
    assert.deepEqual(found(DEGRADED), ['worse']);
    assert.deepEqual(found('answer'), ['good', 'worse']);
    assert.deepEqual(found('cancelled'), ['stopped']);
    assert.deepEqual(found('time'), []);
  });

  it('finds each word anywhere in the names, the reason and the error', () => {
    const index = indexOf([
      call({ job: 'a', model: 'Qwen3:8B', surface: 'chat', truncated: true }),
      call({ job: 'b', degraded: true, degrade_reason: 'cloud_5xx', hardware_profile: 'Home' }),
      failure({ tool: 'c', code: 'unreachable', message: 'Kein Anschluß\tunter 127.0.0.1.' }),
      failure({ tool: 'd', code: 'cancelled' }),
      call({ job: 'e', degraded: true }),
    ]);
    const found = (text: string) => jobsOf(index, { filter: { text } }).join('');
    assert.equal(found(''), 'abcde');
    assert.equal(found(' \t\n'), 'abcde');
    assert.equal(found('qwen3 CHAT'), 'a');
    assert.equal(found('qwen3 tool'), '');
    assert.equal(found('truncated'), 'a');
    assert.equal(found('degraded'), 'be');
    assert.equal(found('5xx home'), 'b');
    assert.equal(found('failed'), 'c');
    assert.equal(found('anschluß 0.0'), 'c');
    assert.equal(found('cancelled'), 'd');
    assert.equal(found('chat\nqwen'), 'a');
    assert.equal(found('undefined'), '');
  });

  it('goes on finding when calls are added, and forgets the last filter for another', () => {
    const index = indexOf([]);
    const add = (job: string, model: string) => index.add(call({ job, model }), PLACE);
    const filter: CallFilter = { text: 'qwen' };
    assert.deepEqual(jobsOf(index, { filter }), []);
    for (let n = 0; n < 1_000; n++) {
      add(`${n}`, n % 2 ? `qwen${n}` : 'hermes');
      if (n % 100 === 0) assert.equal(index.query({ filter, count: 1 }).total, n / 2);
    }
    assert.equal(index.query({ filter: { model: 'hermes' }, count: 1 }).total, 500);
    assert.equal(index.query({ filter, count: 1 }).total, 500);
    assert.equal(index.query({ filter: {}, count: 1 }).total, 1_000);
  });

  it('asks anew what is since when', () => {
    const index = indexOf([1, 2, 3].map((n) => call({ job: `${n}` }, { ts: `2026-01-0${n}` })));
    const since = (day: number) =>
      jobsOf(index, { filter: { since: Date.parse(`2026-01-0${day}`) } });
    assert.deepEqual(since(2), ['2', '3']);
    assert.deepEqual(since(3), ['3']);
    assert.deepEqual(since(1), ['1', '2', '3']);
    index.add(call({ job: '0' }, { ts: '2025-12-31' }), PLACE);
    assert.deepEqual(since(1), ['1', '2', '3']);
  });

  it('counts the values of each facet, the most frequent first', () => {
    const index = indexOf([
      call({ model: 'b' }),
      call({ model: 'a' }),
      call({ model: 'c' }),
      call({ model: 'c' }),
      call({}),
      failure({ model: '__proto__' }),
    ]);
    const { model, surface, outcome } = index.facets();
    assert.deepEqual(
      model.map(({ value, count }) => `${value} ${count}`),
      ['c 2', '__proto__ 1', 'a 1', 'b 1'],
    );
    assert.deepEqual(surface, []);
    assert.deepEqual(outcome, [
      { value: 'answer', count: 5 },
      { value: 'error', count: 1 },
    ]);
    assert.equal(index.query({ filter: { model: '__proto__' }, count: 1 }).total, 1);
    assert.equal(index.query({ filter: { model: 'constructor' }, count: 1 }).total, 0);
    assert.equal(index.query({ filter: { model: '' }, count: 1 }).total, 1);
  });

  it('holds the newest calls when there are too many', () => {
    const lines = Array.from({ length: 45 }, (_, n) =>
      failure({ tool: `j${n}`, message: `m${n}` }),
    );
    const index = indexOf(lines.slice(0, 20), 20);
    const { generation } = index;
    assert.equal(index.isCut, false);
    assert.equal(index.query({ filter: { text: 'm19' }, count: 1 }).total, 1);
    for (const line of lines.slice(20)) {
      index.add(line, PLACE);
      assert.ok(index.length <= 20);
    }
    assert.ok(index.isCut && index.generation > generation);
    assert.equal(index.length, 19);
    assert.deepEqual(
      jobsOf(index),
      lines.slice(-19).map(({ tool }) => tool),
    );
    assert.deepEqual(jobsOf(index, { filter: { text: 'm44' } }), ['j44']);
    assert.deepEqual(jobsOf(index, { filter: { text: 'm0' } }), []);
    assert.equal(index.facets().job.length, 19);
  });

  it('forgets calls of files that are gone', () => {
    const index = new LogIndex();
    [1, 1, 2, 1].forEach((file, n) => index.add(call({ job: `${n}` }), { ...PLACE, file }));
    const { generation } = index;
    index.dropFiles(new Set([3]));
    assert.equal(index.generation, generation);
    index.dropFiles(new Set([1]));
    assert.deepEqual(jobsOf(index), ['2', '3']);
    assert.notEqual(index.generation, generation);
    assert.equal(index.isCut, false);
  });

  it('knows where calls may stand by their id, newest first', () => {
    const index = indexOf([
      call({ call_id: 'a' }),
      failure({ call_id: 'b' }),
      call({ call_id: 'a' }),
      call({ call_id: 7 }),
      call({}),
    ]);
    assert.deepEqual(index.candidates('a'), [2, 0]);
    assert.deepEqual(index.candidates('b'), [1]);
    assert.deepEqual(index.candidates(''), []);
    assert.equal(index.mark(2)?.offset, 2);
    assert.equal(index.mark(5), undefined);
    assert.equal(callIdOf(call({ call_id: 'a' }, { call_id: 'outer' })), 'a');
  });

  it('knows what was pushed out of memory, and when', () => {
    const index = indexOf([
      { kind: 'eviction', ts: '2026-01-01', model: 'a' },
      { kind: 'eviction', ts: '2026-01-03', model: 'b' },
      { kind: 'eviction', ts: '2026-01-02', model: 'a' },
    ]);
    assert.equal(index.length, 0);
    assert.deepEqual(index.evictions(Date.parse('2026-01-02')), [
      { model: 'b', at: Date.parse('2026-01-03') },
      { model: 'a', at: Date.parse('2026-01-02') },
    ]);
    assert.equal(index.evictions().length, 3);
  });

  it('count a model once that several windows saw to be pushed out', () => {
    const at = (ms: number, model: string): LogLine => ({
      ...{ kind: 'eviction', ts: new Date(Date.parse(TS) + ms).toISOString(), model },
    });
    const index = indexOf([
      at(0, 'hermes3:8b'),
      at(100, 'qwen3'),
      // Of another window, in its own order.
      at(-50, 'Hermes3:8B'),
      at(9_999, 'qwen3:latest'),
      at(10_000, 'hermes3:8b'),
      at(10_100, 'qwen3'),
    ]);
    assert.deepEqual(
      index.evictions().map((one) => [one.model, one.at - Date.parse(TS)]),
      [
        ['hermes3:8b', 0],
        ['qwen3', 100],
        ['hermes3:8b', 10_000],
        ['qwen3', 10_100],
      ],
    );
  });

  it('stops searching errors when no two of them are alike', () => {
    const index = new LogIndex();
    for (let n = 0; n < 20_050; n++)
      index.add(failure({ message: `m${n} end`, model: 'x' }), PLACE);
    const found = (text: string) => index.query({ filter: { text }, count: 1 }).total;
    assert.deepEqual(
      [found('m19999'), found('m20000'), found('end'), found('x')],
      [1, 0, 20_000, 20_050],
    );
  });

  it('finds what a plain search finds', () => {
    const some = <T>(...values: T[]) => fc.constantFrom(undefined, ...values);
    const day = fc.integer({ min: 1, max: 9 });
    const record = fc.record({
      day,
      code: some('timeout', 'cancelled', undefined),
      message: some('Failed badly.', 'no such thing'),
      job: fc.constantFrom('draft', 'chat', '__proto__'),
      tier: some('deep', 'instant'),
      model: some('qwen3:8b', 'constructor', 'Ä'),
      backend: some('local', 'cloud'),
      surface: some('chat', 'tool'),
      profile: some('dev'),
      degraded: some(true),
      reason: some('cloud_timeout'),
      truncated: some(true),
    });
    const filter = fc.record({
      job: some('draft', 'chat'),
      tier: some('deep', ''),
      model: some('constructor', 'ä'),
      backend: some('local'),
      surface: some('chat'),
      outcome: some('answer', 'timeout', FAILED, DEGRADED),
      profile: some('dev', ''),
      text: some('CHAT', 'failed', 'timeout deep', 'ä', ' cloud ', 'truncated degraded', 'd'),
      since: fc.option(
        day.map((n) => Date.parse(`2026-01-0${n}`)),
        { nil: undefined },
      ),
    });
    const lineOf = (one: Fields): LogLine => {
      const { day, code, message, job, tier, reason, profile, ...more } = one;
      const ts = `2026-01-0${String(day)}`;
      const names = { job, ...more, hardware_profile: profile };
      if (code) return failure({ ...names, ts, tool: job, code, message, tier });
      return call({ ...names, tier_used: tier, degrade_reason: reason }, { ts });
    };
    const plainly = (one: Fields, wanted: CallFilter): boolean => {
      const isDegraded = !one.code && one.degraded === true;
      const failed = one.code === 'timeout';
      const outcome = one.code ?? 'answer';
      const text = [
        ...[one.job, one.tier, one.model, one.backend, one.surface, one.profile, outcome],
        ...[one.code && one.message, isDegraded && one.reason, isDegraded && 'degraded'],
        ...[failed && 'failed', !one.code && one.truncated && 'truncated'],
      ].filter(Boolean);
      const words = (wanted.text ?? '').toLowerCase().split(/\s+/);
      return (
        FACETS.every((facet) => {
          const value = facet === 'outcome' ? outcome : (one[facet] ?? '');
          if (wanted[facet] === undefined || wanted[facet] === value) return true;
          return (
            facet === 'outcome' &&
            ((wanted.outcome === FAILED && failed) || (wanted.outcome === DEGRADED && isDegraded))
          );
        }) &&
        words.every((word) => text.some((name) => String(name).toLowerCase().includes(word))) &&
        Date.parse(`2026-01-0${String(one.day)}`) >= (wanted.since ?? -Infinity)
      );
    };
    const steps = fc.array(fc.tuple(fc.array(record, { maxLength: 12 }), filter), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(steps, fc.nat(5), fc.boolean(), (all, from, sameFilter) => {
        const index = new LogIndex();
        const held: Fields[] = [];
        for (const [records, own] of all) {
          const wanted = sameFilter ? (all[0]?.[1] ?? own) : own;
          for (const one of records) {
            assert.ok(index.add(lineOf(one), PLACE));
            held.push(one);
          }
          const rows = held.flatMap((one, row) => (plainly(one, wanted) ? [row] : []));
          const page = index.query({ filter: wanted, from, count: 4 });
          assert.equal(page.total, rows.length);
          assert.deepEqual(
            page.rows.map(({ row }) => row),
            rows.slice(from, from + 4),
          );
        }
      }),
      { numRuns: 500 },
    );
  });
});
