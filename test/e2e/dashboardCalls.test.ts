import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import type { Frame, Locator } from 'playwright-core';
import { writeBigLog } from '../support/bigLog';
import { assertAccessible } from './axe';
import { SECRET } from './dashboardLog';
import { DashboardStage, isTooWide, pictures, waitForIcons, waitForText } from './dashboardStage';
import { keepEvidence, poll } from './support';

const LINES = 200_000;
const ROW = 24;

/** One line as the product writes it, or as another program does. */
const callLine = (fields: Record<string, unknown>, envelope: Record<string, unknown>): string =>
  `${JSON.stringify({ kind: 'call', ts: new Date().toISOString(), ...fields, envelope })}\n`;
const freshCall = (id: string, more: Record<string, unknown> = {}): string =>
  callLine(
    { tool: 'draft' },
    {
      ...{ call_id: id, job: 'draft', surface: 'command', tier_used: 'workhorse' },
      ...{ model: 'fresh:1b', hardware_profile: 'fresh', backend: 'local', tokens_in: 12 },
      ...{ tokens_out: 34, elapsed_ms: 9_000, queued_ms: 500, load_ms: 2_000 },
      ...{ first_token_ms: 900, tokens_per_second: 10, residency: null, warnings: ['Mind it.'] },
      attempts: [
        { backend: 'cloud', model: 'far:1b', outcome: 'rate_limited', elapsed_ms: 1_000 },
        { backend: 'local', model: 'fresh:1b', outcome: 'answer', elapsed_ms: 7_500 },
      ],
      ...{ degraded: true, degrade_reason: 'cloud_rate_limited', prompt: SECRET, result: SECRET },
      ...more,
    },
  );

describe('the dashboard’s calls', function () {
  const stage = new DashboardStage();
  let frame: Frame;

  const rows = (): Locator => frame.locator('.call:not(.waiting)');
  const row = (place: number): Locator => frame.locator(`.call[data-place="${place}"]`);
  const list = (): Locator => frame.getByRole('grid', { name: 'Calls, latest first' });
  const details = (): Locator => frame.getByRole('complementary', { name: 'Details of the call' });
  const status = (): Locator => frame.locator('#view [role=status]');
  const append = (text: string): void => fs.appendFileSync(stage.logPath, text);
  const scrollTo = (pixels: number): Promise<void> =>
    list().evaluate((grid, top) => {
      (grid as unknown as { scrollTop: number }).scrollTop = top;
    }, pixels);
  const scrolledTo = (): Promise<number> =>
    list().evaluate((grid) => (grid as unknown as { scrollTop: number }).scrollTop);
  const total = async (): Promise<number> => Number(await list().getAttribute('aria-rowcount')) - 1;
  const numberIn = async (text: RegExp): Promise<number> => {
    const [, digits = ''] = text.exec(await waitForText(status(), text)) ?? [];
    return Number(digits.replaceAll(',', ''));
  };
  const loaded = (place: number): Promise<void> =>
    frame.locator(`.call:not(.waiting)[data-place="${place}"]`).waitFor();

  before(async function () {
    this.timeout(180_000);
    await writeBigLog(stage.logPath, { lines: LINES, now: Date.now() - 60_000 });
    await stage.open({ viewport: { width: 1700, height: 800 } });
    frame = await stage.show('Calls');
    await waitForText(status(), /^1\d\d,\d{3} calls$/, 60_000);
  });
  afterEach(async function () {
    await keepEvidence(this, stage.wb);
  });
  after(async function () {
    await stage.close(this);
  });
  beforeEach(async () => {
    if (await details().isVisible()) await details().getByRole('button', { name: 'Close' }).click();
    const clear = frame.getByRole('button', { name: 'Clear Filters' });
    if ((await clear.count()) > 0) await clear.first().click();
    await waitForText(status(), /^[\d,]+ calls$/);
    await scrollTo(0);
  });

  it('lists all of a long log, and shows the oldest at its end', async () => {
    await loaded(0);
    const calls = await total();
    assert.ok(calls > 190_000, `${calls} calls`);
    const dom = await frame.locator('.call').count();
    assert.ok(dom < 80, `${dom} rows are in the page`);
    await scrollTo(1e9);
    await loaded(calls - 1);
    const first = fs
      .readFileSync(stage.logPath, { encoding: 'utf8', flag: 'r' })
      .slice(0, 20_000)
      .split('\n')
      .map((line) => JSON.parse(line.startsWith('{') && line.endsWith('}') ? line : '{}') as never)
      .find(({ kind }: { kind?: string }) => kind === 'call' || kind === 'error') as unknown as {
      envelope?: { elapsed_ms: number; tokens_in: number };
      tool: string;
    };
    const shown = await row(calls - 1).innerText();
    assert.ok(shown.includes(first.tool.replace('ollama_', '')), shown);
    if (first.envelope) {
      assert.ok(shown.includes(first.envelope.tokens_in.toLocaleString('en-US')), shown);
    }
    assert.equal(await row(calls - 1).getAttribute('aria-rowindex'), String(calls + 1));
    await waitForText(status(), /calls/);
    await waitForText(frame.locator('.state'), /\d+ lines are not readable/);
  });

  for (const [label, value, cell, text] of [
    ['Job', 'research', '.job', /^research/],
    ['Tier', 'deep', '.tier', /^deep$/],
    ['Model', 'qwen3:32b', '.model', /^qwen3:32b$/],
    ['Backend', 'cloud', '.backend', /^cloud$/],
    ['Outcome', 'timeout', '.remark', /^timeout$/],
    ['Outcome', 'failed', '.remark', /^(?:timeout|unreachable|model_missing|out_of_memory)$/],
    ['Outcome', 'degraded', '.remark', /^cloud timed out$/],
  ] as const) {
    it(`finds those of one ${label.toLowerCase()}: ${value}`, async () => {
      const all = await total();
      await frame.getByRole('combobox', { name: label }).selectOption(value);
      const found = await numberIn(/^([\d,]+) of [\d,]+ calls/);
      assert.ok(found > 0 && found < all, `${found} of ${all}`);
      await loaded(found > 10 ? 10 : 0);
      const seen = await rows().locator(cell).allInnerTexts();
      assert.ok(seen.length > 5);
      for (const one of seen) assert.match(one.trim(), text);
    });
  }

  it('finds those of a surface, a profile and a time, and of words', async () => {
    const all = await total();
    const surface = frame.getByRole('combobox', { name: 'Surface' });
    await surface.selectOption('mcp');
    const ofSurface = await numberIn(/^([\d,]+) of/);
    await frame.getByRole('combobox', { name: 'Profile' }).selectOption('m5-max');
    await poll(
      async () => (await numberIn(/^([\d,]+) of/)) < ofSurface,
      5_000,
      () => 'The profile changes nothing',
    );
    await surface.selectOption('');
    await frame.getByRole('combobox', { name: 'Time' }).selectOption('24');
    await poll(
      async () => (await numberIn(/^([\d,]+) of/)) < all / 100,
      5_000,
      () => 'The time changes nothing',
    );
    await frame.getByRole('button', { name: 'Clear Filters' }).click();
    const filter = frame.locator('vscode-textfield input');
    await filter.fill('research QWEN3:14B');
    await waitForText(status(), /of/);
    await loaded(0);
    await poll(
      async () => /research/.test(await row(0).innerText()),
      5_000,
      () => 'The words find nothing',
    );
    assert.match(await row(0).innerText(), /qwen3:14b/);
    await filter.fill('no such call');
    await waitForText(frame.locator('.top'), /0 of [\d,]+ calls .*No call matches/);
    await frame.getByRole('button', { name: 'Clear Filters' }).first().click();
    await waitForText(status(), /^[\d,]+ calls$/);
    assert.equal(await filter.inputValue(), '');
  });

  it('shows a call at once when somebody is at the top, and moves nothing when not', async () => {
    const before = await total();
    append(freshCall('live-1'));
    await poll(
      async () => /fresh:1b/.test(await row(0).innerText()),
      10_000,
      () => 'The new call is not shown',
    );
    await waitForText(row(0), /draft workhorse local fresh:1b 12 → 34 10\.0 9\.0 s/);
    assert.equal(await total(), before + 1);

    await scrollTo(100 * ROW + 7);
    await loaded(104);
    const seen = await row(104).innerText();
    append(freshCall('live-2') + freshCall('live-3'));
    const button = frame.getByRole('button', { name: '2 new calls' });
    await button.waitFor();
    assert.equal(await scrolledTo(), 102 * ROW + 7);
    assert.equal(await row(106).innerText(), seen);
    await button.click();
    assert.equal(await scrolledTo(), 0);
    await button.waitFor({ state: 'detached' });
  });

  it('tells all of a call, its tries one after the other, and copies its record', async () => {
    const all = new RegExp(`^${((await total()) + 1).toLocaleString('en-US')} calls`);
    append(freshCall('told'));
    await waitForText(status(), all);
    await row(0).click();
    const text = await waitForText(details(), /elapsed_ms 9\.0 s/);
    assert.match(text, /Ollama Cloud refused the call because of a limit/);
    assert.match(text, /Mind it\./);
    const parts = details().getByRole('table', { name: 'Where the time went' }).getByRole('row');
    const told = (await parts.allInnerTexts()).map((part) => part.replaceAll(/\s+/g, ' ').trim());
    assert.deepEqual(told.slice(1), [
      'Queued after 0 ms 500 ms',
      'cloud/far:1b rate_limited after 500 ms 1.0 s',
      'Loading the model after 1.5 s 2.0 s',
      'Reading the prompt after 3.5 s 900 ms',
      'Writing after 4.4 s 3.4 s',
      'Not known after 7.8 s 1.2 s',
      'Total 9.0 s',
    ]);
    await details().getByRole('button', { name: 'Copy as JSON' }).click();
    const clipboard = () => stage.wb.page.evaluate<string>('navigator.clipboard.readText()');
    await poll(
      async () => (await clipboard()).includes('"call_id": "told"'),
      5_000,
      () => 'Nothing was copied',
    );
    assert.ok(!(await clipboard()).includes(SECRET));
    assert.ok(!(await frame.content()).includes(SECRET));
    assert.equal(await row(0).getAttribute('aria-selected'), 'true');
    await stage.wb.screenshot(path.join(pictures, 'calls-details.png'));
    await assertAccessible(frame);
  });

  it('is used with the keyboard alone', async () => {
    const { keyboard } = stage.wb.page;
    await frame.getByRole('combobox', { name: 'Time' }).focus();
    await keyboard.press('Tab');
    await list().and(frame.locator(':focus')).waitFor();
    const current = async (): Promise<string | null> => {
      const id = await list().getAttribute('aria-activedescendant');
      return id && frame.locator(`[id="${id}"]`).getAttribute('data-place');
    };
    assert.equal(await current(), '0');
    await keyboard.press('ArrowDown');
    await keyboard.press('ArrowDown');
    assert.equal(await current(), '2');
    await keyboard.press('End');
    const last = (await total()) - 1;
    await loaded(last);
    assert.equal(await current(), String(last));
    await keyboard.press('PageUp');
    assert.ok(Number(await current()) < last - 5);
    await keyboard.press('Home');
    await loaded(0);
    assert.equal(await current(), '0');
    await keyboard.press('ArrowDown');
    await keyboard.press('Enter');
    await details().locator('dl').waitFor();
    const job = (await row(1).locator('.job > span').first().innerText()).trim();
    assert.equal(await details().locator(':focus').innerText(), job);
    await keyboard.press('Escape');
    await details().waitFor({ state: 'detached' });
    await list().and(frame.locator(':focus')).waitFor();
    // The details follow, and close with Escape from the list too.
    await keyboard.press('Enter');
    await details().locator('dl').waitFor();
    await list().focus();
    await keyboard.press('ArrowDown');
    await row(2).and(frame.locator('[aria-selected=true]')).waitFor();
    await keyboard.press('Escape');
    await details().waitFor({ state: 'detached' });
  });

  it('lets the details follow the keyboard to a row that is not there yet', async () => {
    const { keyboard } = stage.wb.page;
    // A list of which nothing but its beginning was seen.
    await frame.getByRole('combobox', { name: 'Tier' }).selectOption('deep');
    await numberIn(/^([\d,]+) of [\d,]+ calls/);
    await loaded(0);
    await row(0).click();
    await details().locator('dl').waitFor();
    await list().focus();
    await keyboard.press('End');
    const last = (await total()) - 1;
    await row(last).and(frame.locator('[aria-selected=true]')).waitFor();
    const job = (await row(last).locator('.job > span').first().innerText()).trim();
    await waitForText(details().locator('h2'), new RegExp(`^${job}$`));
    await list().and(frame.locator(':focus')).waitFor();
    await keyboard.press('Home');
    await row(0).and(frame.locator('[aria-selected=true]')).waitFor();
  });

  it('takes lines of other programs, and one of a megabyte', async () => {
    append(
      callLine(
        { tool: 'ollama_chat', prompt: SECRET },
        { model: 'other:1b', elapsed_ms: 'long', tokens_in: 5, answer: SECRET },
      ) +
        'not a line\n' +
        `${JSON.stringify({ kind: 'error', ts: new Date().toISOString(), tool: 'huge', code: 'server', message: 'x'.repeat(1_000_000) })}\n`,
    );
    await waitForText(row(0), /huge .*server/);
    await waitForText(row(1), /ollama_chat .*other:1b/);
    await row(1).click();
    await waitForText(details(), /model other:1b .*tokens_in 5/);
    await row(0).click();
    const text = await waitForText(details(), /huge .*x{100}…/);
    assert.ok(text.length < 10_000, `${text.length} characters are shown`);
    assert.ok(!(await frame.content()).includes(SECRET));
  });

  it('comes back to where it was after it was hidden', async () => {
    const all = new RegExp(`^${((await total()) + 1).toLocaleString('en-US')} calls`);
    append(freshCall('kept'));
    await waitForText(status(), all);
    await frame.getByRole('combobox', { name: 'Model' }).selectOption('hermes3:8b');
    await frame.getByRole('combobox', { name: 'Model' }).selectOption('');
    await frame.locator('vscode-textfield input').fill('fresh:1b draft');
    await waitForText(status(), /^\d of/);
    await row(0).click();
    await waitForText(details(), /call_id kept/);
    await stage.wb.openFile('queue.ts');
    await poll(
      () => frame.isDetached(),
      10_000,
      () => 'The hidden webview stays',
    );
    frame = await stage.show();
    await waitForText(details(), /call_id kept/);
    await waitForText(status(), /^\d of [\d,]+ calls/);
    assert.equal(await frame.locator('vscode-textfield input').inputValue(), 'fresh:1b draft');
  });

  it('fits into a view of any width', async () => {
    await stage.wb.runCommand('View: Toggle Primary Side Bar Visibility');
    frame = await stage.frame();
    await waitForIcons(frame);
    for (const width of [300, 560, 1280, 2000]) {
      // Beside it is the bar of activities.
      await stage.wb.page.setViewportSize({ width: width + 60, height: 800 });
      await poll(
        async () => Math.abs((await frame.evaluate<number>('innerWidth')) - width) < 60,
        5_000,
        () => `The view is not ${width} wide`,
      );
      await loaded(0);
      assert.ok(!(await isTooWide(frame)), `too wide at ${width}`);
      await stage.wb.screenshot(path.join(pictures, `calls-${width}.png`));
      if (width !== 560) continue;
      await frame.getByRole('button', { name: 'Filters' }).click();
      await frame.getByRole('combobox', { name: 'Tier' }).selectOption('deep');
      await waitForText(frame.getByRole('button', { name: 'Filters' }), /1/);
      await assertAccessible(frame);
      await frame.getByRole('button', { name: 'Clear Filters' }).click();
      await loaded(0);
      await row(0).click();
      await details().locator('dl').waitFor();
      await stage.wb.screenshot(path.join(pictures, 'calls-560-details.png'));
      await assertAccessible(frame);
      await details().getByRole('button', { name: 'Close' }).click();
    }
    await stage.wb.page.setViewportSize({ width: 1700, height: 800 });
  });

  it('can be read in every theme', async () => {
    await row(0).click();
    await details().locator('dl').waitFor();
    for (const [theme, kind] of [
      ['Light 2026', 'vscode-light'],
      ['Dark High Contrast', 'vscode-high-contrast'],
      ['Light High Contrast', 'vscode-high-contrast-light'],
      ['Dark 2026', 'vscode-dark'],
    ] as const) {
      await stage.wb.runCommand('Preferences: Color Theme');
      await stage.wb.enter(theme);
      await frame.locator(`body[data-vscode-theme-kind="${kind}"]`).waitFor();
      await assertAccessible(frame);
      await stage.wb.screenshot(path.join(pictures, `calls-${kind}.png`));
    }
  });

  it('follows a log that is set aside', async () => {
    await row(0).click();
    await details().locator('dl').waitFor();
    fs.renameSync(stage.logPath, `${stage.logPath}.1`);
    fs.writeFileSync(stage.logPath, freshCall('rotated', { model: 'rotated:1b' }));
    await waitForText(row(0), /rotated:1b/, 30_000);
    await loaded(1);
  });

  it('says what to do when the log cannot be read, and when there is nothing in it', async function () {
    if (process.platform === 'win32' || process.getuid?.() === 0) {
      fs.rmSync(stage.logPath);
      fs.mkdirSync(stage.logPath);
    } else fs.chmodSync(stage.logPath, 0);
    await waitForText(frame.locator('#view'), /The log .* cannot be read/, 30_000);
    const remedies = frame.locator('#view').getByRole('button');
    assert.deepEqual(await remedies.allInnerTexts(), ['Open Log', 'Settings', 'Refresh']);
    await assertAccessible(frame);
    await stage.wb.screenshot(path.join(pictures, 'calls-unreadable.png'));
    fs.rmSync(stage.logPath, { recursive: true });
    for (const name of fs.readdirSync(stage.scratch)) fs.rmSync(path.join(stage.scratch, name));
    await frame.getByRole('button', { name: 'Refresh' }).last().click();
    await waitForText(frame.locator('#view'), /No calls yet/, 30_000);
    await assertAccessible(frame);
    await stage.wb.screenshot(path.join(pictures, 'calls-none.png'));
  });
});
