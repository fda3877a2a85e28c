import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Frame, Locator, Request } from 'playwright-core';
import { cache, root } from '../support/setup.mjs';
import type { Theme } from '../support/host/workbench.ts';
import { type OllamaOptions, type OllamaServer, startOllama } from '../support/ollama/server';
import { evictionLine, sampleLog, SECRET } from './dashboardLog';
import {
  keepEvidence,
  openStage,
  poll,
  selectLines,
  showTab,
  type Stage,
  type StageOptions,
  webviewFrame,
} from './support';

const SAMPLE = fs.readFileSync(path.join(root, 'test/support/demo/workspace/src/queue.ts'), 'utf8');
const pictures = path.join(cache, 'screenshots');

describe('the dashboard', () => {
  let server: OllamaServer;
  let stage: Stage | undefined;
  let scratch: string;

  beforeEach(() => {
    scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'intern-dashboard-'));
  });

  afterEach(async function () {
    await keepEvidence(this, stage);
    await stage?.close();
    stage = undefined;
    await server.close();
    fs.rmSync(scratch, { recursive: true, force: true });
  });

  const logPath = (): string => path.join(scratch, 'log.ndjson');
  const asked = (route: string): number =>
    server.requests.filter((request) => request.path === route).length;

  async function open(options: StageOptions = {}, ollama: OllamaOptions = {}): Promise<Stage> {
    server = await startOllama({ tokenMs: 4, ...ollama });
    stage = await openStage({
      files: { 'src/queue.ts': SAMPLE },
      ...options,
      env: { OLLAMA_HOST: server.url, INTERN_LOG_PATH: logPath(), ...options.env },
      settings: { 'chat.disableAIFeatures': true, ...options.settings },
    });
    await stage.statusBarItem('ollamaIntern.status');
    return stage;
  }

  async function openWithHistory(options: StageOptions = {}): Promise<Stage> {
    fs.writeFileSync(logPath(), sampleLog(Date.now()));
    return open(options);
  }

  /** The page inside the webview, which is a new one whenever it was hidden. */
  async function show(wb: Stage): Promise<Frame> {
    await wb.runCommand('Ollama Intern: Show Dashboard');
    return webviewFrame(wb, 'main header');
  }

  async function startSummary(wb: Stage): Promise<void> {
    await wb.openFile('queue.ts');
    await selectLines(wb, 1, 22);
    await wb.runCommand('Ollama Intern: Summarize Selection');
    await wb.page
      .locator('.tab', { hasText: 'Summary of queue.ts' })
      .first()
      .waitFor({ state: 'visible' });
  }

  async function summarize(wb: Stage): Promise<void> {
    await startSummary(wb);
    const answer = wb.page.locator('.monaco-editor[data-uri^="ollama-intern:"]');
    await waitForText(answer, /instant · local · hermes3:8b/, 60_000);
  }

  const rows = (frame: Frame): Locator => frame.locator('tbody tr');
  const section = (frame: Frame, title: string): Locator =>
    frame.locator('section', { has: frame.locator('h2', { hasText: title }) });

  async function waitForText(locator: Locator, text: RegExp, timeout = 15_000): Promise<string> {
    let seen = '';
    await poll(
      async () => {
        seen = (await locator.allInnerTexts()).join('\n').replaceAll(/\s+/g, ' ');
        return text.test(seen);
      },
      timeout,
      () => `${String(text)} is never shown, but ${seen}`,
    );
    return seen;
  }

  async function waitForRows(frame: Frame, count: number): Promise<void> {
    let seen = -1;
    await poll(
      async () => (seen = await rows(frame).count()) === count,
      15_000,
      () => `There are ${seen} rows and not ${count}`,
    );
  }

  /** From the filter with Tab, as somebody without a mouse gets there. */
  async function focusFirstRow(wb: Stage, frame: Frame): Promise<void> {
    await frame.locator('vscode-textfield input').click();
    await wb.page.keyboard.press('Tab');
    await rows(frame).first().and(frame.locator(':focus')).waitFor();
  }

  it('asks Ollama for nothing before it is opened, and then what is in memory', async () => {
    const wb = await open();
    await wb.openFile('queue.ts');
    assert.deepEqual(
      server.requests.map(({ path }) => path),
      [],
    );
    const frame = await show(wb);
    await wb.page.locator('.tab.active', { hasText: 'Ollama Intern' }).waitFor();
    await server.waitForRequest((request) => request.path === '/api/ps');
    await waitForText(section(frame, 'In memory'), /No model is in memory/);
    await waitForText(section(frame, 'Running'), /Nothing is running/);
    await waitForText(section(frame, 'Calls'), /No calls yet/);
    await waitForText(frame.locator('header'), /no models in memory/);
    await wb.screenshot(path.join(pictures, 'dashboard-empty.png'));
    assert.equal(asked('/api/chat') + asked('/api/generate'), 0);
  });

  it('lists a call with its tokens, and the model that it left in memory', async () => {
    // Wide enough for all of it beside the answer.
    const wb = await open({ viewport: { width: 1900, height: 800 } });
    await summarize(wb);
    const frame = await show(wb);
    await waitForRows(frame, 1);
    const logged = fs.readFileSync(logPath(), 'utf8').trim().split('\n');
    const { envelope } = JSON.parse(
      logged.find((line) => line.includes('"kind":"call"')) ?? '',
    ) as {
      envelope: { tokens_in: number; tokens_out: number };
    };
    const tokens = `${envelope.tokens_in} → ${envelope.tokens_out}`;
    assert.ok(envelope.tokens_in > 0 && envelope.tokens_out > 0);
    await waitForText(rows(frame), new RegExp(`summarize_fast .*hermes3:8b ${tokens} `));
    await waitForText(section(frame, 'In memory'), /hermes3:8b .*GB, all in VRAM .*expires in \d/);
    await waitForText(frame.locator('header'), /1 model in memory/);
  });

  it('shows the phase of a running call, and its Stop ends it', async () => {
    const wb = await open({}, { tokenMs: 300, loadMs: 8_000 });
    await startSummary(wb);
    const frame = await show(wb);
    const running = section(frame, 'Running');
    await waitForText(running, /summarize_fast .*loading hermes3:8b, \d s/);
    await waitForText(running, /summarize_fast .*writing, \d+ tokens/);
    await wb.screenshot(path.join(pictures, 'dashboard-running.png'));
    await running.getByRole('button', { name: 'Stop summarize_fast' }).click();
    await server.waitFor(() => server.stats.cancelled, 'the call to be cancelled');
    await waitForText(running, /Nothing is running/);
    await waitForText(rows(frame), /summarize_fast.*cancelled/);
  });

  it('opens the details of a row with Enter and closes them with Escape', async () => {
    const wb = await openWithHistory();
    const frame = await show(wb);
    await focusFirstRow(wb, frame);
    await wb.page.keyboard.press('ArrowDown');
    await wb.page.keyboard.press('Enter');
    const details = frame.getByRole('complementary', { name: 'Details of the call' });
    await waitForText(details, /draft .*loading 20\.1 s .*model qwen3:8b .*tokens_in 1,204/);
    assert.equal(await details.locator(':focus').innerText(), 'draft');
    await wb.screenshot(path.join(pictures, 'dashboard-details.png'));
    await wb.page.keyboard.press('Escape');
    await details.waitFor({ state: 'detached' });
    await rows(frame).nth(1).and(frame.locator(':focus')).waitFor();
  });

  it('copies the record of a call, in which nothing but its own fields stands', async () => {
    const wb = await openWithHistory();
    const frame = await show(wb);
    await rows(frame).first().click();
    await frame.getByRole('button', { name: 'Copy as JSON' }).click();
    const clipboard = () => wb.page.evaluate<string>('navigator.clipboard.readText()');
    await poll(
      async () => (await clipboard()).includes('"tokens_in": 412'),
      5_000,
      () => 'Nothing was copied',
    );
    assert.doesNotMatch(await clipboard(), new RegExp(SECRET));
    assert.doesNotMatch(await frame.content(), new RegExp(SECRET));
  });

  it('filters by what the rows show', async () => {
    const wb = await openWithHistory();
    const frame = await show(wb);
    await waitForRows(frame, 21);
    const filter = frame.locator('vscode-textfield input');
    await filter.fill('failed');
    await waitForRows(frame, 2);
    await waitForText(section(frame, 'Calls'), /2 of 21/);
    await filter.fill('qwen3:8b workhorse');
    await waitForRows(frame, 3);
    await filter.fill('no such call');
    await waitForText(section(frame, 'Calls'), /No call matches this filter/);
    await frame.getByRole('button', { name: 'Clear Filter' }).click();
    await waitForRows(frame, 21);
  });

  it('comes back as it was after it was hidden and after the page was loaded again', async () => {
    const wb = await openWithHistory();
    let frame = await show(wb);
    await frame.locator('vscode-textfield input').fill('failed');
    await waitForRows(frame, 2);
    await rows(frame).first().click();
    await frame.locator('aside').waitFor();

    await wb.openFile('queue.ts');
    await poll(
      () => frame.isDetached(),
      10_000,
      () => 'The hidden webview stays',
    );
    await showTab(wb, 'Ollama Intern');
    frame = await webviewFrame(wb, 'main header');
    await waitForRows(frame, 2);
    await waitForText(frame.locator('aside'), /summarize_deep .*model_missing/);

    const loaded = wb.page.waitForEvent('load');
    await wb.runCommand('Developer: Reload Window').catch(() => undefined);
    await loaded;
    frame = await webviewFrame(wb, 'main header', 60_000);
    await waitForRows(frame, 2);
    await waitForText(frame.locator('aside'), /summarize_deep .*model_missing/);
    await wb.statusBarItem('ollamaIntern.status');
    await show(wb);
    const tabs = wb.page.locator('.tabs-container .tab', { hasText: 'Ollama Intern' });
    assert.equal(await tabs.count(), 1, 'the command shows the panel that was restored');
  });

  it('says that Ollama cannot be reached, and notices by itself when it can', async () => {
    const wb = await open();
    await server.stop();
    const frame = await show(wb);
    const memory = section(frame, 'In memory');
    await waitForText(memory, /Ollama cannot be reached at 127\.0\.0\.1:\d+/);
    await waitForText(frame.locator('header'), /not reachable/);
    assert.deepEqual(await memory.getByRole('button').allInnerTexts(), [
      'Start Ollama',
      'Try Again',
      'Open Setting',
    ]);
    await wb.screenshot(path.join(pictures, 'dashboard-unreachable.png'));
    await memory.getByRole('button', { name: 'Open Setting' }).click();
    const settings = wb.page.locator('.settings-editor');
    await settings.waitFor({ state: 'visible' });
    await settings.getByText('Host', { exact: false }).first().waitFor();
    await showTab(wb, 'Ollama Intern');
    const again = await webviewFrame(wb, 'main header');
    await waitForText(section(again, 'In memory'), /cannot be reached/);
    await server.start();
    await waitForText(section(again, 'In memory'), /No model is in memory/, 20_000);
  });

  it('says which models are slow or were pushed out, and offers another profile', async () => {
    fs.writeFileSync(logPath(), evictionLine('qwen3:8b', Date.now() - 4 * 60_000));
    const wb = await open({}, { vram: 9 * 2 ** 30 });
    await load('qwen3:14b', 8_192);
    const frame = await show(wb);
    const memory = section(frame, 'In memory');
    await waitForText(memory, /qwen3:14b \S+ of \S+ GB in VRAM .*qwen3:8b evicted 4 min ago/);
    await waitForText(memory, /qwen3:14b has \S+ GB in RAM, which makes it several times slower/);
    await waitForText(memory, /qwen3:8b was pushed out of memory/);
    await waitForIcons(frame);
    await wb.screenshot(path.join(pictures, 'dashboard-memory.png'));
    await memory.getByRole('button', { name: 'Change Profile' }).first().click();
    const offered = await wb.pickRows();
    assert.ok(
      offered.some((row) => row.includes('dev-rtx5080-qwen3')),
      offered.join(' | '),
    );
  });

  it('starts Ollama when it is asked to', async function () {
    // The stand-in for the program is a shell script.
    if (process.platform === 'win32') this.skip();
    const started = path.join(scratch, 'started');
    const program = path.join(scratch, 'ollama');
    fs.writeFileSync(program, `#!/bin/sh\necho "$1 $OLLAMA_HOST" > '${started}'\n`, {
      mode: 0o755,
    });
    // Both the workbench and its terminal take the path from the shell's own files.
    const home = path.join(scratch, 'home');
    const profile = path.join(home, '.profile');
    fs.mkdirSync(home);
    fs.writeFileSync(profile, `PATH='${scratch}':"$PATH"\nexport PATH\n`);
    const wb = await open({ home, env: { SHELL: '/bin/sh', ENV: profile } });
    await server.stop();
    const frame = await show(wb);
    await frame.getByRole('button', { name: 'Start Ollama' }).click();
    await poll(
      () => fs.existsSync(started),
      30_000,
      () => 'Nothing was started',
    );
    await poll(
      () => fs.readFileSync(started, 'utf8') === `serve 127.0.0.1:${server.port}\n`,
      5_000,
      () => `What was started is ${fs.readFileSync(started, 'utf8')}`,
    );
    await server.start();
    await waitForText(section(frame, 'In memory'), /No model is in memory/, 20_000);
  });

  it('loads nothing from anywhere but the workbench', async () => {
    const wb = await openWithHistory();
    const seen: Request[] = [];
    wb.page.context().on('request', (request) => seen.push(request));
    const frame = await show(wb);
    await waitForRows(frame, 21);
    await rows(frame).first().click();
    await frame.locator('aside').waitFor();
    const own = new URL(wb.url).host;
    const others = seen.filter((request) => {
      const url = request.url();
      return !/^(?:blob|data):/.test(url) && new URL(url).host !== own;
    });
    assert.ok(others.some((request) => request.url().endsWith('/dist/webview/dashboard.js')));
    for (const request of others) {
      // The workbench itself answers for its resources, which have a host in name only.
      const response = await request.response();
      assert.ok(response?.fromServiceWorker(), `${request.url()} is loaded from the network`);
      assert.match(request.url(), /\.vscode-resource\..*\/dist\/webview\//);
    }
  });

  for (const [theme, width, name] of [
    ['dark', 1280, 'dark-1280'],
    ['light', 1280, 'light'],
    ['hc', 1280, 'hc'],
    ['hcLight', 1280, 'hc-light'],
    ['dark', 560, 'narrow'],
  ] as [Theme, number, string][]) {
    it(`fits into the window (${theme}, ${width} pixels wide)`, async () => {
      const wb = await openWithHistory({ theme, viewport: { width, height: 800 } });
      await load('hermes3:8b', 8_192);
      const frame = await show(wb);
      await waitForRows(frame, 21);
      await waitForText(section(frame, 'In memory'), /hermes3:8b/);
      await waitForIcons(frame);
      await wb.screenshot(path.join(pictures, `dashboard-${name}.png`));
      const page = 'document.documentElement';
      const isWide = await frame.evaluate<boolean>(`${page}.scrollWidth > ${page}.clientWidth`);
      assert.ok(!isWide, 'the page scrolls sideways');
    });
  }

  async function waitForIcons(frame: Frame): Promise<void> {
    const look =
      '[...document.fonts].some((f) => f.family.includes("codicon") && f.status === "loaded")';
    await poll(
      () => frame.evaluate<boolean>(look),
      10_000,
      () => 'The icons are not loaded',
    );
  }

  /** Brings a model into the server's memory, as another program would. */
  async function load(model: string, num_ctx: number): Promise<void> {
    const body = JSON.stringify({ model, prompt: '', stream: false, options: { num_ctx } });
    const answer = await fetch(`${server.url}/api/generate`, { method: 'POST', body });
    assert.equal(answer.status, 200, await answer.text());
  }
});
