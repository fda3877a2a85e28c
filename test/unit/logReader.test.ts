import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import {
  backendsOf,
  jobOf,
  lineText,
  type LogFilter,
  type LogLine,
  matchesFilter,
  outcomeOf,
  parseLogLine,
} from '../../src/core/audit/line';
import { AuditLog, LOG_KINDS } from '../../src/core/audit/log';
import { type Follower, followLog, readLog } from '../../src/core/audit/reader';
import { ManualClock } from '../support/ollama/server';
import { coreClock } from './support';

const { appendFile, mkdtemp, readFile, rename, rm, writeFile } = fs;

const TS = '2026-01-02T03:04:05.678Z';
const line = (fields: Record<string, unknown> = {}): LogLine => ({
  kind: 'call',
  ts: TS,
  ...fields,
});
const text = (n: number, more: object = {}) => JSON.stringify(line({ n, ...more }));
const count = (to: number) => Array.from({ length: to }, (_, n) => n);

/** A line of each kind, and what it is. */
const SAMPLES: [line: LogLine, job: string | undefined, backends: string[], outcome?: string][] = [
  [
    line({ tool: 'draft', envelope: { job: 'draft', backend: 'local', model: 'qwen3:8b' } }),
    'draft',
    ['local'],
    'answer',
  ],
  [
    line({ tool: 'chat', envelope: { backend: 'local', degraded: true, degrade_reason: 'x' } }),
    'chat',
    ['local'],
    'degraded',
  ],
  [
    line({ kind: 'error', tool: 'draft', code: 'cancelled', backend: 'cloud' }),
    'draft',
    ['cloud'],
    'cancelled',
  ],
  [line({ kind: 'error', tool: 'draft' }), 'draft', [], 'error'],
  [line({ kind: 'timeout', tool: 'research', tier: 'deep' }), 'research', [], 'timeout'],
  [
    line({ kind: 'fallback', from: 'deep', to: 'workhorse', backend: 'local', reason: 'timeout' }),
    undefined,
    ['local'],
  ],
  [
    line({ kind: 'backend_fallback', tool: 'draft', from: 'cloud', to: 'local' }),
    'draft',
    ['cloud', 'local'],
  ],
  [line({ kind: 'breaker', backend: 'cloud', from: 'closed', to: 'open' }), undefined, ['cloud']],
  [line({ kind: 'prewarm', tier: 'deep', model: 'm', success: true }), undefined, []],
  [line({ kind: 'eviction', model: 'm', backend: 'local' }), undefined, ['local']],
  [line({ kind: 'guardrail', tool: 'classify', rule: 'confidence' }), 'classify', []],
  [line({ tool: 7, envelope: null }), undefined, []],
  [line({ envelope: 'text', backend: ['local'], code: 1 }), undefined, []],
];

describe('a line of the log', () => {
  it('knows its job, backends and outcome', () => {
    for (const [one, job, backends, outcome] of SAMPLES) {
      const of = JSON.stringify(one);
      assert.equal(jobOf(one), job, of);
      assert.deepEqual(backendsOf(one), backends, of);
      assert.equal(outcomeOf(one), outcome, of);
    }
    const kinds = new Set(SAMPLES.map(([{ kind }]) => kind));
    for (const kind of LOG_KINDS) assert.ok(kinds.has(kind), `no sample of ${kind}`);
  });

  it('matches a filter when it is one of each thing that is asked for', () => {
    const all = SAMPLES.map(([one]) => one);
    const found = (filter: LogFilter) => all.filter((one) => matchesFilter(one, filter)).length;
    assert.equal(found({}), all.length);
    assert.equal(found({ kinds: [], jobs: [], backends: [], outcomes: [], text: '' }), all.length);
    assert.equal(found({ kinds: ['error'] }), 2);
    assert.equal(found({ kinds: ['error', 'timeout'] }), 3);
    assert.equal(found({ jobs: ['draft'] }), 4);
    assert.equal(found({ backends: ['cloud'] }), 3);
    assert.equal(found({ outcomes: ['degraded', 'cancelled'] }), 2);
    assert.equal(found({ jobs: ['draft'], outcomes: ['cancelled', 'timeout'] }), 1);
    assert.equal(found({ kinds: ['call'], backends: ['cloud'] }), 0);
    assert.equal(found({ text: 'QWEN3' }), 1);
    assert.equal(found({ kinds: ['no such'] }), 0);
  });

  it('is read without the answer that others put into it', () => {
    const read = parseLogLine(text(1, { envelope: { job: 'embed', result: [0.1, 0.2] } }));
    assert.deepEqual(read?.envelope, { job: 'embed' });
  });

  it('is told in words', () => {
    const told = (fields: Record<string, unknown>) =>
      lineText(line(fields)).slice('2026-01-02 03:04:05  '.length).replace(/ {2,}/g, ' | ');
    const envelope = {
      ...{ job: 'draft', tier_used: 'workhorse', backend: 'local', model: 'qwen3:8b' },
      ...{ tokens_in: 1412, tokens_out: 188, elapsed_ms: 5_120 },
    };
    assert.equal(
      told({ tool: 'draft', envelope }),
      'call | draft | answer | local · qwen3:8b, 1,412→188 tokens, 5.1 s',
    );
    const worse = { fallback_from: 'deep', degraded: true, degrade_reason: 'cloud_timeout' };
    assert.equal(
      told({ tool: 'draft', envelope: { ...envelope, ...worse } }),
      'call | draft | degraded | local · qwen3:8b, 1,412→188 tokens, 5.1 s, instead of deep, cloud_timeout',
    );
    assert.equal(
      told({
        ...{ kind: 'error', tool: 'draft', code: 'unreachable', message: 'No\n answer\tcame.' },
        ...{ backend: 'local', model: 'qwen3:8b', elapsed_ms: 40 },
      }),
      'error | draft | unreachable | local · qwen3:8b, 40 ms, No answer came.',
    );
    assert.equal(
      told({
        ...{ kind: 'backend_fallback', tool: 'draft', from: 'cloud', to: 'local' },
        ...{ from_model: 'minimax-m3:cloud', to_model: 'qwen3:8b', reason: 'cloud_timeout' },
      }),
      'backend_fallback | draft | cloud → local, minimax-m3:cloud → qwen3:8b, cloud_timeout',
    );
    assert.equal(
      told({
        ...{ kind: 'breaker', backend: 'cloud', from: 'closed', to: 'open' },
        ...{ reason: 'cloud_5xx', retry_in_ms: 20_000 },
      }),
      'breaker | closed → open, cloud, cloud_5xx, next try in 20.0 s',
    );
    assert.equal(
      told({ kind: 'prewarm', model: 'm', success: false, elapsed_ms: 9, error: 'no memory' }),
      'prewarm | m, 9 ms, failed, no memory',
    );
    assert.equal(told({ kind: 'eviction', model: 'm', backend: 'local' }), 'eviction | local · m');
  });

  it('begins with the moment, in local time', () => {
    const at = new Date(TS);
    assert.ok(lineText(line()).startsWith(`2026-01-0${at.getDate()} `));
    assert.match(lineText(line()), new RegExp(`^\\S+ ${at.toTimeString().slice(0, 8)} {2}call$`));
    assert.match(lineText(line({ ts: 'soon\n' })), /^soon {15} {2}call$/);
  });

  it('stays one line of bearable length, and tells nothing that it does not name', () => {
    const NAMED = ['kind', 'ts', 'tool', 'job', 'code', 'message', 'error', 'reason', 'backend'];
    NAMED.push('model', 'from', 'to', 'from_model', 'to_model', 'fallback_from', 'degrade_reason');
    const SECRET = 'a prompt of somebody';
    const other = fc.string().filter((name) => !NAMED.includes(name) && name !== 'envelope');
    // Longer than what is shown, with all that ends a line.
    const anyText = fc
      .array(fc.constantFrom('a b', '\n', '\r', '\0', '\u0085', '\u2028', 'ü😀'), { maxLength: 9 })
      .map((parts) => parts.join('').repeat(25));
    const fields = fc.oneof(
      fc.dictionary(fc.constantFrom(...NAMED), anyText),
      fc.dictionary(
        fc.oneof(other, fc.constantFrom('result', 'prompt', 'details', 'detail', 'residency')),
        fc.constantFrom<unknown>(SECRET, [SECRET], { message: SECRET, model: SECRET }),
      ),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...LOG_KINDS, 'other'),
        fields,
        fields,
        (kind, outer, envelope) => {
          const told = lineText(line({ kind, envelope, ...outer }));
          assert.doesNotMatch(told, /[\p{Cc}\u2028\u2029]/u);
          assert.ok(told.length < 4_000);
          assert.ok(!told.includes(SECRET));
        },
      ),
    );
  });
});

describe('the log', () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'intern-log-'));
    path = join(folder, 'log.ndjson');
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const numbersOf = (lines: LogLine[]) => lines.map(({ n }) => n as number);

  describe('read backwards', () => {
    const numbers = async (limit = 99, more: object = {}) =>
      numbersOf(await readLog(path, { limit, ...more }));

    it('is empty without a file, and without a folder', async () => {
      assert.deepEqual(await numbers(), []);
      await writeFile(path, '');
      assert.deepEqual(await numbers(), []);
      assert.deepEqual(await readLog(join(folder, 'none', 'log'), { limit: 9 }), []);
    });

    it('gives the newest first, no more than asked for', async () => {
      await writeFile(path, [1, 2, 3, 4].map((n) => `${text(n)}\n`).join(''));
      assert.deepEqual(await numbers(2), [4, 3]);
      assert.deepEqual(await numbers(10), [4, 3, 2, 1]);
      assert.deepEqual(await numbers(0), []);
    });

    it('skips what it cannot read and keeps what others wrote', async () => {
      const others = '{"kind":"guardrail","ts":"2026-01-01T00:00:00Z","n":2,"extra":{}}';
      const lines = [
        'not json',
        text(1),
        '{"kind":"call"',
        'null',
        '[]',
        '"text"',
        '7',
        '',
        '{}',
        '{"kind":7,"ts":"x"}',
        '{"kind":"call"}',
        others,
        '\u0000\u0000',
        `${text(3)}\r`,
        text(4).slice(0, -5),
      ];
      await writeFile(path, lines.join('\n'));
      assert.deepEqual(await numbers(), [3, 2, 1]);
    });

    it('has a last line without a newline', async () => {
      await writeFile(path, `${text(1)}\r\n${text(2)}`);
      assert.deepEqual(await numbers(), [2, 1]);
    });

    it('is whole wherever a block of it ends', async () => {
      // The lengths shift every line and every character against the blocks.
      const lines = count(3_000).map((n) =>
        text(n, { fill: 'aü€😀'.repeat(n % 23) + 'x'.repeat(n % 7) }),
      );
      await writeFile(path, `${lines.join('\n')}\n`);
      const read = await readLog(path, { limit: Infinity });
      assert.deepEqual(
        read.reverse().map((one) => JSON.stringify(one)),
        lines,
      );
    });

    it('has lines of a megabyte, and none that is longer than any line can be', async () => {
      const long = 'ü'.repeat(600_000);
      const endless = 'x'.repeat(17 * 1024 * 1024);
      const all = [text(1), text(2, { long }), endless, text(3), text(4, { endless }), text(5)];
      await writeFile(path, `${all.join('\n')}\n`);
      const read = await readLog(path, { limit: 9 });
      assert.deepEqual(numbersOf(read), [5, 3, 2, 1]);
      assert.equal(read[2]?.long, long);
    });

    it('finds the one match at its far end', async () => {
      const fill = 'x'.repeat(1_000);
      await writeFile(path, `${text(0, { kind: 'eviction' })}\n`);
      await appendFile(
        path,
        count(5_000)
          .map((n) => `${text(n, { fill })}\n`)
          .join(''),
      );
      assert.deepEqual(await numbers(1, { kinds: ['eviction'] }), [0]);
    });

    it('is read no further back than asked for', async () => {
      await writeFile(
        path,
        count(100)
          .map((n) => `${text(n)}\n`)
          .join(''),
      );
      const { length } = `${text(99)}\n`;
      assert.deepEqual(await numbers(99, { bytes: length * 3 }), [99, 98, 97]);
      assert.deepEqual(await numbers(99, { bytes: length * 3 + 5 }), [99, 98, 97]);
    });

    it('goes on in what was set aside, by number', async () => {
      for (const n of [1, 2, 9, 10, 11]) await writeFile(`${path}.${n}`, `${text(n)}\n`);
      await writeFile(`${path}.12`, '');
      await writeFile(`${path}.bak`, `${text(0)}\n`);
      assert.deepEqual(await numbers(), [11, 10, 9, 2, 1]);
      await writeFile(path, `${text(20)}\n${text(21)}\n`);
      assert.deepEqual(await numbers(), [21, 20, 11, 10, 9, 2, 1]);
      assert.deepEqual(await numbers(4, { bytes: 3 * text(20).length }), [21, 20]);
    });

    it('has every line once while it is written and set aside', async () => {
      const log = new AuditLog(path, Date.now, assert.fail, { file: 2_000, kept: Infinity });
      let written = 0;
      let going = true;
      const writing = (async () => {
        while (going) {
          log.write({ kind: 'call', n: written++ });
          await log.flush();
        }
      })();
      try {
        for (let round = 0; round < 50; round++) {
          const before = written - 1;
          const [newest = -1, ...rest] = await numbers(Infinity);
          assert.ok(newest >= before - 1, `${newest} of ${before}`);
          assert.deepEqual(rest, count(newest).reverse());
        }
      } finally {
        going = false;
        await writing;
      }
    });

    it('has every line once when it is set aside at that moment', async () => {
      await writeFile(path, `${text(1)}\n`);
      const { open } = fs;
      fs.open = async (...args) => {
        fs.open = open;
        const file = await open(...args);
        await rename(path, `${path}.1`);
        await writeFile(path, `${text(2)}\n`);
        return file;
      };
      assert.deepEqual(await numbers(), [2, 1]);
    });

    it('rejects when it cannot be read', async () => {
      await assert.rejects(readLog(folder, { limit: 1 }), /EISDIR|EPERM/);
    });
  });

  describe('followed', () => {
    let clock: ManualClock;
    let heard: LogLine[][];
    let follower: Follower | undefined;

    beforeEach(() => {
      clock = new ManualClock();
      heard = [];
    });
    afterEach(() => follower?.close());

    const follow = (query: LogFilter & { limit?: number } = {}) =>
      (follower = followLog(
        path,
        { limit: 100, ...query },
        (lines) => heard.push(lines),
        coreClock(clock),
      ));
    const numbers = () => numbersOf(heard.flat());
    /** Lets it look once more, to the end. */
    async function look(): Promise<void> {
      while (clock.timers === 0) await clock.advance(0);
      await clock.advance(500);
      while (clock.timers === 0) await clock.advance(0);
    }
    async function until(n: number): Promise<void> {
      while (!numbers().includes(n)) await look();
    }
    const append = (...numbers: number[]) =>
      appendFile(path, numbers.map((n) => `${text(n)}\n`).join(''));

    it('begins with the latest lines and goes on with those that come, each once', async () => {
      await writeFile(`${path}.1`, `${text(0)}\n`);
      await append(1, 2, 3);
      follow({ limit: 2 });
      await until(3);
      assert.deepEqual(numbers(), [2, 3]);
      await append(4);
      await look();
      await append(5, 6, 7);
      await look();
      await look();
      assert.deepEqual(numbers(), [2, 3, 4, 6, 7]);
    });

    it('waits for a file that is not there yet, and says that there is nothing', async () => {
      follow();
      await look();
      await look();
      assert.deepEqual(heard, [[]]);
      await append(1);
      await until(1);
      assert.deepEqual(heard.slice(1), [[line({ n: 1 })]]);
    });

    it('tells only of what matches', async () => {
      follow({ kinds: ['error'] });
      await append(1);
      await appendFile(path, `${text(2, { kind: 'error' })}\n${text(3)}\n`);
      await appendFile(path, `${text(4, { kind: 'error' })}\n`);
      await until(4);
      assert.deepEqual(numbers(), [2, 4]);
    });

    it('waits for the rest of a line', async () => {
      await append(1);
      follow();
      await until(1);
      const whole = text(2, { fill: 'ü'.repeat(100) });
      const bytes = Buffer.from(`${whole}\n${text(3)}\n`);
      const cut = bytes.indexOf('ü') + 1;
      await appendFile(path, bytes.subarray(0, cut));
      await look();
      assert.deepEqual(numbers(), [1]);
      await appendFile(path, bytes.subarray(cut));
      await until(3);
      assert.deepEqual(numbers(), [1, 2, 3]);
    });

    it('goes on after it was set aside, also more than once between two looks', async () => {
      await append(1);
      follow();
      await until(1);
      await append(2);
      // Somebody is about to set it aside.
      await writeFile(`${path}.1`, '');
      await look();
      await rename(path, `${path}.1`);
      await append(3);
      await rename(path, `${path}.2`);
      await append(4);
      await until(4);
      assert.deepEqual(numbers(), [1, 2, 3, 4]);
      // Somebody had opened the file before it was set aside.
      await appendFile(`${path}.2`, `${text(5)}\n`);
      await until(5);
      await rename(path, `${path}.3`);
      await look();
      await append(6);
      await until(6);
      assert.deepEqual(numbers(), [1, 2, 3, 4, 5, 6]);
    });

    it('goes on after it was emptied or deleted', async () => {
      await append(1, 2);
      follow();
      await until(2);
      await writeFile(path, `${text(3)}\n`);
      await until(3);
      await rm(path);
      await look();
      await append(4, 5);
      await until(5);
      assert.deepEqual(numbers(), [1, 2, 3, 4, 5]);
    });

    it('misses none of several writers through many rotations', async () => {
      const sizes = { file: 3_000, kept: Infinity };
      const logs = [0, 1, 2].map(() => new AuditLog(path, Date.now, assert.fail, sizes));
      follow({ limit: Infinity });
      for (let n = 0; n < 300; n++) {
        logs.forEach((log, who) => log.write({ kind: 'call', n: n * 3 + who }));
        if (n % 10 === 0) await clock.advance(500);
      }
      await Promise.all(logs.map((log) => log.flush()));
      await append(900);
      await until(900);
      await look();
      assert.deepEqual(
        numbers().sort((a, b) => a - b),
        count(901),
      );
    });

    it('is left alone when it is closed, and no timer stays', async () => {
      await append(1);
      const closed = follow();
      await until(1);
      await look();
      closed.close();
      assert.equal(clock.timers, 0);
      heard = [];
      await append(2);
      const other = followLog(path, { limit: 9 }, () => heard.push([]), coreClock(clock));
      other.close();
      for (let turn = 0; turn < 5; turn++) {
        await readFile(path);
        await clock.advance(500);
      }
      assert.deepEqual(heard, []);
      assert.equal(clock.timers, 0);
    });
  });
});
