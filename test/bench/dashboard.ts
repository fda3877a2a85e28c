import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { appendFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Frame, Page } from 'playwright-core';
import { openStage, poll, type Stage, webviewFrame } from '../e2e/support';
import { writeBigLog } from '../support/bigLog';
import { startOllama } from '../support/ollama/server';
import { type Figure, figure, type Goal, quantile } from './report';

const LINES = 200_000;
/** What arrives while frames are counted. */
const CALLS_PER_SECOND = 50;
const SECONDS = 4;
/** On two cores the editor, its host and the browser get into each other's way now and then. */
const ROUNDS = 5;
/** What everybody types. */
const WORD = 'draft';

const SCROLLER = '.scroller';
const ROWS = '[data-place]';

/** Durations are milliseconds; sizes KB. */
interface Measured {
  paint: number;
  filter: number;
  scroll: Frames;
  arriving: Frames;
  memory: number;
}

interface Frames {
  /** The longest time between two frames, as the median of the rounds. */
  worst: number;
  /** Those over 50 ms, in all rounds. */
  slow: number;
  /** In all rounds. */
  count: number;
}

const below = (ms: number): Goal => ({ text: `under ${ms} ms`, isMet: (f) => f.value < ms });
const less: Goal = { text: 'less', isMet: (f) => f.value < f.baseline };

/**
 * The dashboard on a real workbench with a log of many calls, against the same log in a plain table of the same
 * browser.
 */
export async function benchDashboard(): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'intern-bench-'));
  const logPath = join(folder, 'log.ndjson');
  const server = await startOllama();
  try {
    await writeBigLog(logPath, { lines: LINES, now: Date.now(), seed: 1 });
    const wb = await openStage({
      env: { OLLAMA_HOST: server.url, INTERN_LOG_PATH: logPath },
      settings: { 'chat.disableAIFeatures': true },
    });
    try {
      const dashboard = await measureDashboard(wb, logPath);
      if (process.env.X) console.log(dashboard);
      const table = await measureTable(wb.page, logPath);
      return figures(dashboard, table);
    } finally {
      await wb.close();
    }
  } finally {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
}

function figures(ours: Measured, table: Measured): Figure[] {
  const bench = `dashboard with ${LINES.toLocaleString('en-US')} lines against a plain table`;
  const frames = (name: string, a: Frames, b: Frames): Figure[] => [
    figure(
      bench,
      `${name}: longest frame, median of ${ROUNDS} rounds`,
      a.worst,
      'ms',
      b.worst,
      below(50),
    ),
    figure(
      bench,
      `${name}: frames over 50 ms, of ${a.count} and ${b.count}`,
      a.slow,
      'frames',
      b.slow,
      less,
    ),
  ];
  return [
    figure(
      bench,
      'opening to the first rows on the screen',
      ours.paint,
      'ms',
      table.paint,
      below(1_000),
    ),
    figure(bench, 'filter to repaint', ours.filter, 'ms', table.filter, less),
    ...frames('scrolling', ours.scroll, table.scroll),
    ...frames(`${CALLS_PER_SECOND} calls a second`, ours.arriving, table.arriving),
    figure(
      bench,
      'memory of the browser and the extension host',
      ours.memory,
      'KB',
      table.memory,
      less,
    ),
  ];
}

async function measureDashboard(wb: Stage, logPath: string): Promise<Measured> {
  // In every webview from now on: when the first row was painted.
  await wb.page.context().addInitScript(`(() => {
    if (globalThis === globalThis.top) return;
    const look = () => {
      if (!document.querySelector('${ROWS} [role=gridcell]')) return setTimeout(look, 5);
      requestAnimationFrame(() => requestAnimationFrame(() => (globalThis.paintedAt = Date.now())));
    };
    look();
  })()`);
  const item = wb.statusBarLocator('ollamaIntern.status');
  // Once, so that nothing of the editor itself is loaded for the first time.
  await item.click();
  await webviewFrame(wb, '[role=tablist]');
  await wb.runCommand('View: Close All Editors');
  await delay(5_000);
  const before = await memoryOfChildren(wb.page);

  const start = Date.now();
  await item.click();
  const frame = await webviewFrame(wb, ROWS);
  let paintedAt: number | undefined;
  await poll(
    async () =>
      (paintedAt = await frame.evaluate<number | undefined>('globalThis.paintedAt')) !== undefined,
    10_000,
    () => 'Nobody saw the first row',
  );
  await frame.getByRole('tab', { name: /^Calls/ }).click();
  await poll(
    async () => (await rowCount(frame)) > LINES / 2,
    60_000,
    () => 'The log is never read',
  );
  const shown = await rowCount(frame);
  await delay(1_000);

  const filter = await frame.evaluate<number>(`(${FILTER_TIME})(
    () => {
      const input = document.querySelector('vscode-textfield');
      input.value = '${WORD}';
      input.dispatchEvent(new Event('input', { bubbles: true, composed: true }));
    },
    () => Number(document.querySelector('[role=grid]').getAttribute('aria-rowcount')) < ${shown},
  )`);
  await frame.evaluate(`(() => {
    const input = document.querySelector('vscode-textfield');
    input.value = '';
    input.dispatchEvent(new Event('input', { bubbles: true, composed: true }));
  })()`);
  await poll(
    async () => (await rowCount(frame)) >= shown,
    10_000,
    () => 'The filter stays',
  );
  const scroll = await rounds(() => scrolled(wb.page, frame));
  const arriving = await rounds(() => arrive(frame, logPath));
  const memory = (await memoryOfChildren(wb.page)) - before;
  return { paint: (paintedAt ?? NaN) - start, filter, scroll, arriving, memory };
}

/** What somebody would write in a quarter of an hour: read the file, make a row of each line. */
async function measureTable(page: Page, logPath: string): Promise<Measured> {
  const files = createServer((_, reply) => {
    reply.setHeader('access-control-allow-origin', '*');
    createReadStream(logPath).pipe(reply);
  }).listen(0, '127.0.0.1');
  await once(files, 'listening');
  const url = `http://127.0.0.1:${(files.address() as AddressInfo).port}/`;
  const other = await page.context().newPage();
  try {
    await other.setContent(
      '<input /><div class="scroller" style="height:90vh;overflow:auto"></div>',
    );
    const frame = other.mainFrame();
    const before = await memoryOfChildren(other);
    await frame.evaluate(
      `fetch('${url}').then((reply) => reply.text()).then((text) => { globalThis.text = text; })`,
    );
    const paint = await frame.evaluate<number>(`(async () => {
      const start = Date.now();
      const table = document.createElement('table');
      globalThis.addRow = (line, at) => {
        let parsed;
        try { parsed = JSON.parse(line); } catch { return; }
        const record = parsed.envelope ?? parsed;
        const row = table.insertRow(at);
        for (const value of [parsed.ts, record.job ?? parsed.tool, record.tier_used, record.backend,
          record.model, record.tokens_in, record.tokens_out, record.elapsed_ms, parsed.code]) {
          row.insertCell().textContent = value ?? '';
        }
      };
      for (const line of globalThis.text.split('\\n').reverse()) addRow(line, -1);
      document.querySelector('.scroller').append(table);
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      return Date.now() - start;
    })()`);
    const filter = await frame.evaluate<number>(`(${FILTER_TIME})(
      () => {
        for (const row of document.querySelectorAll('tr')) {
          row.hidden = !row.textContent.includes('${WORD}');
        }
      },
      () => true,
    )`);
    await frame.evaluate(`for (const row of document.querySelectorAll('tr')) row.hidden = false`);
    const scroll = await rounds(() => scrolled(other, frame));
    await frame.evaluate(`(() => {
      const lines = globalThis.text.split('\\n').slice(0, 1000);
      let next = 0;
      setInterval(() => addRow(lines[next++ % lines.length], 0), ${1000 / CALLS_PER_SECOND});
    })()`);
    const arriving = await rounds(() => counted(frame, SECONDS * 1_000));
    const memory = (await memoryOfChildren(other)) - before;
    return { paint, filter, scroll, arriving, memory };
  } finally {
    await other.close();
    files.close();
  }
}

/** In the page: from an action to the second frame after what it is to bring about. */
const FILTER_TIME = `(act, isThere) => new Promise((resolve) => {
  const start = performance.now();
  act();
  const look = () => {
    if (!isThere()) return requestAnimationFrame(look);
    requestAnimationFrame(() => resolve(performance.now() - start));
  };
  requestAnimationFrame(look);
})`;

async function rowCount(frame: Frame): Promise<number> {
  return Number(await frame.locator('[role=grid]').getAttribute('aria-rowcount'));
}

async function rounds(measure: () => Promise<Frames>): Promise<Frames> {
  const all: Frames[] = [];
  while (all.length < ROUNDS) all.push(await measure());
  const sum = (key: 'slow' | 'count'): number => all.reduce((total, one) => total + one[key], 0);
  return {
    worst: quantile(
      all.map((one) => one.worst),
      0.5,
    ),
    slow: sum('slow'),
    count: sum('count'),
  };
}

/** A wheel that is turned fast, and then a thumb that is dragged from one end to the other. */
async function scrolled(page: Page, frame: Frame): Promise<Frames> {
  const scroller = frame.locator(SCROLLER);
  // A plain table takes its time.
  const box = await scroller.boundingBox({ timeout: 0 });
  if (!box) throw new Error('There is nothing to scroll.');
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const frames = counted(frame, SECONDS * 1_000);
  const half = Date.now() + SECONDS * 500;
  while (Date.now() < half) await page.mouse.wheel(0, 300);
  // Not in the frames themselves, where it would have the page laid out twice.
  await frame.evaluate(`(() => {
    const element = document.querySelector('${SCROLLER}');
    const whole = element.scrollHeight;
    const start = performance.now();
    const timer = setInterval(() => {
      const share = (performance.now() - start) / ${SECONDS * 500};
      if (share > 1) return clearInterval(timer);
      element.scrollTop = whole * share;
    }, 16);
  })()`);
  const counts = await frames;
  await frame.evaluate(`document.querySelector('${SCROLLER}').scrollTop = 0`);
  await delay(500);
  return counts;
}

/** The times between frames. */
function counted(frame: Frame, forMs: number): Promise<Frames> {
  return frame.evaluate<Frames>(`new Promise((resolve) => {
    const start = performance.now();
    let before = start, worst = 0, slow = 0, count = 0;
    const look = () => {
      const now = performance.now();
      worst = Math.max(worst, now - before);
      if (now - before > 50) slow++;
      count++;
      before = now;
      if (now - start > ${forMs}) return resolve({ worst, slow, count });
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  })`);
}

/** Calls of another window, as the log tells of them. */
async function arrive(frame: Frame, logPath: string): Promise<Frames> {
  const [line = ''] = (await readFile(logPath, 'utf8'))
    .split('\n', 2_000)
    .filter((one) => one.includes('"kind":"call"'));
  const frames = counted(frame, SECONDS * 1_000);
  for (let sent = 0; sent < CALLS_PER_SECOND * SECONDS; sent++) {
    await appendFile(logPath, `${line}\n`);
    await delay(1000 / CALLS_PER_SECOND);
  }
  return frames;
}

/** What this process' children and theirs hold, the browser and the extension host with its worker among them. KB. */
async function memoryOfChildren(page: Page): Promise<number> {
  // What is only garbage would hide the rest.
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  await session.detach();
  const parents = new Map<number, number>();
  for (const name of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    const parent = /\) \S (\d+)/.exec(stat)?.[1];
    if (parent) parents.set(Number(name), Number(parent));
  }
  const isOurs = (pid: number | undefined): boolean =>
    pid !== undefined && (parents.get(pid) === process.pid || isOurs(parents.get(pid)));
  let sum = 0;
  for (const pid of parents.keys()) {
    if (!isOurs(pid)) continue;
    // Pages that are shared count once.
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    sum += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
  }
  return sum;
}
