import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setAsideFiles } from '../../src/core/audit/files';
import { AuditLog, type LogSizes } from '../../src/core/audit/log';
import { readLog } from '../../src/core/audit/reader';

const { mkdir, mkdtemp, readFile, rm, stat, utimes, writeFile } = fs;

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
  afterEach(async () => {
    for (const restore of undo.splice(0)) restore();
    await rm(folder, { recursive: true, force: true });
  });

  const open = (sizes?: LogSizes) =>
    new AuditLog(
      path,
      () => NOW,
      (error) => problems.push(error),
      sizes,
    );
  const numbers = async () => (await readLog(path, { limit: 99 })).map(({ n }) => n);
  /** Makes a function of the file system do something else for the time of the test. */
  const undo: (() => void)[] = [];
  function replace<K extends 'open' | 'rename'>(name: K, as: (typeof fs)[K]): void {
    const original = fs[name];
    fs[name] = as;
    undo.push(() => (fs[name] = original));
  }
  const failing = (code: string): Error => Object.assign(new Error(`${code}: no`), { code });
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
    assert.equal((await readLog(path, { limit: 1 }))[0]?.code, 'timeout');
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

  it('that cannot be written says so once, fails nobody, and recovers', async () => {
    await writeFile(join(folder, 'new'), 'a file where the folder should be');
    const log = open();
    for (let n = 0; n < 5; n++) log.write({ kind: 'call', n });
    await log.flush();
    assert.equal(problems.length, 1);
    await rm(join(folder, 'new'));
    log.write({ kind: 'call', n: 5 });
    await log.flush();
    assert.deepEqual(await numbers(), [5]);
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
    assert.deepEqual(await numbers(), [2]);
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
    assert.deepEqual(await numbers(), [3, 2]);
  });

  it('writes each line in one piece, however long', async () => {
    const written: number[] = [];
    const { open: openFile } = fs;
    replace('open', async (...args) => {
      const file = await openFile(...args);
      const write = file.write.bind(file) as (bytes: Buffer) => ReturnType<typeof file.write>;
      file.write = ((bytes: Buffer) => {
        written.push(bytes.length);
        return write(bytes);
      }) as typeof file.write;
      return file;
    });
    const log = open();
    log.write({ kind: 'call', n: 1, fill: 'x'.repeat(3_000_000) });
    await log.flush();
    assert.equal(written.length, 1);
    assert.equal((await stat(path)).size, written[0]);
  });

  it('on a full disk loses the lines that have no room, and spoils none that comes after', async () => {
    const { open: openFile } = fs;
    let room = Infinity;
    replace('open', async (...args) => {
      const file = await openFile(...args);
      const write = file.write.bind(file) as (bytes: Buffer) => ReturnType<typeof file.write>;
      file.write = (async (bytes: Buffer) => {
        if (room === 0) throw failing('ENOSPC');
        return write(bytes.subarray(0, room));
      }) as typeof file.write;
      return file;
    });
    const log = open();
    const write = async (n: number) => {
      log.write({ kind: 'call', n });
      await log.flush();
    };
    await write(1);
    room = 20;
    await write(2);
    room = 0;
    await write(3);
    room = Infinity;
    await write(4);
    assert.deepEqual(await numbers(), [4, 1]);
    assert.equal(problems.length, 1, 'it is one problem until a line is written again');
  });

  for (const code of ['EACCES', 'EROFS', 'EMFILE']) {
    it(`goes on after ${code}, and says it once`, async () => {
      const { open: openFile } = fs;
      let broken = true;
      replace('open', async (...args) => {
        if (broken) throw failing(code);
        return openFile(...args);
      });
      const log = open();
      log.write({ kind: 'call', n: 1 });
      log.write({ kind: 'call', n: 2 });
      await log.flush();
      assert.deepEqual(
        problems.map((problem) => (problem as NodeJS.ErrnoException).code),
        [code],
      );
      broken = false;
      log.write({ kind: 'call', n: 3 });
      await log.flush();
      assert.deepEqual(await numbers(), [3]);
    });
  }

  it('that is a folder says so once', async () => {
    await mkdir(path, { recursive: true });
    const log = open();
    for (let n = 0; n < 3; n++) log.write({ kind: 'call', n });
    await log.flush();
    assert.equal(problems.length, 1);
    assert.match(problems[0]?.message ?? '', /EISDIR|EPERM|EACCES/);
  });

  describe('that has grown', () => {
    const SMALL: LogSizes = { file: 100, kept: 300 };
    const full = { kind: 'call' as const, fill: 'x'.repeat(100) };
    const setAside = async () => (await setAsideFiles(path)).map(({ number }) => number);

    it('is set aside, and begins again for its owner alone', async () => {
      const log = open(SMALL);
      log.write({ ...full, n: 1 });
      await log.flush();
      assert.equal((await stat(path)).size, 0, 'it is there, though nothing came since');
      log.write({ kind: 'call', n: 2 });
      await log.flush();
      assert.equal((await lines(`${path}.1`)).length, 1);
      assert.equal((await lines()).length, 1);
      assert.deepEqual(await numbers(), [2, 1]);
      if (!isWindows) {
        assert.equal(await mode(path), '600');
        assert.equal(await mode(`${path}.1`), '600');
      }
      log.write({ ...full, n: 3 });
      await log.flush();
      assert.equal((await lines(`${path}.2`)).length, 2);
      assert.deepEqual(await numbers(), [3, 2, 1]);
      assert.deepEqual(problems, []);
    });

    it('keeps the latest of what was set aside, and deletes what is older', async () => {
      const log = open(SMALL);
      for (let n = 1; n <= 9; n++) log.write({ ...full, n });
      await log.flush();
      assert.deepEqual(await setAside(), [8, 9]);
      assert.deepEqual(await numbers(), [9, 8]);
    });

    it('leaves alone what only looks like a part of it', async () => {
      await mkdir(join(folder, 'new'));
      const others = ['.bak', '.0', '.01', '.20260101', '.1.gz', '1'].map((end) => path + end);
      for (const other of others) await writeFile(other, 'x');
      const log = open({ file: 100, kept: 1 });
      for (let n = 0; n < 3; n++) log.write({ ...full, n });
      await log.flush();
      assert.deepEqual(await setAside(), [3]);
      for (const other of others) assert.equal(await readFile(other, 'utf8'), 'x');
    });

    it('is left to another window that is about to set it aside', async () => {
      await mkdir(join(folder, 'new'));
      await writeFile(`${path}.4`, '');
      await utimes(`${path}.4`, NOW / 1000, NOW / 1000);
      const log = open(SMALL);
      log.write({ ...full, n: 1 });
      await log.flush();
      assert.deepEqual(await setAside(), [4]);
      assert.deepEqual(await numbers(), [1]);
    });

    it('is set aside though another window died over it', async () => {
      await mkdir(join(folder, 'new'));
      await writeFile(`${path}.4`, '');
      await utimes(`${path}.4`, NOW / 1000 - 60, NOW / 1000 - 60);
      const log = open(SMALL);
      log.write({ ...full, n: 1 });
      await log.flush();
      assert.deepEqual(await setAside(), [5]);
      assert.deepEqual(await numbers(), [1]);
    });

    for (const code of ['EPERM', 'EBUSY', 'EACCES']) {
      it(`and cannot be renamed (${code}) goes on growing, and is set aside later`, async () => {
        const { rename } = fs;
        let busy = true;
        replace('rename', async (...args) => {
          if (busy) throw failing(code);
          return rename(...args);
        });
        const log = open(SMALL);
        for (let n = 1; n <= 3; n++) log.write({ ...full, n });
        await log.flush();
        assert.deepEqual(await setAside(), []);
        assert.equal((await lines()).length, 3);
        busy = false;
        log.write({ ...full, n: 4 });
        await log.flush();
        assert.deepEqual(await setAside(), [1]);
        assert.deepEqual(await numbers(), [4, 3, 2, 1]);
        assert.deepEqual(problems, []);
      });
    }

    for (const [what, ahead] of [
      ['is about to', 0],
      ['takes it for dead and does', 3_600_000],
    ] as const) {
      it(`loses no line to another window that ${what} set it aside at that moment`, async () => {
        const { rename } = fs;
        const roomy = { file: 100, kept: 9_000 };
        const other = new AuditLog(path, () => Date.now() + ahead, undefined, roomy);
        let isFirst = true;
        replace('rename', async (from, to) => {
          if (isFirst) {
            isFirst = false;
            for (let n = 2; n < 5; n++) other.write({ ...full, n });
            await other.flush();
          }
          await rename(from, to);
        });
        const log = open(roomy);
        log.write({ ...full, n: 1 });
        await log.flush();
        assert.equal((await setAside()).length, ahead ? 3 : 1);
        assert.deepEqual((await numbers()).sort(), [1, 2, 3, 4]);
        assert.deepEqual(problems, []);
      });
    }
  });

  describe('of several processes', () => {
    const WRITERS = 4;
    const LINES = 1_500;

    async function run(sizes: LogSizes): Promise<void> {
      const script = join(__dirname, '..', 'support', 'logWriter.ts');
      const children: ChildProcess[] = [];
      for (let who = 0; who < WRITERS; who++) {
        const args = [path, who, LINES, sizes.file, sizes.kept].map(String);
        children.push(fork(script, args, { execArgv: ['--import', 'tsx'] }));
      }
      try {
        await Promise.all(children.map((child) => once(child, 'message')));
        const done = children.map(async (child) => {
          const [said] = (await once(child, 'message')) as [string[]];
          assert.deepEqual(said, []);
          await once(child, 'exit');
        });
        for (const child of children) child.send('go');
        await Promise.all(done);
      } finally {
        for (const child of children) child.kill();
      }
    }

    /** The numbers of each process's lines as they stand in the files, oldest first. */
    async function written(): Promise<number[][]> {
      const files = [...(await setAsideFiles(path)).map((file) => file.path), path];
      const all = (await Promise.all(files.map(lines))).flat();
      const found: number[][] = Array.from({ length: WRITERS }, () => []);
      for (const line of all) {
        const { who, n } = JSON.parse(line) as { who: string; n: number };
        found[Number(who)]?.push(n);
      }
      return found;
    }

    it('has every line once, through many rotations', async function () {
      this.timeout(60_000);
      await run({ file: 16_000, kept: Infinity });
      assert.ok((await setAsideFiles(path)).length > 20, 'it was set aside often');
      const expected = Array.from({ length: LINES }, (_, n) => n);
      for (const found of await written()) assert.deepEqual(found, expected);
    });

    it('loses only the oldest lines, and no more of them than it has to', async function () {
      this.timeout(60_000);
      const sizes = { file: 16_000, kept: 64_000 };
      await run(sizes);
      for (const found of await written()) {
        const begin = LINES - found.length;
        assert.deepEqual(
          found,
          Array.from(found, (_, at) => begin + at),
        );
      }
      const kept = await setAsideFiles(path);
      assert.ok(kept.every(({ size }) => size >= sizes.file));
      const total = kept.reduce((sum, { size }) => sum + size, 0);
      assert.ok(total >= sizes.kept && kept.length <= 5, `${kept.length} files, ${total} bytes`);
    });
  });
});
