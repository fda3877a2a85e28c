import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { cache, root } from '../support/setup.mjs';
import type { Theme } from '../support/host/workbench.ts';
import { ScriptedEngine } from '../support/ollama/scripted';
import { type OllamaServer, startOllama } from '../support/ollama/server';
import { keepEvidence, openStage, poll, selectLines, type Stage } from './support';

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

  for (const theme of ['dark', 'light'] as Theme[]) {
    it(`probe ${theme}`, async () => {
      server = await startOllama({ tokenMs: 60, loadMs: 3000, engine: new ScriptedEngine(REPLY) });
      const wb = (stage = await openStage({
        files: { 'src/queue.ts': SAMPLE },
        theme,
        env: { OLLAMA_HOST: server.url },
        settings: { 'chat.disableAIFeatures': true },
      }));
      await wb.statusBarItem('ollamaIntern.status');
      await wb.openFile('queue.ts');
      await selectLines(wb, 19, 22);
      await wb.page.locator('.codicon-gutter-lightbulb, .lightBulbWidget').first().waitFor({ timeout: 30_000 });
      await wb.page.keyboard.press('Control+.');
      await wb.page.locator('.action-widget').first().waitFor({ state: 'visible', timeout: 10_000 }).catch((e) => console.log(String(e)));
      await wb.screenshot(path.join(pictures, `probe-${theme}-1.png`));
      await wb.page.keyboard.press('Escape');
      await wb.runCommand('Ollama Intern: Answer Here…');
      await wb.enter('How long does it wait?');
      await wb.page.waitForTimeout(1500);
      await wb.screenshot(path.join(pictures, `probe-${theme}-2.png`));
      await wb.page.waitForTimeout(4000);
      await wb.screenshot(path.join(pictures, `probe-${theme}-3.png`));
      await wb.page.waitForTimeout(9000);
      await wb.screenshot(path.join(pictures, `probe-${theme}-4.png`));
      await wb.page.keyboard.press('Control+Enter');
      await wb.page.waitForTimeout(1500);
      await wb.screenshot(path.join(pictures, `probe-${theme}-5.png`));
      assert.ok(poll);
    });
  }
});
