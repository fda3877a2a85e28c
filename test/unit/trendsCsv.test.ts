import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Figures, Trends } from '../../src/core/audit/calls';
import { trendsCsv } from '../../src/shared/trendsCsv';

const FROM = Date.UTC(2026, 5, 1, 12);
const HOUR = 3_600_000;
const HEADER =
  'from,to,profile,group,name,calls,failed,cancelled,fallbacks,tokens_in,tokens_out,' +
  'p50_ms,p95_ms,tokens_per_second,elapsed_ms,cost_usd,evictions';

const NONE: Figures = {
  ...{ calls: 0, failed: 0, cancelled: 0, fallbacks: 0 },
  ...{ tokens_in: 0, tokens_out: 0, elapsed_ms: 0 },
};
const SOME: Figures = {
  ...{ calls: 5, failed: 1, cancelled: 2, fallbacks: 1, tokens_in: 1_200, tokens_out: 340 },
  ...{ p50_ms: 4_200, p95_ms: 61_000, tokens_per_second: 41.25, elapsed_ms: 70_000, cost_usd: 0 },
};

const trends = (model: string, profile = 'dev'): Trends => ({
  ...{ from: FROM, to: FROM + 2 * HOUR, bucket_ms: HOUR, profile, future: 0 },
  profiles: [
    { profile, ...SOME },
    { profile: 'm5-max', ...NONE },
  ],
  total: { ...SOME, evictions: 3 },
  buckets: [
    { at: FROM, evictions: 3, ...SOME },
    { at: FROM + HOUR, evictions: 0, ...NONE },
  ],
  by: {
    backend: [{ name: 'local', ...SOME, buckets: [] }],
    tier: [],
    model: [{ name: model, ...NONE, calls: 1, buckets: [] }],
  },
});

/** As a spreadsheet reads it. */
function parse(csv: string): string[][] {
  const rows: string[][] = [[]];
  let cell = '';
  let isQuoted = false;
  for (let at = 0; at < csv.length; at++) {
    const char = csv[at] as string;
    if (isQuoted) {
      if (char !== '"') cell += char;
      else if (csv[at + 1] === '"') cell += csv[++at];
      else isQuoted = false;
    } else if (char === '"' && cell === '') {
      isQuoted = true;
    } else if (char === ',') {
      rows.at(-1)?.push(cell);
      cell = '';
    } else if (char === '\r' && csv[at + 1] === '\n') {
      rows.at(-1)?.push(cell);
      cell = '';
      rows.push([]);
      at++;
    } else {
      assert.ok(char !== '\r' && char !== '\n', 'a line break outside quotes');
      cell += char;
    }
  }
  assert.deepEqual(rows.pop(), [], 'the last line has an end');
  return rows;
}

describe('trends as CSV', () => {
  it('has a row for each bucket, then the sums by group and by profile', () => {
    const span = '2026-06-01T12:00:00.000Z,2026-06-01T14:00:00.000Z';
    assert.equal(
      trendsCsv(trends('hermes3:8b')),
      [
        HEADER,
        '2026-06-01T12:00:00.000Z,2026-06-01T13:00:00.000Z,dev,all,,5,1,2,1,1200,340,4200,61000,41.25,70000,0,3',
        '2026-06-01T13:00:00.000Z,2026-06-01T14:00:00.000Z,dev,all,,0,0,0,0,0,0,,,,0,,0',
        `${span},dev,backend,local,5,1,2,1,1200,340,4200,61000,41.25,70000,0,`,
        `${span},dev,model,hermes3:8b,1,0,0,0,0,0,,,,0,,`,
        `${span},dev,profile,dev,5,1,2,1,1200,340,4200,61000,41.25,70000,0,`,
        `${span},m5-max,profile,m5-max,0,0,0,0,0,0,,,,0,,`,
        '',
      ].join('\r\n'),
    );
  });

  it('leaves what is not known empty, and does not call it 0', () => {
    const [header = [], , quiet = []] = parse(trendsCsv(trends('m')));
    const cell = (name: string): string | undefined => quiet[header.indexOf(name)];
    for (const name of ['p50_ms', 'p95_ms', 'tokens_per_second', 'cost_usd']) {
      assert.equal(cell(name), '', name);
    }
    assert.equal(cell('calls'), '0');
  });

  for (const [name, shown] of [
    ['=HYPERLINK("http://evil.example";"x")', '\'=HYPERLINK("http://evil.example";"x")'],
    ['+1+1', "'+1+1"],
    ['-2+3', "'-2+3"],
    ['@SUM(A1:A9)', "'@SUM(A1:A9)"],
    ['\t=1', "'\t=1"],
    ['\r=1', "'\r=1"],
    ['a,"b"\r\nc', 'a,"b"\r\nc'],
    ['hf.co/org/repo:Q4_K_M', 'hf.co/org/repo:Q4_K_M'],
  ] as const) {
    it(`is no formula: ${JSON.stringify(name)}`, () => {
      const rows = parse(trendsCsv(trends(name, name)));
      const model = rows.find(([, , , group]) => group === 'model');
      assert.deepEqual(model?.slice(2, 5), [shown, 'model', shown]);
    });
  }

  it('keeps its shape whatever the names are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        const rows = parse(trendsCsv(trends(name, name)));
        assert.equal(rows.length, 7);
        for (const row of rows) {
          assert.equal(row.length, HEADER.split(',').length);
          for (const cell of row) assert.doesNotMatch(cell, /^[=+\-@\t\r\n]/);
        }
      }),
    );
  });
});
