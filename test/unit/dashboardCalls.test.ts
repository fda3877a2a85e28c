import assert from 'node:assert/strict';
import { mock } from 'node:test';
import fc from 'fast-check';
import type { CallPage, CallRow, Spent } from '../../src/core/audit/calls';
import type { Envelope } from '../../src/core/audit/envelope';
import type { LogLine } from '../../src/core/audit/line';
import { LogIndex } from '../../src/core/audit/logIndex';
import { spentBy } from '../../src/core/audit/spent';
import { detailsOf, recordJson } from '../../src/shared/calls';
import { REQUESTS } from '../../src/shared/dashboard';
import { Receiver, Requester, type Wire } from '../../src/shared/ipc';
import {
  fieldText,
  notices,
  remark,
  spentPicture,
  spentText,
  stretchText,
} from '../../webview/dashboard/calls';
import {
  CallPages,
  PAGE_ROWS,
  pagesOf,
  placeByKey,
  placeKept,
  ROW_HEIGHT,
  spanSeen,
  Throttle,
  topToSee,
} from '../../webview/dashboard/callPages';

const NOW = Date.UTC(2026, 5, 1, 12);
const SECRET = 'the prompt of somebody';
const NOTHING_SPENT: Spent = { queued: 0, failed: 0, loading: 0, reading: 0, writing: 0 };

const envelope = (more: Partial<Envelope> = {}): Envelope => ({
  call_id: 'c1',
  job: 'summarize_fast',
  surface: 'command',
  result: 'the answer itself',
  tier_used: 'instant',
  model: 'hermes3:8b',
  hardware_profile: 'dev',
  backend: 'local',
  tokens_in: 412,
  tokens_out: 188,
  elapsed_ms: 5_000,
  residency: null,
  attempts: [],
  queued_ms: 0,
  load_ms: 0,
  warnings: [],
  ...more,
});

const line = (fields: Record<string, unknown>): LogLine => ({
  kind: 'call',
  ts: new Date(NOW).toISOString(),
  ...fields,
});

/** As the index makes it of a line. */
function rowOf(made: LogLine): CallRow | undefined {
  const index = new LogIndex();
  index.add(made, { file: 1, offset: 0, length: 1 });
  return index.row(0);
}

function detailsOfLine(made: LogLine) {
  const row = rowOf(made);
  return row && detailsOf(made, row);
}

const answered = (more: Partial<Envelope> = {}) => line({ envelope: envelope(more) });

const row = (more: Partial<CallRow> = {}): CallRow => ({
  ...{ row: 0, at: NOW, job: 'draft', outcome: 'answer', spent: NOTHING_SPENT },
  ...more,
});

describe('the details of a call', () => {
  /** Every name that may occur in a record that is sent to the webview. */
  const ALLOWED = new Set([
    ...['call_id', 'job', 'surface', 'tier_used', 'fallback_from', 'backend', 'degraded'],
    ...['degrade_reason', 'model', 'model_requested', 'hardware_profile', 'num_ctx', 'tokens_in'],
    ...['tokens_out', 'tokens_per_second', 'elapsed_ms', 'queued_ms', 'load_ms', 'first_token_ms'],
    ...['attempts', 'residency', 'truncated', 'done_reason', 'cost_usd', 'warnings', 'outcome'],
    ...['in_vram', 'size_bytes', 'size_vram_bytes', 'evicted', 'code', 'message', 'tier', 'calls'],
    ...['details', 'status', 'available', 'capability', 'prompt_tokens', 'retry_after_ms'],
    ...['partial', 'usage_limit', 'ts'],
  ]);

  function keysOf(value: unknown): string[] {
    if (Array.isArray(value)) return value.flatMap(keysOf);
    if (typeof value !== 'object' || value === null) return [];
    return Object.entries(value).flatMap(([key, inner]) => [key, ...keysOf(inner)]);
  }

  /** Anything at all under names of which about half are known ones. */
  const anything = fc.letrec<{ value: unknown; fields: Record<string, unknown> }>((tie) => ({
    fields: fc.dictionary(
      fc.oneof(fc.constantFrom(...ALLOWED), fc.string(), fc.constantFrom('prompt', 'result')),
      tie('value'),
      { maxKeys: 8 },
    ),
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null)),
      fc.array(tie('value'), { maxLength: 3 }),
      tie('fields'),
    ),
  }));

  it('let no field through that is not on the list, whoever wrote the line', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('call', 'error', 'timeout', 'eviction', 'other'),
        anything.fields,
        anything.fields,
        async (kind, outer, inner) => {
          const fields = { ...outer, kind, ts: new Date(NOW).toISOString() };
          // What is read of a log went through JSON.
          const made = JSON.parse(
            JSON.stringify({ ...fields, tool: 'a_job', envelope: inner }),
          ) as LogLine;
          const found = rowOf(made);
          if (!found) return;
          const details = detailsOf(made, found);
          const unknown = (value: unknown) => keysOf(value).filter((key) => !ALLOWED.has(key));
          assert.deepEqual(unknown(details.record), []);
          assert.deepEqual(unknown(JSON.parse(recordJson(made, found))), []);
          const total = details.stretches.reduce((sum, { ms }) => sum + ms, 0);
          assert.ok(total <= (found.elapsed_ms ?? 0), 'the parts are longer than the whole');
          assert.deepEqual(await sent(details), JSON.parse(JSON.stringify(details)));
        },
      ),
      { numRuns: 400 },
    );
  });

  /** What arrives in the webview; fails when it refuses it. */
  async function sent(details: ReturnType<typeof detailsOf>): Promise<unknown> {
    const wire = (message: Wire): unknown => JSON.parse(JSON.stringify(message)) as unknown;
    const requester = new Requester((message) => receiver.receive(wire(message)));
    const receiver = new Receiver().answer(
      REQUESTS.call,
      (reply) => requester.receive(wire(reply)),
      () => details,
    );
    return requester.ask(REQUESTS.call, { row: 0 });
  }

  it('keep text out even where it hides below a known field', () => {
    const hidden = { prompt: SECRET, messages: [{ content: SECRET }] };
    const residency = { in_vram: true, size_bytes: 1, size_vram_bytes: 1, evicted: false };
    const one = line({
      ...{ tool: 'draft', prompt: SECRET },
      envelope: {
        ...{ ...envelope(), result: SECRET, ...hidden, done_reason: { text: SECRET } },
        attempts: [{ backend: 'local', model: 'm', outcome: 'answer', elapsed_ms: 1, ...hidden }],
        residency: { ...residency, ...hidden },
      },
    });
    const other = line({
      ...{ kind: 'error', tool: 'draft', code: 'server' },
      ...{ details: { status: 500, ...hidden }, ...hidden },
    });
    for (const made of [one, other]) {
      const found = rowOf(made);
      assert.ok(found);
      assert.ok(!JSON.stringify(detailsOf(made, found)).includes(SECRET));
      assert.ok(!recordJson(made, found).includes(SECRET));
    }
    assert.deepEqual(detailsOfLine(one)?.record.residency, residency);
    assert.deepEqual(detailsOfLine(other)?.record.details, { status: 500 });
  });

  it('carry everything of the envelope but the result', () => {
    const details = detailsOfLine(answered({ truncated: true, warnings: ['Mind it.'] }));
    const expected: Partial<Envelope> = envelope({ truncated: true });
    delete expected.result;
    delete expected.warnings;
    assert.deepEqual(details?.record, expected);
    assert.deepEqual(details?.warnings, ['Mind it.']);
    const made = answered();
    const copied = JSON.parse(recordJson(made, rowOf(made) as CallRow)) as Partial<Envelope>;
    assert.deepEqual(copied.warnings, []);
    assert.ok(!('result' in copied));
  });

  it('tell the message of a failure once, and cut what nobody reads to its end', () => {
    const details = detailsOfLine(
      line({ kind: 'error', tool: 'x', code: 'server', message: 'm'.repeat(1_000_000) }),
    );
    assert.match(details?.message ?? '', /^m{2000}…$/);
    assert.equal(details?.record.message, undefined);
    assert.equal(details?.record.code, 'server');
    const many = detailsOfLine(answered({ warnings: Array<string>(5_000).fill('w') }));
    assert.equal(many?.warnings.length, 200);
  });

  it('tell what a call did, one after the other', () => {
    const attempts: Envelope['attempts'] = [
      { backend: 'cloud', model: 'far', outcome: 'server', elapsed_ms: 1_000 },
      { backend: 'local', model: 'near', outcome: 'answer', elapsed_ms: 8_500 },
    ];
    const known = { backend: 'local', model: 'near' } as const;
    const times = { elapsed_ms: 10_000, queued_ms: 500, load_ms: 2_000, first_token_ms: 1_200 };
    assert.deepEqual(
      detailsOfLine(
        answered({ ...known, ...times, attempts, tokens_out: 100, tokens_per_second: 20 }),
      )?.stretches,
      [
        { part: 'queued', ms: 500 },
        { part: 'failed', ms: 1_000, backend: 'cloud', model: 'far', outcome: 'server' },
        { part: 'loading', ms: 2_000, ...known },
        { part: 'reading', ms: 1_200, ...known },
        { part: 'writing', ms: 5_000, ...known },
      ],
    );
    const cancelled = line({
      ...{ kind: 'error', tool: 'x', code: 'cancelled', elapsed_ms: 4_000, queued_ms: 1_000 },
      attempts: [{ backend: 'local', model: 'near', outcome: 'cancelled', elapsed_ms: 9_000 }],
    });
    assert.deepEqual(detailsOfLine(cancelled)?.stretches, [
      { part: 'queued', ms: 1_000 },
      { part: 'failed', ms: 3_000, ...known, outcome: 'cancelled' },
    ]);
  });
});

describe('the time of a call', () => {
  const ms = fc.option(fc.nat(200_000), { nil: undefined });
  const times = fc.record({
    elapsed_ms: fc.nat(200_000),
    queued_ms: ms,
    load_ms: ms,
    first_token_ms: ms,
    tokens_out: fc.option(fc.nat(5_000), { nil: undefined }),
    tokens_per_second: fc.option(fc.double({ min: 0, max: 500, noNaN: true }), { nil: undefined }),
    attempts: fc.array(
      fc.record({
        outcome: fc.constantFrom('answer', 'cancelled', 'timeout', undefined),
        elapsed_ms: ms,
      }),
      { maxLength: 3 },
    ),
  });

  it('is never split into more than there is, nor into less than nothing', () => {
    fc.assert(
      fc.property(times, (record) => {
        const parts = Object.values<number>({ ...spentBy(record) });
        assert.ok(parts.every((part) => part >= 0 && Number.isInteger(part)));
        assert.ok(parts.reduce((sum, part) => sum + part, 0) <= record.elapsed_ms);
      }),
    );
  });

  it('is split without a rest when nothing but writing can be the rest', () => {
    fc.assert(
      fc.property(times, ms, (record, first) => {
        const parts = spentBy({
          ...{ ...record, tokens_per_second: undefined },
          first_token_ms: first ?? 0,
        });
        assert.equal(
          Object.values<number>({ ...parts }).reduce((sum, part) => sum + part, 0),
          record.elapsed_ms,
        );
      }),
    );
  });

  it('is split by what the server counted', () => {
    const attempts = [
      { outcome: 'out_of_memory', elapsed_ms: 1_000 },
      { outcome: 'answer', elapsed_ms: 8_500 },
    ];
    const record = { elapsed_ms: 10_000, queued_ms: 500, load_ms: 2_000, attempts };
    assert.deepEqual(
      spentBy({ ...record, first_token_ms: 1_200, tokens_out: 100, tokens_per_second: 20 }),
      { queued: 500, failed: 1_000, loading: 2_000, reading: 1_200, writing: 5_000 },
    );
    assert.deepEqual(spentBy(record), {
      ...{ queued: 500, failed: 1_000, loading: 2_000 },
      ...{ reading: 0, writing: 0 },
    });
    assert.deepEqual(spentBy({}), NOTHING_SPENT);
  });

  it('is told in words and as a picture', () => {
    const spent = { ...NOTHING_SPENT, queued: 300, loading: 20_100 };
    assert.equal(spentText(spent), 'queued 300 ms, loading 20.1 s');
    assert.equal(spentText(NOTHING_SPENT), '');
    assert.equal(
      spentPicture({ ...NOTHING_SPENT, queued: 250, writing: 500 }, 1_000),
      'linear-gradient(to right, var(--part-queued) 0.00% 25.00%, var(--part-writing) 25.00% 75.00%, transparent 75.00%)',
    );
    assert.equal(spentPicture(NOTHING_SPENT, 1_000), 'none');
    assert.equal(stretchText({ part: 'failed', ms: 1 }), 'no answer');
    assert.equal(stretchText({ part: 'failed', ms: 1, outcome: 'timeout' }), 'timeout');
  });
});

describe('a row of the dashboard', () => {
  it('remarks the one thing that matters most', () => {
    const said = (more: Partial<CallRow>) => remark(row(more))?.text;
    assert.equal(said({}), undefined);
    assert.equal(said({ outcome: 'cancelled' }), 'cancelled');
    assert.equal(said({ outcome: 'timeout', degraded: '' }), 'timeout');
    assert.equal(said({ degraded: '' }), 'degraded');
    assert.equal(said({ degraded: 'no memory' }), 'no memory');
    assert.equal(said({ degraded: 'cloud_rate_limited' }), 'cloud rate limited');
    assert.equal(said({ fallback_from: 'deep' }), 'instead of deep');
    assert.equal(said({ truncated: true, warnings: 1 }), 'input shortened');
    assert.equal(said({ cut: true }), 'cut at its limit');
    assert.equal(said({ spent: { ...NOTHING_SPENT, loading: 20_100 } }), 'cold load 20.1 s');
    assert.equal(said({ warnings: 1 }), '1 warning');
    assert.equal(said({ warnings: 2 }), '2 warnings');
  });

  it('says in words why an answer is degraded', () => {
    const details = detailsOfLine(
      answered({ degraded: true, degrade_reason: 'cloud_rate_limited', warnings: ['Mind it.'] }),
    );
    assert.ok(details);
    assert.deepEqual(notices(details), [
      'Ollama Cloud refused the call because of a limit, so your own Ollama answered.',
      'Mind it.',
    ]);
  });

  it('shows every kind of field', () => {
    const attempt = { backend: 'local', model: 'm:8b', outcome: 'timeout', elapsed_ms: 1_500 };
    const shown: [string, unknown, string][] = [
      ['residency', null, 'unknown'],
      ['elapsed_ms', 5_100, '5.1 s'],
      ['size_bytes', 6.6e9, '6.60 GB'],
      ['cost_usd', 0, '$0'],
      ['tokens_in', 9204, '9,204'],
      ['truncated', true, 'yes'],
      ['degraded', false, 'no'],
      ['model', 'm', 'm'],
      ['warnings', [], 'none'],
      ['available', ['a', 'b'], 'a, b'],
      ['attempts', [attempt, {}], 'local/m:8b: timeout, 1.5 s\n: unknown'],
      ['residency', { in_vram: true, size_bytes: 1e9 }, 'in_vram: yes\nsize_bytes: 1.00 GB'],
    ];
    for (const [name, value, text] of shown) assert.equal(fieldText(name, value), text, name);
  });
});

describe('what is seen of a long list', () => {
  const total = fc.nat(1_000_000);
  const height = fc.integer({ min: 1, max: 3_000 });

  it('is all that lies in the view, and little more', () => {
    fc.assert(
      fc.property(fc.nat(24_000_000), height, total, fc.nat(10), (top, view, calls, more) => {
        const { first, end } = spanSeen(top, view, calls, more);
        assert.ok(first >= 0 && first <= end && end <= calls);
        assert.ok(end - first <= view / ROW_HEIGHT + 2 + 2 * more);
        for (const pixel of [top, top + view - 1]) {
          const place = Math.floor(pixel / ROW_HEIGHT);
          if (place < calls) assert.ok(first <= place && place < end);
        }
      }),
    );
  });

  it('contains a row that the list was scrolled to, which moves it no further than needed', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.nat(24_000_000), height, (place, top, view) => {
        fc.pre(view >= ROW_HEIGHT);
        const target = topToSee(place, top, view);
        assert.ok(target <= place * ROW_HEIGHT);
        assert.ok(target + view >= (place + 1) * ROW_HEIGHT);
        assert.equal(topToSee(place, target, view), target);
      }),
    );
  });

  it('lies on the pages that hold it, newest first', () => {
    assert.deepEqual(pagesOf(0, 0), []);
    assert.deepEqual(pagesOf(0, 100), [0]);
    assert.deepEqual(pagesOf(99, 301), [3, 2, 1, 0]);
  });

  it('is reached with the keys', () => {
    assert.equal(placeByKey('ArrowDown', 3, 9, 5), 4);
    assert.equal(placeByKey('ArrowDown', 9, 9, 5), 9);
    assert.equal(placeByKey('PageUp', 3, 9, 5), 0);
    assert.equal(placeByKey('End', undefined, 9, 5), 9);
    assert.equal(placeByKey('ArrowUp', undefined, 9, 5), 0);
    assert.equal(placeByKey('Home', undefined, -1, 5), undefined);
    assert.equal(placeByKey('x', 3, 9, 5), undefined);
  });
});

describe('the pages of a list', () => {
  interface Asked {
    from: number | undefined;
    reply: () => Promise<void>;
    fail: () => Promise<void>;
  }
  let calls: number;
  let asked: Asked[];
  let changes: number;
  let pages: CallPages;

  const pageOf = (total: number, from = Math.max(0, total - PAGE_ROWS)): CallPage => ({
    total,
    from,
    rows: Array.from({ length: Math.max(0, Math.min(PAGE_ROWS, total - from)) }, (_, index) =>
      row({ row: from + index }),
    ),
  });
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

  beforeEach(() => {
    calls = 1_000;
    asked = [];
    changes = 0;
    pages = new CallPages(
      (from) =>
        new Promise((resolve, reject) => {
          asked.push({
            from,
            // As the log is when it is asked.
            reply: ((page) => () => (resolve(page), settled()))(pageOf(calls, from)),
            fail: () => (reject(new Error('no')), settled()),
          });
        }),
      () => changes++,
    );
  });

  async function begin(): Promise<void> {
    pages.look({ first: 0, end: 30 }, 0);
    await asked[0]?.reply();
    pages.look({ first: 0, end: 30 }, calls);
  }

  it('keep the keyboard on its call when the oldest calls fall out, or newer ones came', async () => {
    await begin();
    // Of a list that began with rows 4 to 1003, of which the oldest 4 are out of the time now.
    assert.equal(placeKept(996, 1_000, 990, pages), 990);
    // The call itself is not here: as far from the newest.
    assert.equal(placeKept(996, 1_000, 5, pages), 996);
    assert.equal(placeKept(100, 1_004, 0, pages), 96);
    assert.equal(placeKept(2, 1_004, 0, pages), 0);
    assert.equal(placeKept(996, 1_000, undefined, pages), 996, 'rows are not what they were');
  });

  it('have no place for the keyboard when there are no calls any more', async () => {
    calls = 0;
    await begin();
    assert.equal(placeKept(3, 10, 3, pages), undefined);
  });

  it('begin with the newest, and ask for nothing that is there', async () => {
    await begin();
    assert.deepEqual([asked.length, asked[0]?.from, pages.total], [1, undefined, 1_000]);
    assert.equal(pages.at(999)?.row, 999);
    assert.ok(pages.isComplete);
    assert.equal(changes, 1);
  });

  it('ask for no more than two at once, and then only for what is still seen', async () => {
    await begin();
    for (const first of [200, 400, 600, 800]) pages.look({ first, end: first + 30 }, calls);
    assert.deepEqual(
      asked.slice(1).map(({ from }) => from),
      [700, 500],
    );
    assert.ok(!pages.isComplete);
    await asked[1]?.reply();
    assert.equal(asked[3]?.from, 100, 'the row at place 800 is the 199th from the oldest');
    await asked[2]?.reply();
    await asked[3]?.reply();
    assert.ok(pages.isComplete);
    assert.equal(asked.length, 4);
  });

  it('stay valid while the list grows, and fill up', async () => {
    calls = 950;
    await begin();
    calls = 962;
    pages.refresh();
    await asked[1]?.reply();
    assert.deepEqual([pages.total, pages.at(949)?.row, pages.at(961)?.row], [962, 949, 961]);
    calls = 2_000;
    pages.refresh();
    await asked[2]?.reply();
    pages.look({ first: 1_030, end: 1_060 }, 2_000);
    assert.equal(asked[3]?.from, 900, 'the page was full of holes');
  });

  it('keep the total of the latest question when an older reply comes late', async () => {
    await begin();
    pages.look({ first: 500, end: 530 }, calls);
    calls = 1_010;
    pages.refresh();
    await asked[2]?.reply();
    await asked[1]?.reply();
    assert.equal(pages.total, 1_010);
    assert.equal(pages.at(480)?.row, 480);
  });

  it('forget everything when there are fewer calls than before', async () => {
    await begin();
    calls = 10;
    pages.refresh();
    await asked[1]?.reply();
    assert.deepEqual([pages.total, pages.at(999), pages.at(9)?.row], [10, undefined, 9]);
  });

  it('do not ask over and over for rows that do not come', async () => {
    await begin();
    pages.look({ first: 500, end: 530 }, calls);
    const before = calls;
    calls = 0;
    await asked[1]?.fail();
    assert.equal(asked.length, 2, 'a question that failed waits until somebody looks');
    calls = before;
    pages.look({ first: 500, end: 530 }, calls);
    assert.equal(asked.length, 3);
    await asked[2]?.reply();
    assert.ok(pages.isComplete);
  });

  it('remember what was looked at last, and no more than thirty', async () => {
    calls = 10_000;
    await begin();
    for (let first = 0; first < 5_000; first += PAGE_ROWS) {
      pages.look({ first, end: first + 20 }, calls);
      await asked.at(-1)?.reply();
    }
    assert.ok(pages.at(10_000 - 4_910));
    assert.equal(pages.at(9_999), undefined);
    const before = asked.length;
    pages.look({ first: 4_800, end: 4_820 }, calls);
    assert.equal(asked.length, before);
    pages.look({ first: 0, end: 20 }, calls);
    assert.equal(asked.at(-1)?.from, 9_900);
  });

  it('say nothing more once they are closed', async () => {
    await begin();
    pages.look({ first: 500, end: 530 }, calls);
    pages.close();
    await asked[1]?.reply();
    assert.equal(changes, 1);
    pages.refresh();
    assert.equal(asked.length, 2);
  });
});

describe('a throttle', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
  afterEach(() => mock.timers.reset());

  it('acts at once, and once more for all that was wanted meanwhile', () => {
    let acted = 0;
    const throttle = new Throttle(250, () => acted++);
    for (let index = 0; index < 10; index++) throttle.want();
    assert.equal(acted, 1);
    mock.timers.tick(249);
    assert.equal(acted, 1);
    mock.timers.tick(1);
    assert.equal(acted, 2);
    mock.timers.tick(1_000);
    assert.equal(acted, 2);
    throttle.want();
    throttle.want();
    throttle.stop();
    mock.timers.tick(1_000);
    assert.equal(acted, 3);
  });
});
