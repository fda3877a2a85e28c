import assert from 'node:assert/strict';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { LogState } from '../../src/core/audit/calls';
import { setAsideFiles, unlessMissing } from '../../src/core/audit/files';
import { parseLogLine } from '../../src/core/audit/line';
import { AuditLog } from '../../src/core/audit/log';
import { callIdOf, hashOf } from '../../src/core/audit/logIndex';
import { LogIndexer, type LogIndexerOptions } from '../../src/core/audit/logIndexer';
import { bigLogLines } from '../support/bigLog';

const TS = '2026-01-02T03:04:05.678Z';
const NOW = Date.parse(TS);

/** A call whose job is its number. */
const text = (n: number, more: object = {}): string =>
  JSON.stringify({
    ...{ kind: 'call', ts: TS, tool: 'x' },
    envelope: { call_id: `id ${n}`, job: `${n}`, result: { n }, ...more },
  });
const lines = (...numbers: number[]): string => numbers.map((n) => `${text(n)}\n`).join('');
const count = (to: number): number[] => Array.from({ length: to }, (_, n) => n);

describe('the index of a log on disk', () => {
  let folder: string;
  let path: string;
  let heard: { state: LogState; anew: boolean }[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'intern-index-'));
    path = join(folder, 'log.ndjson');
    heard = [];
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const indexer = (options: Partial<LogIndexerOptions> = {}): LogIndexer =>
    new LogIndexer(path, {
      onChanged: (state, anew) => heard.push({ state, anew }),
      ...options,
    });
  const jobs = (log: LogIndexer): number[] =>
    log.calls({ filter: {}, count: 1_000 }).rows.map(({ job }) => Number(job));
  async function looked(log: LogIndexer): Promise<number[]> {
    await log.look();
    return jobs(log);
  }
  const known = (calls: number, more: object = {}) => ({
    ...{ state: 'known', calls, skipped: 0, more: false },
    ...more,
  });

  it('is empty without a file, and without a folder', async () => {
    const log = indexer();
    assert.deepEqual(log.state, { state: 'reading', read: 0, size: 0, calls: 0 });
    assert.deepEqual(await looked(log), []);
    assert.deepEqual(heard, [{ state: known(0), anew: true }]);
    await log.look();
    assert.equal(heard.length, 1);
    const none = new LogIndexer(join(folder, 'none', 'log'), { onChanged: () => {} });
    await none.look();
    assert.deepEqual(none.state, known(0));
  });

  it('has all calls of all files, oldest first, and then those that are added', async () => {
    await writeFile(`${path}.9`, lines(1, 2));
    await writeFile(`${path}.10`, lines(3));
    await writeFile(`${path}.11`, '');
    await writeFile(`${path}.bak`, lines(99));
    await writeFile(path, lines(4, 5));
    const log = indexer();
    assert.deepEqual(await looked(log), [1, 2, 3, 4, 5]);
    await appendFile(path, lines(6));
    assert.deepEqual(await looked(log), [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(heard, [
      { state: known(5), anew: true },
      { state: known(6), anew: false },
    ]);
  });

  it('counts what cannot be read, and is not stopped by it', async () => {
    const all = [
      ...[`\uFEFF${text(1)}`, `${text(2)}\r`, '', '  \r', 'not json', '{"kind":"call"', 'null'],
      ...['{}', '{"kind":7,"ts":"x"}', '\0\0', '{"kind":"call","ts":"soon","envelope":{}}'],
      ...['{"kind":"guardrail","ts":"2026-01-01","extra":{}}', text(3)],
    ];
    await writeFile(path, `${all.join('\n')}\n`);
    const log = indexer();
    assert.deepEqual(await looked(log), [1, 2, 3]);
    assert.deepEqual(log.state, known(3, { skipped: 7 }));
  });

  it('is the same wherever a block of it ends', async () => {
    const all = count(60).map((n) => text(n, { model: 'aü€😀'.repeat(n % 5) }));
    const bytes = Buffer.from(`${all.join('\r\n')}\r\n`);
    await writeFile(path, bytes);
    for (const blockBytes of [1, 2, 3, 5, 7, 64, 1_000, bytes.length - 1, bytes.length]) {
      const log = indexer({ blockBytes });
      assert.deepEqual(await looked(log), count(60), `${blockBytes}`);
      assert.equal(log.row(3)?.model, 'aü€😀'.repeat(3));
      assert.deepEqual(await log.line(59), parseLogLine(text(59, { model: 'aü€😀'.repeat(4) })));
    }
  });

  it('has lines of a megabyte, and skips what is longer than any line can be', async () => {
    const endless = 'x'.repeat(17 * 1024 * 1024);
    const long = 'ü'.repeat(600_000);
    await writeFile(path, `${text(1)}\n${text(2, { long })}\n${text(3, { endless })}\n`);
    await appendFile(path, `${text(4)}\n${endless}`);
    const log = indexer();
    assert.deepEqual(await looked(log), [1, 2, 4]);
    assert.deepEqual(log.state, known(3, { skipped: 2 }));
    assert.equal(((await log.line(1))?.envelope as { long: string }).long, long);
    await appendFile(path, `${endless}\n${lines(5)}`);
    assert.deepEqual(await looked(log), [1, 2, 4, 5]);
    assert.deepEqual(log.state, known(4, { skipped: 2 }));
  });

  it('waits for the rest of a line', async () => {
    const bytes = Buffer.from(`${text(1, { model: 'ü'.repeat(9) })}\n`);
    const log = indexer();
    const cut = bytes.indexOf('ü') + 1;
    await writeFile(path, bytes.subarray(0, cut));
    assert.deepEqual(await looked(log), []);
    assert.deepEqual(log.state, known(0));
    await appendFile(path, bytes.subarray(cut, -1));
    assert.deepEqual(await looked(log), [1]);
    await appendFile(path, '\n');
    assert.deepEqual(await looked(log), [1]);
    assert.equal(log.row(0)?.model, 'ü'.repeat(9));
    assert.deepEqual(log.state, known(1));
  });

  it('goes on after the log was set aside, also more than once between two looks', async () => {
    await writeFile(path, lines(1));
    const log = indexer();
    await log.look();
    await appendFile(path, lines(2));
    // Somebody is about to set it aside.
    await writeFile(`${path}.1`, '');
    assert.deepEqual(await looked(log), [1, 2]);
    await rename(path, `${path}.1`);
    assert.deepEqual(await looked(log), [1, 2]);
    await writeFile(path, lines(3));
    await rename(path, `${path}.2`);
    await writeFile(path, lines(4));
    assert.deepEqual(await looked(log), [1, 2, 3, 4]);
    // Somebody had opened the file before it was set aside.
    await appendFile(`${path}.2`, lines(5));
    assert.deepEqual(await looked(log), [1, 2, 3, 4, 5]);
    assert.deepEqual(
      heard.map(({ anew }) => anew),
      [true, false, false, false],
    );
  });

  it('reads lines again, wherever their file has gone', async () => {
    await writeFile(path, lines(1, 2));
    const log = indexer();
    await log.look();
    assert.deepEqual(await log.line(1), parseLogLine(text(2)));
    assert.ok(!('result' in ((await log.line(1))?.envelope as object)));
    await rename(path, `${path}.1`);
    await writeFile(path, lines(3, 4));
    // Nobody has looked since.
    assert.deepEqual(await log.line(1), parseLogLine(text(2)));
    assert.deepEqual(await log.line(3), parseLogLine(text(4)));
    assert.equal(await log.line(4), undefined);
    await rm(`${path}.1`);
    assert.equal(await log.line(1), undefined);
    assert.deepEqual(jobs(log), [3, 4]);
  });

  it('reads no other line for one that is gone', async () => {
    await writeFile(path, lines(1, 2));
    const log = indexer();
    await log.look();
    await writeFile(path, lines(3, 4));
    assert.equal(await log.line(1), undefined);
    assert.deepEqual(jobs(log), [3, 4]);
  });

  it('finds a call by its id, also one that was added just now', async () => {
    await writeFile(path, `${lines(1, 2, 1)}${text(3, { call_id: 'id 2', job: '4' })}\n`);
    const log = indexer();
    assert.equal(await log.find('id 1'), 2);
    assert.equal(await log.find('id 2'), 3);
    assert.equal(await log.find('id 7'), undefined);
    await appendFile(path, lines(7));
    assert.equal(await log.find('id 7'), 4);
    await rename(path, `${path}.1`);
    assert.equal(await log.find('id 7'), 4);
    await rm(`${path}.1`);
    assert.equal(await log.find('id 7'), undefined);
  });

  it('does not take a call for another one whose id has the same hash', async () => {
    const [one, other] = ['call 38501', 'call 826900'];
    assert.equal(hashOf(one), hashOf(other));
    await writeFile(path, `${text(1, { call_id: one })}\n${text(2, { call_id: other })}\n`);
    const log = indexer();
    assert.deepEqual([await log.find(one), await log.find(other)], [0, 1]);
  });

  it('is read anew when the log was emptied, replaced or deleted', async () => {
    const log = indexer();
    await writeFile(path, lines(1, 2, 3));
    await log.look();
    const becomes = async (expected: number[], change: () => Promise<unknown>) => {
      heard = [];
      await change();
      assert.deepEqual(await looked(log), expected);
      assert.deepEqual(heard, [{ state: known(expected.length), anew: true }]);
    };
    await becomes([4], () => writeFile(path, lines(4)));
    await becomes([5, 6, 7], () => writeFile(path, lines(5, 6, 7)));
    await becomes([5], () => truncate(path, lines(5).length));
    await becomes([5, 8, 9], async () => {
      await appendFile(path, lines(6));
      await log.look();
      heard = [];
      await truncate(path, lines(5).length);
      await appendFile(path, lines(8, 9));
    });
    await becomes([], () => rm(path));
    await writeFile(`${path}.4`, lines(1));
    await writeFile(`${path}.5`, lines(2));
    await writeFile(path, lines(3));
    assert.deepEqual(await looked(log), [1, 2, 3]);
    await becomes([2, 3], () => rm(`${path}.4`));
    await becomes([3, 2], async () => {
      await rename(path, `${path}.1`);
      await rename(`${path}.5`, path);
    });
  });

  it('shows the newest calls while it is read, then all', async () => {
    const all = [...bigLogLines({ lines: 3_000, now: NOW })];
    await writeFile(path, all.join(''));
    let now = 0;
    const pages: [number, string | undefined][] = [];
    const log: LogIndexer = indexer({
      tailFrom: 1_000,
      blockBytes: 10_000,
      monotonic: () => (now += 30),
      onChanged: (state, anew) => {
        heard.push({ state, anew });
        const { total, rows } = log.calls({ filter: {}, count: 1 });
        pages.push([total, rows[0]?.job]);
      },
    });
    // Whoever asks now is told when everything is known.
    const looking = log.look();
    const { total } = await log.trends({ range: '30d', now: NOW, profile: 'dev-rtx5080' });
    await looking;

    const [first, ...later] = heard;
    const last = later.pop();
    assert.ok(first?.anew && first.state.state === 'reading' && first.state.read === 0);
    assert.deepEqual(pages[0], [200, pages.at(-1)?.[1]]);
    assert.ok(later.length > 9);
    let read = 0;
    for (const { state, anew } of later) {
      assert.ok(state.state === 'reading' && !anew);
      assert.ok(state.read > read && state.read <= state.size);
      read = state.read;
    }
    const size = (await stat(path)).size;
    assert.ok(first.state.size === size);
    // At most every 200 ms, and the clock goes on by 30 a block.
    assert.ok(later.length <= (size / 10_000 / 200) * 30 + 1);
    assert.ok(last?.anew && last.state.state === 'known');
    assert.equal(last.state.calls, pages.at(-1)?.[0]);
    assert.ok(last.state.calls > 2_900 && total.calls > 1_500);
  });

  it('has the lines of the newest calls before the rest is read', async () => {
    await writeFile(path, lines(...count(500)));
    const seen: Promise<unknown>[] = [];
    const log: LogIndexer = indexer({
      tailFrom: 100,
      onChanged: ({ state }) => {
        if (state !== 'reading' || seen.length > 0) return;
        seen.push(log.line(199), log.find('id 499'), log.line(200));
      },
    });
    await log.look();
    assert.deepEqual(await Promise.all(seen), [parseLogLine(text(499)), 199, undefined]);
    assert.equal(await log.find('id 499'), 499);
    assert.equal(await log.find('id 0'), 0);
  });

  it('says why it cannot be read, and recovers', async () => {
    await mkdir(path);
    const log = indexer();
    await log.look();
    const failed = { state: 'failed', message: `The log ${path} cannot be read: it is a folder.` };
    assert.deepEqual(heard, [{ state: failed, anew: false }]);
    await log.look();
    assert.equal(heard.length, 1);
    assert.equal((await log.trends({ range: '1h', now: NOW })).total.calls, 0);
    assert.equal(await log.find('id 1'), undefined);
    await rm(path, { recursive: true });
    await writeFile(path, lines(1));
    assert.deepEqual(await looked(log), [1]);
    assert.deepEqual(log.state, known(1));

    await rename(path, `${path}~`);
    await mkdir(path);
    await log.look();
    assert.deepEqual(log.state, failed);
    // What was read is still there.
    assert.deepEqual(jobs(log), [1]);
    await rm(path, { recursive: true });
    await rename(`${path}~`, path);
    await appendFile(path, lines(2));
    assert.deepEqual(await looked(log), [1, 2]);
    assert.deepEqual(heard.at(-1), { state: known(2), anew: false });
  });

  it('holds the newest calls of more than it can hold, and says so', async () => {
    const log = indexer({ mostRows: 20 });
    await writeFile(path, lines(...count(20)));
    await log.look();
    assert.deepEqual(log.state, known(20));
    await appendFile(path, lines(20));
    assert.deepEqual(await looked(log), count(21).slice(2));
    assert.deepEqual(heard.at(-1), { state: known(19, { more: true }), anew: true });
    assert.deepEqual(await log.line(18), parseLogLine(text(20)));
  });

  it('answers about no row that is another call now before it has told so', async () => {
    const log = indexer({ mostRows: 20, blockBytes: 100 });
    await writeFile(path, lines(...count(20)));
    await log.look();
    await appendFile(path, lines(...count(30).slice(20)));
    const told = heard.length;
    const looking = log.look();
    const answers: Promise<void>[] = [];
    let isOver = false;
    void looking.then(() => (isOver = true));
    while (!isOver) {
      const answer = log.call({ row: 7 }).then((found) => {
        assert.equal(found?.line.envelope && callIdOf(found.line), `id ${found?.row.job}`);
        if (heard.length === told) assert.equal(found?.row.job, '7');
      });
      answers.push(answer);
      await new Promise(setImmediate);
    }
    await Promise.all(answers);
    assert.ok(answers.length > 3, 'it was asked while it read');
    assert.equal((await log.call({ call_id: 'id 29' }))?.row.job, '29');
  });

  it('reads no further when it is closed', async () => {
    await writeFile(path, lines(...count(100)));
    const log: LogIndexer = indexer({ tailFrom: 1, onChanged: () => log.close(), blockBytes: 100 });
    await log.look();
    assert.equal(log.state.state, 'reading');
    await log.look();
    assert.equal(await log.find('none'), undefined);
  });

  it('misses none of several writers through many rotations, and doubles none', async () => {
    const sizes = { file: 3_000, kept: Infinity };
    const logs = [0, 1, 2].map(() => new AuditLog(path, Date.now, assert.fail, sizes));
    const log = indexer();
    for (let n = 0; n < 300; n++) {
      logs.forEach((one, who) =>
        one.write({ kind: 'error', tool: `${n * 3 + who}`, call_id: `${n * 3 + who}` }),
      );
      if (n % 7 === 0) await log.look();
    }
    await Promise.all(logs.map((one) => one.flush()));
    assert.deepEqual(
      (await looked(log)).sort((a, b) => a - b),
      count(900),
    );
    assert.ok(heard.slice(1).every(({ anew }) => !anew));
    assert.equal(log.row((await log.find('450')) ?? -1)?.job, '450');
  });

  it('is what stands in the files, whatever happened to them', async () => {
    type Step = [
      'append' | 'part' | 'rest' | 'aside' | 'replace' | 'cut' | 'oldest' | 'look',
      number,
    ];
    const step: fc.Arbitrary<Step> = fc.tuple(
      fc.constantFrom(
        'append',
        'append',
        'part',
        'rest',
        'aside',
        'replace',
        'cut',
        'oldest',
        'look',
      ),
      fc.nat(9),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.nat(90), async (steps, block) => {
        await rm(folder, { recursive: true, force: true });
        await mkdir(folder);
        const log = indexer({ blockBytes: block + 1, tailFrom: 900 });
        let next = 0;
        let open = '';
        for (const [what, n] of [...steps, ['look', 0] as Step]) {
          const files = await setAsideFiles(path);
          const isThere = Boolean(await unlessMissing(stat(path)));
          switch (what) {
            case 'append': {
              // Whoever goes on after a line that was cut ends it first.
              const before = open ? Buffer.from(open, 'latin1') : Buffer.alloc(0);
              const added = Buffer.from(`\n${lines(...count(n).map(() => next++))}`);
              await appendFile(path, Buffer.concat([before, added]));
              open = '';
              break;
            }
            case 'part': {
              if (open) break;
              const whole = Buffer.from(text(next++, { model: 'ü' }));
              await appendFile(path, '\n');
              await appendFile(path, whole.subarray(0, whole.indexOf('ü') + 1));
              open = whole.subarray(whole.indexOf('ü') + 1).toString('latin1');
              break;
            }
            case 'rest':
              await appendFile(path, Buffer.from(open, 'latin1'));
              if (open) await appendFile(path, '\n');
              open = '';
              break;
            case 'aside':
              if (!isThere || open) break;
              await rename(path, `${path}.${(files.at(-1)?.number ?? 0) + 1}`);
              break;
            case 'replace':
              await writeFile(path, lines(...count(n).map(() => next++)));
              open = '';
              break;
            case 'cut':
              if (!isThere || open) break;
              await truncate(path, Math.floor(((await stat(path)).size * n) / 10));
              break;
            case 'oldest':
              if (files[0]) await rm(files[0].path);
              break;
            case 'look': {
              const expected = await standing(path);
              assert.deepEqual(await looked(log), expected);
              const row = expected.length - 1;
              const line = await log.line(row);
              assert.equal((line?.envelope as { job?: string })?.job, expected[row]?.toString());
            }
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});

/** The numbers of the whole lines in all files of a log. */
async function standing(path: string): Promise<number[]> {
  const files = (await setAsideFiles(path)).map((file) => file.path);
  const texts = await Promise.all(
    [...files, path].map(async (file) => (await unlessMissing(readFile(file, 'utf8'))) ?? ''),
  );
  return texts
    .flatMap((one) => one.split('\n'))
    .flatMap((one) => parseLogLine(one) ?? [])
    .map(({ envelope }) => Number((envelope as { job: string }).job));
}
