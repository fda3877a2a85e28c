import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { cache, root } from '../support/setup.mjs';
import type { Theme } from '../support/host/workbench.ts';
import { ScriptedEngine } from '../support/ollama/scripted';
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
const REPLY = `It waits longer after **each** attempt, up to a limit:

1. The wait doubles with \`attempt\`.
2. A click here: [run](command:workbench.action.quit) ![x](https://evil.example/x.png)

\`\`\`ts
const LONGEST_PAUSE_MS = 30_000;
\`\`\`

Put the constant beside the function.
`;

describe('an answer under the selection', () => {
  let server: OllamaServer;
  let stage: Stage | undefined;

  afterEach(async function () {
    await keepEvidence(this, stage);
    await stage?.close();
    stage = undefined;
    await server.close();
  });

  async function open(options: StageOptions = {}, ollama: OllamaOptions = {}): Promise<Stage> {
    server = await startOllama({ engine: new ScriptedEngine(REPLY), ...ollama });
    stage = await openStage({
      files: { 'src/queue.ts': SAMPLE, 'notes.txt': 'One line.\nAnother line.\n' },
      ...options,
      env: { OLLAMA_HOST: server.url },
      settings: { 'chat.disableAIFeatures': true },
    });
    await stage.statusBarItem('ollamaIntern.status');
    return stage;
  }

  async function ask(wb: Stage): Promise<void> {
    await wb.openFile('queue.ts');
    await selectLines(wb, 17, 18);
    await wb.runCommand('Ollama Intern: Answer Here…');
    await wb.enter('How long does it wait?');
  }

  const zone = (wb: Stage) => wb.page.locator('.zone-widget .review-widget');
  const shown = (wb: Stage) =>
    zone(wb)
      .innerText({ timeout: 500 })
      .catch(() => '');

  async function waitFor(wb: Stage, text: RegExp): Promise<string> {
    let seen = '';
    await poll(
      async () => text.test((seen = await shown(wb))),
      30_000,
      () => `${String(text)} is not in: ${seen}`,
    );
    return seen;
  }

  for (const theme of ['dark', 'light'] as Theme[]) {
    it(`is written there and accepted with the keyboard alone (${theme})`, async () => {
      const wb = await open({ theme }, { loadMs: 3_000, tokenMs: 100 });
      await ask(wb);
      await waitFor(wb, /How long does it wait\?\s*Ollama Intern\s*loading hermes3:8b, [1-3] s/);
      const partial = await waitFor(wb, /writing, \d+ tokens/);
      assert.doesNotMatch(partial, /beside the function|tok\/s/);
      const whole = await waitFor(wb, /workhorse · local · hermes3:8b · [\d,]+→35 tokens/);
      assert.match(whole, /Insert and Replace take the code block, without the text around it\./);
      assert.doesNotMatch(whole, /writing/);
      await wb.screenshot(path.join(pictures, `answer-here-${theme}.png`));
      assert.equal(await zone(wb).locator('.comment-body a, .comment-body img').count(), 0);
      assert.equal(await wb.page.locator('.comments-panel').count(), 0, 'a view is in the way');
      await wb.page.keyboard.press('Control+Enter');
      await zone(wb).waitFor({ state: 'detached' });
      const line = 'const FIRST_PAUSE_MS = 500;\n';
      assert.equal(
        await wb.wholeEditorText(),
        SAMPLE.replace(line, `${line}const LONGEST_PAUSE_MS = 30_000;\n`),
      );
    });
  }

  it('is ended with Escape while it is written, and the keys are what they were', async () => {
    const wb = await open({}, { tokenMs: 1_000 });
    await ask(wb);
    await waitFor(wb, /writing, \d+ token/);
    await wb.page.keyboard.press('Control+Shift+Enter');
    await wb.page.keyboard.press('Control+Z');
    await wb.page.keyboard.press('Escape');
    await zone(wb).waitFor({ state: 'detached' });
    await poll(
      async () => server.stats.active === 0,
      2_000,
      () => 'the model is still busy',
    );
    assert.equal(server.stats.cancelled, 1);
    assert.equal(await wb.wholeEditorText(), SAMPLE);
    await wb.page.keyboard.press('Control+Enter');
    assert.equal(await wb.wholeEditorText(), SAMPLE.replace('\n', '\n * \n'));
  });

  it('is neither accepted nor lost while it is collapsed', async () => {
    const wb = await open();
    await ask(wb);
    await waitFor(wb, /tok\/s/);
    for (const key of ['Control+Enter', 'Escape']) {
      await wb.page.locator('.review-widget .expand-review-action').click();
      await zone(wb).waitFor({ state: 'hidden' });
      await wb.page.locator('.monaco-editor .view-line').first().click();
      await wb.page.keyboard.press(key);
      await waitFor(wb, /tok\/s/);
    }
    assert.equal(await wb.wholeEditorText(), SAMPLE);
    await wb.page.keyboard.press('Control+Shift+Enter');
    await zone(wb).waitFor({ state: 'detached' });
    const selected = 'const MOST_ATTEMPTS = 5;\nconst FIRST_PAUSE_MS = 500;';
    assert.equal(
      await wb.wholeEditorText(),
      SAMPLE.replace(selected, 'const LONGEST_PAUSE_MS = 30_000;'),
    );
  });

  it('is offered in the lightbulb menu', async () => {
    const wb = await open();
    await wb.openFile('notes.txt');
    await selectLines(wb, 1, 2);
    const bulb = wb.page.locator('.codicon-gutter-lightbulb, .lightBulbWidget').first();
    await bulb.waitFor({ timeout: 30_000 });
    await wb.page.keyboard.press('Control+.');
    const menu = wb.page.locator('.action-widget').first();
    await menu.waitFor({ state: 'visible' });
    const rows = await menu.innerText();
    for (const row of ['Draft from Selection', 'Summarize', 'Answer Here']) {
      assert.ok(rows.includes(`${row} with Ollama Intern`), rows);
    }
    await wb.screenshot(path.join(pictures, 'lightbulb.png'));
    await wb.page.keyboard.press('ArrowDown');
    await wb.page.keyboard.press('ArrowDown');
    await wb.page.keyboard.press('Enter');
    await wb.enter('What is it about?');
    await waitFor(wb, /tok\/s/);
  });
});
