import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AuditLog, LOG_KINDS, parseLogLine, tailLog } from '../../src/core/audit/log';

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const isWindows = process.platform === 'win32';

describe('audit log', () => {
  let folder: string;
  let path: string;
  let problems: Error[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'intern-log-'));
    path = join(folder, 'new', 'log.ndjson');
    problems = [];
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const open = (rotateBytes?: number) =>
    new AuditLog(
      path,
      () => NOW,
      (error) => problems.push(error),
      rotateBytes,
    );
  const lines = async (file = path) =>
    (await readFile(file, 'utf8').catch(() => '')).split('\n').slice(0, -1);
  const mode = async (file: string) => ((await stat(file)).mode & 0o777).toString(8);

  it('writes one line of JSON for each event, in order, with kind and time', async () => {
    const log = open();
    for (let n = 0; n < 100; n++) log.write({ kind: 'call', n, text: 'two\nlines and ü' });
    await log.flush();
    const read = (await lines()).map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(
      read.map((line) => line.n),
      Array.from({ length: 100 }, (_, n) => n),
    );
    assert.deepEqual(read[0], {
      kind: 'call',
      ts: '2026-01-02T03:04:05.678Z',
      n: 0,
      text: 'two\nlines and ü',
    });
    assert.match(await readFile(path, 'utf8'), /\n$/);
    assert.deepEqual(problems, []);
  });

  it('takes the event as it is when written, not as it is later', async () => {
    const log = open();
    const event = { kind: 'error' as const, code: 'timeout' };
    log.write(event);
    event.code = 'changed';
    await log.flush();
    assert.equal((await tailLog(path, 1))[0]?.code, 'timeout');
  });

  it('has nothing on disk before the first event', async () => {
    await open().flush();
    await assert.rejects(stat(path), /ENOENT/);
  });

  it('is for its owner alone, folder and file', async function () {
    if (isWindows) this.skip();
    const before = process.umask(0);
    try {
      const log = open();
      log.write({ kind: 'call' });
      await log.flush();
    } finally {
      process.umask(before);
    }
    assert.equal(await mode(path), '600');
    assert.equal(await mode(join(folder, 'new')), '700');
  });

  it('closes a file that another program left open, and leaves its folder alone', async function () {
    if (isWindows) this.skip();
    await mkdir(join(folder, 'new'), { mode: 0o755 });
    await writeFile(path, '{"kind":"call","ts":"x"}\n', { mode: 0o644 });
    const log = open();
    log.write({ kind: 'call' });
    await log.flush();
    assert.equal(await mode(path), '600');
    assert.equal(await mode(join(folder, 'new')), '755');
    assert.equal((await lines()).length, 2);
  });

  it('is shared by two windows without a broken line', async () => {
    const logs = [open(), open()];
    for (let n = 0; n < 200; n++) {
      logs.forEach((log, who) => log.write({ kind: 'call', who, n, fill: 'x'.repeat(n * 20) }));
    }
    await Promise.all(logs.map((log) => log.flush()));
    const read = (await lines()).map((line) => JSON.parse(line) as { who: number; n: number });
    for (const who of [0, 1]) {
      assert.deepEqual(
        read.filter((line) => line.who === who).map((line) => line.n),
        Array.from({ length: 200 }, (_, n) => n),
      );
    }
    assert.deepEqual(problems, []);
  });

  it('is set aside when it has grown, and begins again for its owner alone', async () => {
    const log = open(100);
    log.write({ kind: 'call', n: 1, fill: 'x'.repeat(100) });
    log.write({ kind: 'call', n: 2 });
    await log.flush();
    assert.equal((await lines(`${path}.1`)).length, 1);
    assert.equal((await tailLog(path, 9))[0]?.n, 2);
    if (!isWindows) assert.equal(await mode(path), '600');
    log.write({ kind: 'call', n: 3, fill: 'x'.repeat(100) });
    await log.flush();
    assert.equal((await lines(`${path}.1`)).length, 2, 'the older one is replaced');
    assert.deepEqual(problems, []);
  });

  it('may be set aside by two windows at once, and nobody hears of a problem', async () => {
    const logs = [open(300), open(300), open(300)];
    for (let n = 0; n < 100; n++) for (const log of logs) log.write({ kind: 'call', n });
    await Promise.all(logs.map((log) => log.flush()));
    assert.deepEqual(problems, []);
  });

  it('that cannot be written says so once, fails nobody, and recovers', async () => {
    await writeFile(join(folder, 'new'), 'a file where the folder should be');
    const log = open();
    for (let n = 0; n < 5; n++) log.write({ kind: 'call', n });
    await log.flush();
    assert.equal(problems.length, 1);
    await rm(join(folder, 'new'));
    log.write({ kind: 'call', n: 5 });
    await log.flush();
    assert.equal((await tailLog(path, 9))[0]?.n, 5);
    await rm(join(folder, 'new'), { recursive: true });
    await writeFile(join(folder, 'new'), 'again');
    log.write({ kind: 'call', n: 6 });
    log.write({ kind: 'call', n: 7 });
    await log.flush();
    assert.equal(problems.length, 2, 'a new problem is said again');
  });

  it('comes back when somebody deletes it', async () => {
    const log = open();
    log.write({ kind: 'call', n: 1 });
    await log.flush();
    await rm(path);
    log.write({ kind: 'call', n: 2 });
    await log.flush();
    assert.equal((await tailLog(path, 9)).length, 1);
    if (!isWindows) assert.equal(await mode(path), '600');
    assert.deepEqual(problems, []);
  });

  it('loses no line when its folder is deleted', async () => {
    const log = open();
    log.write({ kind: 'call', n: 1 });
    await log.flush();
    await rm(join(folder, 'new'), { recursive: true });
    log.write({ kind: 'call', n: 2 });
    log.write({ kind: 'call', n: 3 });
    await log.flush();
    assert.deepEqual(
      (await tailLog(path, 9)).map((line) => line.n),
      [3, 2],
    );
  });
});

describe('the tail of the log', () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'intern-log-'));
    path = join(folder, 'log.ndjson');
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const line = (n: number, more: object = {}) =>
    JSON.stringify({ kind: 'call', ts: '2026-01-01T00:00:00Z', n, ...more });
  const numbers = async (limit: number) => (await tailLog(path, limit)).map(({ n }) => n);

  it('is empty without a file', async () => {
    assert.deepEqual(await tailLog(path, 10), []);
    await writeFile(path, '');
    assert.deepEqual(await tailLog(path, 10), []);
  });

  it('gives the newest first, no more than asked for', async () => {
    await writeFile(path, [1, 2, 3, 4].map((n) => `${line(n)}\n`).join(''));
    assert.deepEqual(await numbers(2), [4, 3]);
    assert.deepEqual(await numbers(10), [4, 3, 2, 1]);
    assert.deepEqual(await numbers(0), []);
  });

  it('skips what it cannot read and keeps what others wrote', async () => {
    const others = '{"kind":"guardrail","ts":"2026-01-01T00:00:00Z","n":2,"extra":{}}';
    const text = [
      'not json',
      line(1),
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
      `${line(3)}\r`,
      line(4).slice(0, -5),
    ].join('\n');
    await writeFile(path, text);
    assert.deepEqual(await numbers(10), [3, 2, 1]);
  });

  it('of a big file reads only its end, and no line that is cut', async () => {
    const fill = 'ü'.repeat(500);
    const count = 5000;
    await writeFile(
      path,
      Array.from({ length: count }, (_, n) => `${line(n, { fill })}\n`).join(''),
    );
    assert.deepEqual(await numbers(3), [count - 1, count - 2, count - 3]);
    const all = await numbers(count);
    assert.ok(all.length > 100 && all.length < count);
    assert.deepEqual(
      all,
      Array.from(all, (_, i) => count - 1 - i),
    );
  });

  it('knows its own kinds', () => {
    for (const kind of LOG_KINDS) {
      assert.equal(parseLogLine(JSON.stringify({ kind, ts: 'x' }))?.kind, kind);
    }
  });
});
