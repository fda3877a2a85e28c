import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import type { Frame, Locator } from 'playwright-core';
import type { Range } from '../../src/core/audit/calls';
import { count, duration, percent, rate } from '../../webview/dashboard/format';
import { writeBigLog } from '../support/bigLog';
import type { Theme } from '../support/host/workbench.ts';
import { assertAccessible } from './axe';
import {
  DashboardStage,
  isTooWide,
  pictures,
  section,
  waitForIcons,
  waitForText,
} from './dashboardStage';
import { keepEvidence, poll, showTab } from './support';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const LINES = 200_000;
const BUCKETS: Record<Range, { size: number; count: number }> = {
  '1h': { size: MINUTE, count: 60 },
  '24h': { size: 30 * MINUTE, count: 48 },
  '7d': { size: 3 * HOUR, count: 56 },
  '30d': { size: 12 * HOUR, count: 60 },
};

/** What the test itself reads from a line of the log. */
interface Call {
  at: number;
  profile: string;
  backend: string;
  answered: boolean;
  failed: boolean;
  fallback: boolean;
  tokens: number;
  elapsed?: number;
  rate?: number;
}

interface Line {
  kind: string;
  ts: string;
  code?: string;
  hardware_profile?: string;
  backend?: string;
  elapsed_ms?: number;
  envelope?: {
    hardware_profile: string;
    backend?: string;
    degraded?: boolean;
    fallback_from?: string;
    tokens_in?: number;
    tokens_out?: number;
    elapsed_ms?: number;
    tokens_per_second?: number;
  };
}

function readLog(file: string): { calls: Call[]; evictions: number[] } {
  const calls: Call[] = [];
  const evictions: number[] = [];
  for (const text of fs.readFileSync(file, 'utf8').split('\n')) {
    let line: Line;
    try {
      line = JSON.parse(text) as Line;
    } catch {
      continue;
    }
    const at = Date.parse(line.ts);
    const { kind, envelope } = line;
    if (kind === 'eviction') evictions.push(at);
    if (kind === 'call' && envelope) {
      calls.push({
        ...{ at, profile: envelope.hardware_profile, backend: envelope.backend ?? 'not known' },
        ...{ answered: true, failed: false },
        fallback: envelope.degraded === true || envelope.fallback_from !== undefined,
        tokens: (envelope.tokens_in ?? 0) + (envelope.tokens_out ?? 0),
        elapsed: envelope.elapsed_ms,
        rate: envelope.tokens_per_second,
      });
    }
    if (kind === 'error' || kind === 'timeout') {
      calls.push({
        ...{ at, profile: line.hardware_profile ?? '', backend: line.backend ?? 'not known' },
        ...{ answered: false, failed: line.code !== 'cancelled', fallback: false, tokens: 0 },
      });
    }
  }
  return { calls, evictions };
}

/** By nearest rank. */
function percentile(values: (number | undefined)[], share: number): number | undefined {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * share) - 1];
}

describe('the dashboard’s trends of a log of 200,000 lines', () => {
  const log = path.join(pictures, '..', 'trends-e2e', 'log.ndjson');
  let stage: DashboardStage;
  let frame: Frame;
  let logged: ReturnType<typeof readLog>;

  before(async function () {
    this.timeout(120_000);
    fs.mkdirSync(path.dirname(log), { recursive: true });
    await writeBigLog(log, { lines: LINES, now: Date.now() });
    logged = readLog(log);
    stage = new DashboardStage();
    await stage.open({ env: { INTERN_LOG_PATH: log }, viewport: { width: 1280, height: 1000 } });
    frame = await stage.show('Trends');
    await waitForText(tile('Calls'), /\d/);
  });

  afterEach(function () {
    return keepEvidence(this, stage.wb);
  });

  after(async function () {
    await stage.close(this);
    fs.rmSync(path.dirname(log), { recursive: true, force: true });
  });

  const tile = (label: string): Locator =>
    frame.locator('dl > div', { has: frame.locator('dt', { hasText: label }) });
  const chart = (title: string): Locator =>
    frame.locator('figure', { has: frame.locator('h3', { hasText: new RegExp(`^${title}$`) }) });
  const profile = (): Locator => frame.getByLabel('Profile', { exact: true });
  const latest = (): string => logged.calls.findLast(({ profile }) => profile !== '')!.profile;

  function since(range: Range): number {
    const { size, count } = BUCKETS[range];
    return (Math.floor(Date.now() / size) + 1 - count) * size;
  }

  function expectedTiles(range: Range, name: string): Record<string, string> {
    const from = since(range);
    const calls = logged.calls.filter((call) => call.at >= from && call.profile === name);
    const answers = calls.filter(({ answered }) => answered);
    const time = (share: number): string =>
      duration(
        percentile(
          answers.map(({ elapsed }) => elapsed),
          share,
        ),
      );
    return {
      Calls: count(calls.length),
      Failed: count(calls.filter(({ failed }) => failed).length),
      'Fallback rate': percent(answers.filter(({ fallback }) => fallback).length / answers.length),
      'Latency p50': time(0.5),
      'Latency p95': time(0.95),
      'tok/s': rate(
        percentile(
          answers.map((call) => call.rate),
          0.5,
        ),
      ),
      Evictions: count(logged.evictions.filter((at) => at >= from).length),
    };
  }

  async function shownTiles(labels: string[]): Promise<Record<string, string>> {
    const texts = labels.map(
      async (label) => [label, await tile(label).locator('dd').first().innerText()] as const,
    );
    return Object.fromEntries(await Promise.all(texts));
  }

  /** Again and again: the next bucket may begin while the test looks. */
  async function waitForTiles(range: Range, name: string): Promise<void> {
    let shown: Record<string, string> = {};
    let expected: Record<string, string> = {};
    await poll(
      async () => {
        expected = expectedTiles(range, name);
        shown = await shownTiles(Object.keys(expected));
        return JSON.stringify(shown) === JSON.stringify(expected);
      },
      15_000,
      () => `shown ${JSON.stringify(shown)}\nnot ${JSON.stringify(expected)}`,
    );
  }

  it('agree with the log in every range, for the profile of the latest call', async () => {
    for (const [range, label] of [
      ['24h', '24 h'],
      ['1h', '1 h'],
      ['7d', '7 d'],
      ['30d', '30 d'],
    ] as [Range, string][]) {
      await frame.getByRole('radio', { name: label }).check();
      await waitForTiles(range, latest());
    }
  });

  it('never mix the figures of different profiles', async () => {
    const other = 'm5-max' === latest() ? 'dev-rtx5080' : 'm5-max';
    await frame.getByRole('radio', { name: '7 d' }).check();
    await profile().selectOption({ label: other });
    await waitForTiles('7d', other);
    const compared = section(frame, 'Profiles compared');
    for (const name of ['dev-rtx5080', 'dev-rtx5080-qwen3', 'm5-max']) {
      const calls = expectedTiles('7d', name)['Calls'] ?? '';
      const row = compared.locator('tr', { has: frame.locator(`th[title="${name}"]`) });
      await waitForText(row.locator('td').first(), new RegExp(`^${calls}$`));
    }
    await compared.getByRole('button', { name: 'dev-rtx5080-qwen3' }).click();
    await waitForTiles('7d', 'dev-rtx5080-qwen3');
    await profile().selectOption({ index: 0 });
    await waitForTiles('7d', latest());
  });

  it('show time and cost of this machine and of the cloud side by side', async () => {
    const places = section(frame, 'Time and cost').locator('li');
    const calls = (backend: string): number =>
      logged.calls.filter(
        (call) => call.at >= since('7d') && call.profile === latest() && call.backend === backend,
      ).length;
    const text = async (index: number): Promise<string> =>
      (await places.nth(index).innerText()).replaceAll(/\s+/g, ' ');
    assert.match(
      await text(0),
      new RegExp(`^local ${count(calls('local'))} calls .*h .*min \\$0\\.00$`),
    );
    assert.match(
      await text(1),
      new RegExp(`^cloud ${count(calls('cloud'))} calls .*min cost not known$`),
    );
  });

  it('have a table behind each picture, whose rows add up', async () => {
    await frame.getByRole('radio', { name: '24 h' }).check();
    await waitForTiles('24h', latest());
    for (const title of ['Calls', 'Tokens', 'Latency', 'Tokens per second', 'Fallback rate']) {
      const { table } = await openTable(chart(title));
      assert.equal(table.length, BUCKETS['24h'].count, title);
    }
    const { head, table } = await openTable(chart('Calls'));
    assert.deepEqual(head, ['Time', 'local', 'cloud', 'not known', 'Total']);
    const digits = (text = ''): number => Number(text.replaceAll(/\D/g, ''));
    for (const [, ...cells] of table) {
      const total = digits(cells.pop());
      assert.equal(
        cells.reduce((sum, cell) => sum + digits(cell), 0),
        total,
      );
    }
    const total = table.reduce((sum, row) => sum + digits(row.at(-1)), 0);
    assert.equal(count(total), expectedTiles('24h', latest())['Calls']);
    const { table: tokens } = await openTable(chart('Tokens'));
    const from = since('24h');
    assert.equal(
      tokens.reduce((sum, row) => sum + digits(row.at(-1)), 0),
      logged.calls
        .filter((call) => call.at >= from && call.profile === latest())
        .reduce((sum, call) => sum + call.tokens, 0),
    );
  });

  async function openTable(figure: Locator): Promise<{ head: string[]; table: string[][] }> {
    const details = figure.locator('details');
    if (!(await details.getAttribute('open').then((open) => open !== null))) {
      await details.locator('summary').click();
    }
    await details.locator('tbody tr').first().waitFor();
    const head = await details.locator('thead th').allInnerTexts();
    const rows = await details.locator('tbody tr').allInnerTexts();
    return { head, table: rows.map((row) => row.split('\t').map((cell) => cell.trim())) };
  }

  it('are read out bucket by bucket with the arrow keys', async () => {
    const plot = chart('Calls').getByRole('application');
    const spoken = chart('Calls').locator('[aria-live]');
    const { table } = await openTable(chart('Calls'));
    const sentence = (index: number): string => {
      const [time = '', local, cloud, unknown, total] = table.at(index) ?? [];
      return `${time}: local ${local}, cloud ${cloud}, not known ${unknown}, Total ${total}`;
    };
    const waitForSpoken = (expected: string): Promise<void> =>
      poll(
        async () => (await spoken.textContent()) === expected,
        5_000,
        () => `${expected} is not read out`,
      );
    await plot.focus();
    const { keyboard } = stage.wb.page;
    await keyboard.press('End');
    await waitForSpoken(sentence(-1));
    await keyboard.press('ArrowLeft');
    await waitForSpoken(sentence(-2));
    await keyboard.press('Home');
    await waitForSpoken(sentence(0));
    await keyboard.press('ArrowLeft');
    await keyboard.press('ArrowRight');
    await waitForSpoken(sentence(1));
    const tip = chart('Calls').locator('.tip');
    assert.match(await tip.innerText(), new RegExp(`Total\\s+${table[1]?.at(-1) ?? ''}$`));
    await assertAccessible(frame);
    await keyboard.press('Escape');
    await tip.waitFor({ state: 'detached' });
  });

  it('are split by tier or model, and stay so when the view was left', async () => {
    await frame.getByRole('radio', { name: 'Model' }).check();
    await waitForText(chart('Tokens').locator('figcaption'), /minimax-m3:cloud nomic-embed-text/);
    await stage.go(frame, 'Now');
    await stage.go(frame, 'Trends');
    await waitForText(chart('Calls').locator('figcaption'), /minimax-m3:cloud nomic-embed-text/);
    await frame.getByRole('radio', { name: 'Tier' }).check();
    await waitForText(
      chart('Calls').locator('figcaption'),
      /Calls per 30 min instant workhorse deep embed/,
    );
  });

  it('are exported to a file that the person chooses', async () => {
    const { wb } = stage;
    await frame.getByRole('button', { name: 'Export CSV' }).click();
    const input = wb.page.locator('.quick-input-widget input.input').first();
    await poll(
      async () => (await input.inputValue().catch(() => '')).endsWith('.csv'),
      15_000,
      () => 'no name is proposed',
    );
    const proposed = await input.inputValue();
    assert.equal(path.dirname(proposed), wb.folder);
    assert.match(path.basename(proposed), /^ollama-intern-trends-24h-\d{4}-\d\d-\d\d\.csv$/);
    const from = since('24h');
    await input.fill(path.join(wb.folder, 'trends.csv'));
    await input.press('Enter');
    await wb.waitForNotification(/Exported to .*trends\.csv/);
    const csv = fs.readFileSync(path.join(wb.folder, 'trends.csv'), 'utf8');
    const [header = [], ...rows] = csv
      .trimEnd()
      .split('\r\n')
      .map((row) => row.split(','));
    const cells = rows.map((row) => Object.fromEntries(header.map((name, at) => [name, row[at]])));
    const buckets = cells.filter(({ group }) => group === 'all');
    assert.equal(buckets.length, BUCKETS['24h'].count);
    const sum = buckets.reduce((all, { calls }) => all + Number(calls), 0);
    const own = logged.calls.filter((call) => call.at >= from && call.profile === latest());
    assert.equal(sum, own.length);
    const local = cells.find(({ group, name }) => group === 'backend' && name === 'local');
    assert.equal(Number(local?.calls), own.filter(({ backend }) => backend === 'local').length);
    assert.equal(local?.cost_usd, '0');
    const cloud = cells.find(({ group, name }) => group === 'backend' && name === 'cloud');
    assert.equal(cloud?.cost_usd, '');
    await wb.clickNotification(/Exported to/, 'Open');
    await showTab(wb, 'trends.csv');
  });

  /** Takes pictures at some widths, and has axe look at each. */
  async function lookAt(own: DashboardStage, theme: Theme): Promise<void> {
    await own.wb.runCommand('View: Toggle Primary Side Bar Visibility');
    for (const width of [2000, 1280, 608, 348]) {
      await own.wb.page.setViewportSize({ width, height: 1500 });
      const page = await own.frame();
      await page.locator('figure').nth(5).waitFor();
      await waitForIcons(page);
      await assertAccessible(page);
      await own.wb.screenshot(path.join(pictures, `dashboard-trends-${theme}-${width}.png`));
      assert.ok(!(await isTooWide(page)), `the page scrolls sideways at ${width} pixels`);
    }
  }

  it('fit into a window of any width, and axe finds nothing (dark)', async () => {
    await stage.show('Trends');
    await lookAt(stage, 'dark');
  });

  for (const theme of ['light', 'hc', 'hcLight'] satisfies Theme[]) {
    it(`fit into a window of any width, and axe finds nothing (${theme})`, async function () {
      const own = new DashboardStage();
      try {
        await own.open({ theme, env: { INTERN_LOG_PATH: log } });
        await own.show('Trends');
        await lookAt(own, theme);
      } finally {
        await own.close(this);
      }
    });
  }
});

describe('the dashboard’s trends of little', () => {
  const stage = DashboardStage.forEach();

  const call = (at: number, id: string): string =>
    `${JSON.stringify({
      ...{ kind: 'call', ts: new Date(at).toISOString(), tool: 'draft' },
      envelope: {
        ...{ call_id: id, job: 'draft', tier_used: 'workhorse', model: 'qwen3:8b' },
        ...{ hardware_profile: 'old-laptop', backend: 'local', elapsed_ms: 2_000 },
        ...{ tokens_in: 10, tokens_out: 5, tokens_per_second: 12, cost_usd: 0 },
      },
    })}\n`;

  it('say what is missing, and come by themselves when there is something', async () => {
    await stage().open();
    const frame = await stage().show('Trends');
    const view = frame.getByRole('tabpanel');
    await waitForText(view, /No calls yet\./);
    fs.appendFileSync(stage().logPath, call(Date.now() - 2 * DAY, 'a'));
    await waitForText(view, /No calls in the last 24 hours\. Show the Last 7 Days/);
    await assertAccessible(frame);
    await frame.getByRole('button', { name: 'Show the Last 7 Days' }).click();
    await waitForText(view, /Calls 1 Failed 0 .*Latency p50 2\.0 s .*tok\/s 12\.0/);
    await waitForText(view, /No model was pushed out of memory\./);
    await waitForText(view, /local 1 call 2\.0 s \$0\.00 cloud 0 calls – –/);
    fs.appendFileSync(stage().logPath, call(Date.now() + DAY, 'b'));
    await waitForText(view, /One call is dated in the future and left out: a clock was wrong\./);
    fs.appendFileSync(stage().logPath, call(Date.now() - HOUR, 'c'));
    await waitForText(view, /Calls 2 Failed 0/);
  });
});
