import assert from 'node:assert/strict';
import { type OllamaServer, startOllama } from '../support/ollama/server';
import { keepEvidence, openStage, poll, selectLines, type Stage } from './support';

/** Conditions of menus are text that only a real window evaluates. */
describe('the commands of jobs in menus', () => {
  let server: OllamaServer;
  let wb: Stage;

  before(async () => {
    server = await startOllama();
    wb = await openStage({
      files: { 'src/a.ts': 'export const a = 1;\n', 'server.log': 'ERROR refused\n' },
      env: { OLLAMA_HOST: server.url },
      settings: { 'chat.disableAIFeatures': true },
    });
    await wb.statusBarItem('ollamaIntern.status');
  });

  afterEach(function () {
    return keepEvidence(this, wb);
  });

  after(async () => {
    await wb.close();
    await server.close();
  });

  /** Commands that the palette finds by these words. */
  async function palette(words: string): Promise<string> {
    await wb.page.keyboard.press('F1');
    const input = wb.page.locator('.quick-input-widget input.input').first();
    await input.waitFor({ state: 'visible' });
    await input.fill(`>Ollama Intern: ${words}`);
    const rows = await wb.pickRows();
    await input.press('Escape');
    return rows.join('\n');
  }

  async function contextMenu(selector: string, text = ''): Promise<string> {
    await wb.page.locator(selector, { hasText: text }).first().click({ button: 'right' });
    const items = wb.page.locator('.monaco-menu .action-label');
    let seen = '';
    await poll(
      async () => (seen = (await items.allInnerTexts()).join('\n')) !== '',
      10_000,
      () => 'no menu opens',
    );
    await wb.page.keyboard.press('Escape');
    await items.first().waitFor({ state: 'hidden' });
    return seen;
  }

  it('are hidden from the palette without an editor', async () => {
    assert.doesNotMatch(await palette('Triage'), /Ollama Intern: Triage/);
    assert.doesNotMatch(await palette('Ask About Files'), /Ollama Intern: Ask/);
    assert.doesNotMatch(await palette('Summarize Files'), /Ollama Intern: Summarize Files/);
  });

  it('are in the palette with a file, those for a selection with one', async () => {
    await wb.openFile('server.log');
    assert.match(await palette('Triage Log File'), /Ollama Intern: Triage Log File/);
    assert.match(await palette('Ask About Files'), /Ollama Intern: Ask About Files/);
    assert.match(await palette('Summarize Files'), /Ollama Intern: Summarize Files/);
    assert.doesNotMatch(await palette('Classify'), /Ollama Intern: Classify/);
    await selectLines(wb, 1, 1);
    assert.match(await palette('Classify'), /Ollama Intern: Classify Selection/);
    assert.doesNotMatch(await palette('Triage Terminal'), /Triage Terminal/);
  });

  it('are in the menu of the explorer, for logs alone those that are about logs', async () => {
    const row = '.explorer-viewlet .monaco-list-row';
    const ofLog = await contextMenu(row, 'server.log');
    assert.match(ofLog, /Ask About Files/);
    assert.match(ofLog, /Summarize Files/);
    assert.match(ofLog, /Triage Log File/);
    const ofFolder = await contextMenu(row, 'src');
    assert.match(ofFolder, /Ask About Files/);
    assert.match(ofFolder, /Summarize Files/);
    assert.doesNotMatch(ofFolder, /Triage/);
  });

  // The editor tells that menu nothing of the selection: its own Copy is always there too.
  it('are in the menu of a terminal, and then in the palette', async () => {
    await wb.runCommand('Terminal: Create New Terminal');
    assert.match(await palette('Triage Terminal'), /Ollama Intern: Triage Terminal Selection/);
    await wb.page.locator('.terminal .xterm-screen').first().waitFor({ state: 'visible' });
    assert.match(await contextMenu('.terminal .xterm-screen'), /Triage Terminal Selection/);
  });
});
