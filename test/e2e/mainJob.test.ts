import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { cache, root } from '../support/setup.mjs';
import type { Theme } from '../support/host/workbench.ts';
import { type OllamaOptions, type OllamaServer, startOllama } from '../support/ollama/server';
import {
  keepEvidence,
  openStage,
  poll,
  selectLines,
  type Stage,
  type StageOptions,
} from './support';

const SAMPLE = readFileSync(path.join(root, 'test/support/demo/workspace/src/queue.ts'), 'utf8');
const pictures = path.join(cache, 'screenshots');
const ENVELOPE =
  /instant · local · hermes3:8b · [\d,]+→[\d,]+ tokens · [\d,.]+ tok\/s · 100 % in VRAM/;

describe('the main job', () => {
  let server: OllamaServer;
  let stage: Stage | undefined;

  afterEach(async function () {
    await keepEvidence(this, stage);
    await stage?.close();
    stage = undefined;
    await server.close();
  });

  async function open(options: StageOptions = {}, ollama: OllamaOptions = {}): Promise<Stage> {
    server = await startOllama({ tokenMs: 4, ...ollama });
    stage = await openStage({
      files: { 'src/queue.ts': SAMPLE },
      ...options,
      env: { OLLAMA_HOST: server.url },
      settings: { 'chat.disableAIFeatures': true, ...options.settings },
    });
    await stage.statusBarItem('ollamaIntern.status');
    return stage;
  }

  /** Lines of the answer document as they stand on the screen. */
  async function answer(wb: Stage): Promise<string> {
    const lines = wb.page.locator('.monaco-editor[data-uri^="ollama-intern:"] .view-line');
    const read = (await lines.evaluateAll(
      (all: { style: { top: string }; textContent: string | null }[]) =>
        all.map((line) => [parseFloat(line.style.top), line.textContent]),
    )) as [number, string][];
    return read
      .toSorted((a, b) => a[0] - b[0])
      .map(([, text]) => text)
      .join('')
      .replaceAll('\u00a0', ' ');
  }

  async function summarize(wb: Stage): Promise<void> {
    await wb.openFile('queue.ts');
    await selectLines(wb, 1, 22);
    await wb.runCommand('Ollama Intern: Summarize Selection');
    let seen = '';
    await poll(
      async () => ENVELOPE.test((seen = await answer(wb))),
      60_000,
      () => `no envelope line in: ${seen}`,
    );
  }

  for (const [theme, width] of [
    ['dark', 1280],
    ['light', 1280],
    ['hc', 1280],
    ['dark', 720],
  ] as [Theme, number][]) {
    it(`is done with the keyboard alone (${theme}, ${width} pixels wide)`, async () => {
      const wb = await open({ theme, viewport: { width, height: 800 } });
      const before = await wb.statusBarItem('ollamaIntern.status');
      assert.equal(before.text, 'local · hermes3:8b');
      await summarize(wb);
      assert.match(await answer(wb), /queue|job/i);
      // The status bar is a moment behind the document.
      const { ariaLabel } = await wb.statusBarItem(/local · hermes3:8b/);
      assert.match(ariaLabel, /Ollama Intern: local · hermes3:8b/);
      await wb.screenshot(path.join(pictures, `summary-${theme}-${width}.png`));
    });
  }

  it('shows the seconds while a cold model loads, in the document and in the status bar', async () => {
    const wb = await open({}, { loadMs: 6_000 });
    await wb.openFile('queue.ts');
    await selectLines(wb, 1, 22);
    await wb.runCommand('Ollama Intern: Summarize Selection');
    const item = await wb.statusBarItem(/loading hermes3:8b, [1-5] s/);
    assert.ok(item.text);
    await wb.waitForNotification(
      /Summarizing the selection in queue\.ts.*loading hermes3:8b, \d s/s,
    );
    await poll(
      async () => /loading hermes3:8b, \d s/.test(await answer(wb)),
      5_000,
      () => 'the document does not say that the model loads',
    );
    await wb.screenshot(path.join(pictures, 'loading.png'));
    await poll(
      async () => ENVELOPE.test(await answer(wb)),
      60_000,
      () => 'no answer came',
    );
  });

  it('says what is wrong when Ollama is not running, and goes on when it is', async () => {
    const wb = await open();
    await server.stop();
    await wb.openFile('queue.ts');
    await selectLines(wb, 1, 22);
    await wb.runCommand('Ollama Intern: Summarize Selection');
    const shown = await wb.waitForNotification(/Ollama cannot be reached at 127\.0\.0\.1/);
    assert.equal(shown.severity, 'error');
    assert.deepEqual(shown.buttons, ['Start Ollama', 'Try Again', 'Open Setting']);
    await wb.statusBarItem(/Ollama offline/);
    await wb.screenshot(path.join(pictures, 'offline.png'));
    await server.start();
    await wb.clickNotification(/Ollama cannot be reached/, 'Try Again');
    await poll(
      async () => ENVELOPE.test(await answer(wb)),
      60_000,
      () => 'no answer came',
    );
    await wb.statusBarItem(/local · hermes3:8b/);
  });

  it('lets a draft be read before it is accepted, by keyboard', async () => {
    const wb = await open();
    await wb.openFile('queue.ts');
    await selectLines(wb, 19, 22);
    await wb.runCommand('Ollama Intern: Draft from Selection');
    await wb.enter('Add a constant for the longest pause');
    await wb.waitForNotification(/Draft ready/, 60_000);
    await wb.screenshot(path.join(pictures, 'draft.png'));
    const title = wb.page.locator('.tab.active', { hasText: 'queue.ts (draft)' });
    await title.waitFor({ state: 'visible' });
    await wb.runCommand('Ollama Intern: Accept Draft');
    await title.waitFor({ state: 'detached' });
    const text = await wb.wholeEditorText();
    assert.notEqual(text, SAMPLE);
    assert.ok(text.startsWith(SAMPLE.slice(0, 200)));
    assert.ok(text.endsWith(SAMPLE.slice(-400)), 'only the selection was replaced');
  });

  it('offers the profiles and says what is installed', async () => {
    const wb = await open();
    await wb.runCommand('Ollama Intern: Select Hardware Profile');
    let rows: string[] = [];
    await poll(
      async () => {
        rows = await wb.pickRows();
        return rows.some((row) => row.includes('not installed: qwen3:32b'));
      },
      10_000,
      () => `the rows are ${rows.join(' | ')}`,
    );
    assert.ok(rows.some((row) => /dev-rtx5080-qwen3.*all installed/.test(row)));
    await wb.screenshot(path.join(pictures, 'profiles.png'));
    await wb.pick(/dev-rtx5080-qwen3/);
    await wb.statusBarItem(/local · qwen3:8b/);
  });

  it('works from the packaged extension, which holds nothing it does not need', async function () {
    execFileSync(process.execPath, ['esbuild.mjs', '--package'], { cwd: root, stdio: 'pipe' });
    const vsix = readdirSync(root).find((name) => name.endsWith('.vsix'));
    assert.ok(vsix);
    const wb = await open({ vsix: path.join(root, vsix) });
    const extensions = path.join(wb.home, 'exts');
    const installed = readdirSync(extensions, { recursive: true, encoding: 'utf8' });
    assert.ok(installed.some((file) => file.endsWith('extension.js')));
    const stray = installed.filter((file) =>
      /node_modules|\.ts$|\.map$|[\\/](src|test)[\\/]/.test(file),
    );
    assert.deepEqual(stray, []);
    await summarize(wb);
  });
});
