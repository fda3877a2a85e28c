import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { type OllamaServer, startOllama } from '../support/ollama/server';
import { cache } from '../support/setup.mjs';
import { keepEvidence, openStage, poll, selectLines, showTab, type Stage } from './support';

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

  const palette = (words: string) => searchPalette(wb, words);

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
    assert.doesNotMatch(await palette('Classify'), /Ollama Intern: Classify Selection/);
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

  it('are in the menu of a terminal in which text is selected, and then in the palette', async () => {
    await wb.runCommand('Terminal: Create New Terminal');
    assert.match(await palette('Triage Terminal'), /Ollama Intern: Triage Terminal Selection/);
    const screen = wb.page.locator('.terminal .xterm-screen').first();
    await screen.waitFor({ state: 'visible' });
    assert.doesNotMatch(await contextMenu('.terminal .xterm-screen'), /Triage Terminal/);
    await screen.click();
    await wb.page.keyboard.type('echo what to triage\n');
    await wb.runCommand('Terminal: Select All');
    await poll(
      async () => /Triage Terminal/.test(await contextMenu('.terminal .xterm-screen')),
      10_000,
      () => 'the menu does not have it',
    );
    await wb.runCommand('Terminal: Kill All Terminals');
  });

  it('are all listed by one chord, and those of Git with a repository', async () => {
    await wb.openFile('server.log');
    assert.doesNotMatch(await palette('Write Commit'), /Ollama Intern: Write Commit/);
    execFileSync('git', ['init'], { cwd: wb.folder, stdio: 'pipe' });
    await poll(
      async () => /Ollama Intern: Write Commit Message/.test(await palette('Write Commit')),
      30_000,
      () => 'Git does not find the repository',
    );
    await wb.openFile('server.log');
    await wb.page.keyboard.press('Control+k');
    await wb.page.keyboard.press('j');
    await wb.page.locator('.quick-input-widget').waitFor({ state: 'visible' });
    await wb.screenshot(path.join(cache, 'screenshots', 'run-job.png'));
    assert.match((await wb.pickRows()).join('\n'), /Triage Log File/);
    await wb.page.keyboard.type('Draft');
    const drafts = (await wb.pickRows()).join('\n');
    assert.match(drafts, /Draft from Selection/);
    assert.doesNotMatch(drafts, /Accept Draft/);
    await wb.page.keyboard.press('Control+a');
    await wb.page.keyboard.type('Write Commit');
    assert.match((await wb.pickRows()).join('\n'), /Write Commit Message/);
    await wb.page.keyboard.press('Escape');
  });

  it('are in the menu of what is changed', async () => {
    await wb.runCommand('Source Control: Focus on Changes View');
    assert.match(await contextMenu('.scm-view .monaco-list-row', 'Changes'), /Review Changes/);
  });

  it('that are about a draft or an answer are there with one', async () => {
    assert.doesNotMatch(await palette('Draft'), /Accept Draft/);
    assert.doesNotMatch(await palette('Copy Answer'), /Ollama Intern: Copy Answer/);
    await wb.openFile('a.ts');
    await selectLines(wb, 1, 1);
    await wb.runCommand('Ollama Intern: Draft from Selection');
    await wb.enter('Write it again');
    await wb.waitForNotification(/Draft ready/, 60_000);
    assert.match(await palette('Accept Draft'), /Ollama Intern: Accept Draft/);
    await wb.runCommand('Ollama Intern: Discard Draft');
    const draft = wb.page.locator('.tabs-container .tab', { hasText: 'a.ts (draft)' });
    await draft.waitFor({ state: 'detached' });
    await wb.runCommand('Ollama Intern: Summarize File');
    await showTab(wb, 'Summary of a.ts');
    await poll(
      async () => /Ollama Intern: Copy Answer/.test(await palette('Copy Answer')),
      10_000,
      () => 'the palette does not have Copy Answer',
    );
  });
});

describe('a folder that is not trusted', () => {
  let server: OllamaServer;
  let wb: Stage;

  before(async () => {
    server = await startOllama();
    wb = await openStage({
      files: { 'note.md': 'A note.\n' },
      env: { OLLAMA_HOST: server.url },
      settings: {
        'chat.disableAIFeatures': true,
        'security.workspace.trust.startupPrompt': 'never',
        'security.workspace.trust.banner': 'never',
      },
      workspaceTrust: true,
    });
    await wb.statusBarItem(/Restricted Mode/);
    await wb.statusBarItem('ollamaIntern.status');
  });

  afterEach(function () {
    return keepEvidence(this, wb);
  });

  after(async () => {
    await wb.close();
    await server.close();
  });

  it('has the jobs that read, and nothing of Git or that starts a program', async () => {
    execFileSync('git', ['init'], { cwd: wb.folder, stdio: 'pipe' });
    await wb.openFile('note.md');
    assert.match(await searchPalette(wb, 'Summarize File'), /Ollama Intern: Summarize File/);
    assert.match(await searchPalette(wb, 'Ask About'), /Ollama Intern: Ask About Files/);
    for (const absent of ['Write Commit', 'Review Changes', 'Change Brief', 'Start Ollama']) {
      const found = await searchPalette(wb, absent);
      assert.doesNotMatch(found, new RegExp(`Ollama Intern: ${absent}`), absent);
    }
  });

  it('gets no terminal from the button of an error', async () => {
    await server.stop();
    await wb.runCommand('Ollama Intern: Summarize File');
    await wb.clickNotification(/Ollama cannot be reached/, 'Start Ollama');
    const { buttons } = await wb.waitForNotification(/Programs are not started in a folder/);
    assert.deepEqual(buttons, ['Manage Workspace Trust']);
    assert.equal(await wb.page.locator('.terminal .xterm-screen').count(), 0);
  });
});

/** Commands that the palette finds by these words. */
async function searchPalette(wb: Stage, words: string): Promise<string> {
  await wb.page.keyboard.press('F1');
  const input = wb.page.locator('.quick-input-widget input.input').first();
  await input.waitFor({ state: 'visible' });
  await input.fill(`>Ollama Intern: ${words}`);
  const rows = await wb.pickRows();
  await input.press('Escape');
  return rows.join('\n');
}
