import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import esbuild from 'esbuild';
import type { LogState } from '../../src/core/audit/calls';
import { parseLogLine } from '../../src/core/audit/line';
import { LogService } from '../../src/core/audit/logService';
import { ManualClock } from '../support/ollama/server';
import { bigLogLines, writeBigLog } from '../support/bigLog';
import { coreClock } from './support';

const root = join(__dirname, '..', '..');
const NOW = Date.parse('2026-03-04T05:06:07.890Z');

const text = (n: number, more: object = {}): string =>
  JSON.stringify({
    ...{ kind: 'call', ts: new Date(NOW).toISOString(), tool: `${n}` },
    envelope: { call_id: `id ${n}`, ...more },
  });
const lines = (...numbers: number[]): string => numbers.map((n) => `${text(n)}\n`).join('');

describe('the log in a thread of its own', () => {
  let folder: string;
  let path: string;
  let workerFile: string;
  let clock: ManualClock;
  let service: LogService;
  let heard: { state: LogState; anew: boolean }[];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'intern-service-'));
    workerFile = join(folder, 'logWorker.js');
    await esbuild.build({
      absWorkingDir: root,
      entryPoints: ['src/core/audit/logWorker.ts'],
      ...{ outfile: workerFile, bundle: true, platform: 'node', format: 'cjs' },
    });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  beforeEach(() => {
    path = join(folder, 'log.ndjson');
    clock = new ManualClock();
    use(workerFile);
  });
  afterEach(async () => {
    service.dispose();
    await rm(path, { force: true });
  });

  function use(file: string): void {
    service?.dispose();
    service = new LogService(file, coreClock(clock));
    heard = [];
    service.onChanged((state, anew) => heard.push({ state, anew }));
  }

  /** The next state of this kind. */
  function until(wanted: LogState['state'], calls?: number): Promise<LogState> {
    return new Promise((resolve) => {
      const stop = service.onChanged((state) => {
        if (
          state.state !== wanted ||
          (calls !== undefined && !('calls' in state && state.calls === calls))
        )
          return;
        stop();
        resolve(state);
      });
    });
  }

  const jobs = async (): Promise<string> =>
    (await service.calls({ filter: {}, count: 99 })).rows.map(({ job }) => job).join('');

  it('answers what it is asked', async () => {
    const eviction = { kind: 'eviction', ts: new Date(NOW).toISOString(), model: 'm' };
    await writeFile(path, `${text(1, { model: 'm', result: 'an answer' })}\n${lines(2)}`);
    await appendFile(path, `${JSON.stringify(eviction)}\n`);
    service.open(path);
    await service.look();
    assert.deepEqual(service.state, { state: 'known', calls: 2, skipped: 0, more: false });
    assert.equal(await jobs(), '12');
    assert.deepEqual((await service.facets()).model, [{ value: 'm', count: 1 }]);
    const first = await service.call({ row: 0 });
    assert.equal(first?.row.job, '1');
    assert.deepEqual(first.line, parseLogLine(text(1, { model: 'm' })));
    assert.equal((await service.call({ call_id: 'id 2' }))?.row.row, 1);
    assert.equal(await service.call({ row: 2 }), undefined);
    assert.equal(await service.call({ call_id: 'id 3' }), undefined);
    assert.equal((await service.trends({ range: '1h', now: NOW })).total.calls, 2);
    assert.deepEqual(await service.evictions(0), [{ model: 'm', at: NOW }]);
    assert.deepEqual(await service.evictions(NOW + 1), []);
  });

  it('tells of what is added when it is asked to look', async () => {
    await writeFile(path, lines(1));
    service.open(path);
    await service.look();
    await appendFile(path, lines(2));
    await service.look();
    assert.equal(await jobs(), '12');
    assert.deepEqual(heard, [
      { state: { state: 'reading', read: 0, size: 0, calls: 0 }, anew: true },
      { state: { state: 'known', calls: 1, skipped: 0, more: false }, anew: true },
      { state: { state: 'known', calls: 2, skipped: 0, more: false }, anew: false },
    ]);
    service.open(path);
    await service.look();
    assert.equal(heard.length, 3);
  });

  it('looks by itself while it is watched, and not a moment longer', async () => {
    await writeFile(path, lines(1));
    service.watch(true);
    service.open(path);
    await until('known');
    await appendFile(path, lines(2));
    const added = until('known', 2);
    while (clock.timers === 0) await service.look();
    await clock.advance(499);
    await service.look();
    await clock.advance(1);
    await added;
    while (clock.timers === 0) await service.look();
    service.watch(false);
    assert.equal(clock.timers, 0);
  });

  it('opens another log in place of the first', async () => {
    const other = join(folder, 'other.ndjson');
    await writeFile(path, lines(1));
    await writeFile(other, lines(3, 4));
    service.open(path);
    service.open(other);
    await service.look();
    assert.equal(await jobs(), '34');
    service.open(path);
    await service.look();
    assert.equal(await jobs(), '1');
  });

  it('says why the log cannot be read', async () => {
    service.open(folder);
    await service.look();
    assert.deepEqual(service.state, {
      state: 'failed',
      message: `The log ${folder} cannot be read: it is a folder.`,
    });
  });

  it('shows the newest calls of a long log first, then all', async () => {
    await writeBigLog(path, { lines: 20_000, now: NOW });
    service.open(path);
    const reading = await new Promise<LogState>((resolve) => {
      service.onChanged((state, anew) => anew && resolve(state));
    });
    assert.equal(reading.state, 'reading');
    const trends = service.trends({ range: '30d', now: NOW });
    assert.ok((await service.calls({ filter: {}, count: 50 })).rows.length === 50);
    await until('known');
    const { total } = await service.calls({ filter: {}, count: 1 });
    assert.ok(total > 19_000);
    // The first bucket of the range begins at a multiple of its size.
    const counted = (await trends).profiles.reduce((sum, { calls }) => sum + calls, 0);
    assert.ok(counted > total * 0.98 && counted <= total);
  });

  it('is told when its thread dies, and starts another when it is opened again', async () => {
    const dying = join(folder, 'dying.cjs');
    for (const [how, reason] of [
      ['throw new Error("out of luck")', 'out of luck'],
      ['process.exit(0)', 'its thread ended'],
      ['const all = []; for (;;) all.push(new Array(1e6).fill(1.5))', 'memory limit'],
    ]) {
      await writeFile(
        dying,
        `require('node:worker_threads').parentPort.on('message', (m) => { if (m.id > 1) { ${how} } });`,
      );
      use(dying);
      service.open(path);
      const failed = until('failed');
      await assert.rejects(service.facets(), /^Error: The log is not read any more: .*\.$/);
      const state = await failed;
      assert.ok(state.state === 'failed' && state.message.includes(String(reason)), state.state);
      assert.deepEqual(heard.at(-1), { state, anew: true });
      assert.equal(clock.timers, 0);
      await assert.rejects(service.facets(), /^Error: The log is not open\.$/);
      await service.look();
      await writeFile(dying, await readFile(workerFile));
      await writeFile(path, lines(7));
      service.open(path);
      await service.look();
      assert.equal(await jobs(), '7');
    }
  });

  it('ends its thread when it is closed, and is as it was before', async () => {
    await writeFile(path, lines(1));
    service.watch(true);
    service.open(path);
    await until('known');
    const asked = service.facets();
    service.close();
    await assert.rejects(asked, /^Error: The log is closed\.$/);
    assert.equal(clock.timers, 0);
    assert.equal(service.state.state, 'reading');
    service.open(path);
    await until('known');
    assert.equal(await jobs(), '1');
    service.dispose();
    const before = heard.length;
    service.open(path);
    await service.look();
    assert.equal(heard.length, before);
  });
});

describe('a big log for tests', () => {
  it('is the same for the same seed, and like a month of work', () => {
    const log = (seed?: number) => [...bigLogLines({ lines: 5_000, now: NOW, seed })];
    const all = log();
    assert.deepEqual(log(1), all);
    assert.notDeepEqual(log(2), all);
    const parsed = all.map((one) => parseLogLine(one.trim()));
    const share = (of: (line: NonNullable<(typeof parsed)[0]>) => boolean) =>
      parsed.filter((line) => line && of(line)).length / all.length;
    const errors = share(({ kind }) => kind === 'error' || kind === 'timeout');
    assert.ok(errors > 0.02 && errors < 0.04, `${errors}`);
    const lesser = share(({ envelope }) => {
      const { degraded, fallback_from: from } = (envelope ?? {}) as Record<string, unknown>;
      return Boolean(degraded ?? from);
    });
    assert.ok(lesser > 0.03 && lesser < 0.05, `${lesser}`);
    const moments = parsed.flatMap((line) => (line ? [Date.parse(line.ts)] : []));
    assert.ok(moments.every((at, n) => at <= NOW && at >= (moments[n - 1] ?? 0) - 1_000));
    assert.equal(moments.at(-1), NOW);
    assert.ok(NOW - (moments[0] ?? NOW) > 29 * 24 * 60 * 60_000);
  });
});
