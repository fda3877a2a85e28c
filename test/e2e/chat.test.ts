import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Locator } from 'playwright-core';
import { cache, root } from '../support/setup.mjs';
import { type OllamaOptions, type OllamaServer, startOllama } from '../support/ollama/server';
import { waitForText } from './dashboardStage';
import { keepEvidence, openStage, poll, type Stage, webviewFrame } from './support';

const SAMPLE = readFileSync(path.join(root, 'test/support/demo/workspace/src/queue.ts'), 'utf8');
const LOG = [
  '2026-01-01T00:00:00Z INFO started',
  '2026-01-01T00:00:01Z ERROR database refused the connection',
  '2026-01-01T00:00:02Z ERROR database refused the connection',
  '',
].join('\n');
const pictures = path.join(cache, 'screenshots');

describe('chat', () => {
  let server: OllamaServer;
  let stage: Stage | undefined;

  afterEach(async function () {
    await keepEvidence(this, stage);
    await stage?.close();
    stage = undefined;
    await server.close();
  });

  /** A window with the chat view open, and its list of models read. */
  async function open(ollama: OllamaOptions = {}): Promise<Stage> {
    server = await startOllama({ tokenMs: 4, ...ollama });
    stage = await openStage({
      files: { 'src/queue.ts': SAMPLE, 'app.log': LOG },
      viewport: { width: 1280, height: 1000 },
      env: { OLLAMA_HOST: server.url },
    });
    await stage.statusBarItem('ollamaIntern.status');
    await stage.runCommand('Chat: Open Chat');
    const { page } = stage;
    // Without a model to choose, the editor hands no request to anybody.
    const picker = page.locator('.interactive-session .model-picker-name').first();
    await picker.getByText(/^Intern · /).waitFor({ timeout: 30_000 });
    return stage;
  }

  /** Types a request; the name of a file behind a # is chosen from the list that comes up. */
  async function ask(wb: Stage, words: string, attached?: string): Promise<void> {
    const { page } = wb;
    // The list has the files that are open, at once.
    if (attached) await wb.openFile(attached);
    await page.locator('.interactive-input-part .monaco-editor').first().click();
    await page.keyboard.type(words, { delay: 10 });
    if (attached) {
      await page.keyboard.type(` #${attached.replace(/\.\w+$/, '')}`, { delay: 40 });
      const row = page.locator('.suggest-widget .monaco-list-row', { hasText: attached }).first();
      await row.waitFor({ timeout: 10_000 });
      await row.click();
    }
    await page.keyboard.press('Escape');
    await page.keyboard.press('Enter');
  }

  const response = ({ page }: Stage): Locator => page.locator('.interactive-response').last();

  async function answered(wb: Stage, text: RegExp): Promise<string> {
    let seen = '';
    await poll(
      async () => {
        const found = response(wb);
        seen = (await found.isVisible()) ? await found.innerText() : '';
        return text.test(seen.replaceAll('\u00a0', ' '));
      },
      60_000,
      () => `The answer is: ${seen}`,
    );
    return seen;
  }

  it('summarizes a file that is attached, and says where the answer comes from', async () => {
    const wb = await open();
    await ask(wb, '@intern /summarize', 'queue.ts');
    const seen = await answered(
      wb,
      /(instant|deep) · local · hermes3:8b · [\d,]+→[\d,]+ tokens · [\d,.]+ tok\/s/,
    );
    assert.match(seen, /queue|job/i);
    assert.match(seen, /^queue\.ts$/m, 'a link to the file');
    await wb.screenshot(path.join(pictures, 'chat-summary.png'));
    await response(wb).getByRole('button', { name: 'Show Details' }).click();
    const dashboard = await webviewFrame(wb, 'aside, [role="complementary"], .details');
    await waitForText(dashboard.locator('aside'), /summarize_fast|summarize_deep/);
    await wb.screenshot(path.join(pictures, 'chat-details.png'));
  });

  it('offers what comes next, which works on the same file', async () => {
    const wb = await open();
    await ask(wb, '@intern /triage', 'app.log');
    await answered(wb, /instant · local/);
    const next = wb.page.locator('.interactive-session').getByText('Research the cause');
    await next.waitFor();
    await wb.screenshot(path.join(pictures, 'chat-triage.png'));
    await next.click();
    await answered(wb, /deep · local[^]*Read again, as nothing was attached: app\.log\./);
  });

  it('stops the model at once when it is stopped', async () => {
    const wb = await open({ tokenMs: 300 });
    await ask(wb, '@intern Tell me a long story about a queue');
    await server.waitFor(() => server.stats.generatedTokens > 5, 'some words');
    await wb.screenshot(path.join(pictures, 'chat-running.png'));
    await wb.page.locator('.interactive-input-part .codicon-stop-circle').click();
    await server.waitFor(() => server.stats.cancelled === 1, 'the server stopped');
    await server.whenIdle();
  });

  it('says what is wrong when Ollama is not running, with buttons', async () => {
    const wb = await open();
    await server.stop();
    await ask(wb, '@intern Hello');
    await answered(wb, /Ollama cannot be reached at 127\.0\.0\.1/);
    await response(wb).getByRole('button', { name: 'Start Ollama' }).waitFor();
    await wb.screenshot(path.join(pictures, 'chat-offline.png'));
  });
});
