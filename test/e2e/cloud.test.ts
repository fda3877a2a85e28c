import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { cache, root } from '../support/setup.mjs';
import type { Theme } from '../support/host/workbench.ts';
import { CLOUD_KEY, type CloudServer, startCloud } from '../support/ollama/cloud';
import { type OllamaServer, startOllama } from '../support/ollama/server';
import { keepEvidence, openStage, poll, selectLines, type Stage } from './support';

const SAMPLE = readFileSync(path.join(root, 'test/support/demo/workspace/src/queue.ts'), 'utf8');
const pictures = path.join(cache, 'screenshots');

describe('the cloud in the window', function () {
  this.timeout(240_000);
  let server: OllamaServer;
  let cloud: CloudServer;
  let wb: Stage | undefined;

  afterEach(async function () {
    await keepEvidence(this, wb);
    await wb?.close();
    wb = undefined;
    await server.close();
    await cloud.close();
  });

  async function open(theme: Theme): Promise<Stage> {
    server = await startOllama({ tokenMs: 10, loadMs: 5_000 });
    cloud = await startCloud({ tokenMs: 4 });
    wb = await openStage({
      theme,
      toasts: true,
      files: { 'src/queue.ts': SAMPLE },
      env: {
        OLLAMA_HOST: server.url,
        OLLAMA_CLOUD_HOST: cloud.url,
        INTERN_CLOUD_MODEL: 'gpt-oss:120b-cloud',
        OLLAMA_API_KEY: undefined,
        OLLAMA_CLOUD_PRIMARY: undefined,
      },
      settings: { 'chat.disableAIFeatures': true, 'ollamaIntern.maxConcurrent': 1 },
    });
    await wb.statusBarItem('ollamaIntern.status');
    return wb;
  }

  /** Runs a command with keys alone. */
  async function press({ page }: Stage, title: string): Promise<void> {
    await page.keyboard.press('F1');
    const input = page.locator('.quick-input-widget input.input').first();
    await input.waitFor({ state: 'visible' });
    await page.keyboard.type(title);
    const first = page.locator('.quick-input-widget .monaco-list-row.focused', { hasText: title });
    await first.waitFor({ state: 'visible' });
    await page.keyboard.press('Enter');
  }

  async function answers({ page }: Stage, line: RegExp): Promise<void> {
    let seen = '';
    await poll(
      async () => {
        const lines = page.locator('.monaco-editor[data-uri^="ollama-intern:"] .view-line');
        // Long lines are wrapped.
        seen = (await lines.allInnerTexts()).join('').replaceAll('\u00a0', ' ');
        return line.test(seen);
      },
      60_000,
      () => `no ${String(line)} in:\n${seen}`,
    );
  }

  async function summarize(stage: Stage): Promise<void> {
    await press(stage, 'View: Close All Editors');
    await stage.openFile('queue.ts');
    await selectLines(stage, 1, 22);
    await press(stage, 'Ollama Intern: Summarize Selection');
  }

  /** The status once it reads so: its background, and pictures of it and, if wanted, of its tooltip. */
  async function status(
    stage: Stage,
    text: RegExp,
    picture: string,
    withTooltip = false,
  ): Promise<string> {
    await stage.statusBarItem(text, 60_000);
    const { page } = stage;
    await page.screenshot({
      path: path.join(pictures, `cloud-${picture}.png`),
      clip: { x: 640, y: 740, width: 640, height: 60 },
    });
    const item = page.locator('.part.statusbar .statusbar-item[id$="ollamaIntern.status"]');
    const tones = (await item.getAttribute('class')) ?? '';
    if (withTooltip) {
      await item.hover();
      await page.locator('.monaco-hover', { hasText: 'Prompts go to' }).waitFor();
      await stage.screenshot(path.join(pictures, `cloud-${picture}-tooltip.png`));
      await page.mouse.move(300, 300);
    }
    return /warning-kind/.test(tones) ? 'warning' : /error-kind/.test(tones) ? 'error' : 'plain';
  }

  // Each theme takes two minutes, for the same states in other colours.
  const themes: Theme[] = process.env['E2E_THEMES'] === 'all' ? ['dark', 'light', 'hc'] : ['dark'];
  for (const theme of themes) {
    it(`is enabled with the keyboard alone, and every state of it is seen (${theme})`, async () => {
      const stage = await open(theme);
      const { page } = stage;
      await stage.statusBarItem(/^.*local · hermes3:8b/);

      await press(stage, 'Ollama Intern: Enable Cloud');
      const dialog = page.locator('.monaco-dialog-box');
      await dialog.waitFor({ state: 'visible' });
      const told = await dialog.innerText();
      assert.ok(told.includes(new URL(cloud.url).host) && told.includes('What leaves'), told);
      await stage.screenshot(path.join(pictures, `cloud-consent-${theme}.png`));
      // The first button has the focus.
      await page.keyboard.press('Enter');
      const key = page.locator('.quick-input-widget input[type="password"]');
      await key.waitFor({ state: 'visible' });
      await stage.screenshot(path.join(pictures, `cloud-key-${theme}.png`));
      await page.keyboard.type(CLOUD_KEY);
      await page.keyboard.press('Enter');
      await stage.statusBarItem(/cloud · gpt-oss:120b/);

      await summarize(stage);
      await answers(stage, /instant · cloud · gpt-oss:120b-cloud · [\d,]+→[\d,]+ tokens/);
      assert.equal(await status(stage, /cloud · gpt-oss:120b/, `answered-${theme}`, true), 'plain');

      cloud.limit = { kind: 'hourly', retryAfter: '600' };
      await summarize(stage);
      assert.equal(await status(stage, /loading hermes3:8b/, `loading-${theme}`), 'warning');
      await answers(stage, /local, degraded: cloud_rate_limited[^]*so your own Ollama answered/);
      assert.equal(
        await status(stage, /degraded · rate limited · 10 min/, `limited-${theme}`, true),
        'warning',
      );
      await stage.screenshot(path.join(pictures, `cloud-limited-answer-${theme}.png`));

      server.faults.next({ match: ({ path: route }) => route === '/api/chat', lineDelayMs: 250 });
      await summarize(stage);
      await stage.statusBarItem(/writing · hermes3:8b/);
      await press(stage, 'Ollama Intern: Summarize File');
      await status(stage, /queued, next \+1/, `queued-${theme}`);
      await stage.statusBarItem(/degraded · rate limited/, 60_000);

      cloud.limit = undefined;
      cloud.keys.clear();
      await press(stage, 'Ollama Intern: Retry Cloud Now');
      await summarize(stage);
      assert.equal(await status(stage, /cloud: key refused/, `refused-${theme}`, true), 'error');
      await stage.waitForNotification(/refuse|sign in|key/i);
      await stage.screenshot(path.join(pictures, `cloud-refused-window-${theme}.png`));
      await answers(stage, /local, degraded: cloud_auth_failed/);

      await server.stop();
      await summarize(stage);
      assert.equal(await status(stage, /Ollama offline/, `offline-${theme}`), 'warning');
      // It is well again as soon as a start has found it, and not only with the next call.
      await server.start();
      await press(stage, 'Ollama Intern: Start Ollama');
      await stage.statusBarItem(/cloud: key refused/);

      await press(stage, 'Ollama Intern: Disable Cloud');
      await stage.statusBarItem(/local · hermes3:8b/);
    });
  }

  it('counts the seconds down to the next try', async () => {
    const stage = await open('dark');
    await press(stage, 'Ollama Intern: Enable Cloud');
    await stage.page.locator('.monaco-dialog-box').waitFor({ state: 'visible' });
    await stage.page.keyboard.press('Enter');
    await stage.page.locator('.quick-input-widget input[type="password"]').waitFor();
    await stage.page.keyboard.type(CLOUD_KEY);
    await stage.page.keyboard.press('Enter');
    await stage.statusBarItem(/cloud · gpt-oss:120b/);
    cloud.limit = { kind: 'session', retryAfter: '25' };
    await summarize(stage);
    const { text } = await stage.statusBarItem(/degraded · rate limited · \d+ s/);
    const seconds = Number(/(\d+) s/.exec(text)?.[1]);
    assert.ok(seconds > 1 && seconds <= 25, text);
    // The tooltip stays open and counts as well.
    const item = stage.page.locator('.part.statusbar .statusbar-item[id$="ollamaIntern.status"]');
    await item.hover();
    const tooltip = stage.page.locator('.monaco-hover', { hasText: 'Prompts go to' });
    await tooltip.waitFor();
    await stage.statusBarItem(new RegExp(`degraded · rate limited · ${seconds - 4} s`));
    assert.ok(await tooltip.isVisible(), 'the tooltip closed while it counted');
    await stage.screenshot(path.join(pictures, 'cloud-countdown.png'));
    await tooltip.locator('a', { hasText: 'Retry Cloud Now' }).click();
    await stage.waitForNotification(/The next call asks Ollama Cloud again/);
    await stage.statusBarItem(/degraded · rate limited$/);
  });
});
