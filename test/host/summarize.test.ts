import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { COMMANDS } from '../../src/host/ids';
import { defineModel } from '../support/ollama/server';
import { choosing } from './repository';
import { eventually, selectAll, Stage } from './support';

const CODE = `/** Admits two calls at once; the others wait in line. */
export class Limiter {
  /** Waits for a permit. Waiting can be cancelled. */
  acquire(): Promise<void> {
    return Promise.resolve();
  }
}
`;

describe('summaries', () => {
  let stage: Stage;

  const start = async (options: Parameters<typeof Stage.open>[0] = {}): Promise<Stage> =>
    (stage = await Stage.open(options));
  const summarizeSelection = () => vscode.commands.executeCommand(COMMANDS.summarizeSelection);
  const summarizeFile = (uri?: vscode.Uri) =>
    vscode.commands.executeCommand(COMMANDS.summarizeFile, uri);
  const lastMessage = () => eventually(() => stage.shown.at(-1), 'a message');

  afterEach(() => stage.dispose());

  it('of a selection stream into a read-only document beside the editor, with the envelope line', async () => {
    await start();
    const editor = await stage.file('limiter.ts', CODE, true);
    await summarizeSelection();
    const document = stage.answerDocument();
    const line =
      /instant · local · hermes3:8b · [\d,]+→[\d,]+ tokens · [\d,.]+ tok\/s · 100 % in VRAM/;
    await eventually(
      () => line.test(document.getText()),
      () => `the envelope line in: ${document.getText()} ${JSON.stringify(stage.shown)}`,
    );
    assert.match(document.getText(), /permit|calls|line/i);
    assert.equal(document.languageId, 'ollama-intern-answer');
    assert.equal(vscode.window.activeTextEditor?.document, editor.document, 'the focus stayed');
    const shown = vscode.window.visibleTextEditors.find((e) => e.document === document);
    assert.ok(shown && shown.viewColumn !== editor.viewColumn, 'it stands beside the editor');
    assert.equal(editor.document.isDirty, false);
    const [entry] = await stage.log();
    assert.equal(entry?.['tool'], 'summarize_fast');
    assert.deepEqual(stage.shown, []);
  });

  it('of a file use the deep tier and its unsaved text', async () => {
    await start();
    const editor = await stage.file('limiter.ts', CODE);
    await editor.edit((edit) =>
      edit.insert(new vscode.Position(0, 0), '// The zebra rule is new here.\n'),
    );
    await summarizeFile();
    const request = stage.server.requests.find((r) => r.path === '/api/chat');
    assert.match(JSON.stringify(request?.body), /zebra rule/);
    await eventually(
      () => /^deep · local/m.test(stage.answerDocument().getText()),
      'the envelope line',
    );
  });

  it('of an untitled file work', async () => {
    await start();
    const document = await vscode.workspace.openTextDocument({
      content: CODE,
      language: 'typescript',
    });
    await vscode.window.showTextDocument(document);
    await summarizeFile();
    await eventually(
      () => /^deep · local/m.test(stage.answerDocument().getText()),
      'the envelope line',
    );
  });

  it('of a cell of a notebook do not pass for one of the notebook', async () => {
    await start();
    const path = join(stage.folder, 'plan.ipynb');
    const cell = (text: string) => ({ cell_type: 'markdown', metadata: {}, source: [text] });
    const cells = [cell('The queue is fair.'), cell('The limiter admits two calls.')];
    await writeFile(path, JSON.stringify({ cells, metadata: {}, nbformat: 4, nbformat_minor: 5 }));
    const notebook = await vscode.workspace.openNotebookDocument(vscode.Uri.file(path));
    await summarizeFile(notebook.cellAt(1).document.uri);
    const request = stage.server.requests.find((r) => r.path === '/api/chat');
    assert.match(JSON.stringify(request?.body), /The limiter admits/);
    assert.doesNotMatch(JSON.stringify(request?.body), /queue is fair/);
    assert.equal(stage.answerDocument().uri.path, '/Summary of plan.ipynb, cell 2');
  });

  it('join several selections', async () => {
    await start();
    const editor = await stage.file('limiter.ts', CODE);
    editor.selections = [new vscode.Selection(2, 0, 2, 50), new vscode.Selection(0, 0, 0, 40)];
    await summarizeSelection();
    const body = JSON.stringify(stage.server.requests.find((r) => r.path === '/api/chat')?.body);
    assert.ok(
      body.indexOf('Admits two') < body.indexOf('Waits for a permit'),
      'in the order of the file',
    );
  });

  it('without a selection say what to do', async () => {
    await start();
    await stage.file('limiter.ts', CODE);
    await summarizeSelection();
    const message = await lastMessage();
    assert.equal(message.text, 'No text is selected. Select the text in limiter.ts first.');
    assert.deepEqual(message.buttons, ['Summarize File']);
    assert.equal(stage.server.requests.length, 0);
  });

  it('without an editor say what to do', async () => {
    await start();
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
    await summarizeSelection();
    const message = await lastMessage();
    assert.match(message.text, /No text editor is open/);
    assert.deepEqual(message.buttons, ['Open File']);
  });

  it('of an empty file say that it is empty', async () => {
    await start();
    await stage.file('nothing.txt', '\n\n');
    await summarizeFile();
    const message = await lastMessage();
    assert.match(message.text, /nothing\.txt is empty/);
    assert.deepEqual(message.buttons, ['Open File']);
  });

  it('of a binary file say that it is no text', async () => {
    await start();
    const path = join(stage.folder, 'picture.bin');
    await writeFile(
      path,
      Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 13, 0, 1, 2, 3, 255, 254, 0, 0]),
    );
    await summarizeFile(vscode.Uri.file(path));
    const message = await lastMessage();
    assert.match(message.text, /picture\.bin is not a text file/);
    assert.deepEqual(message.buttons, ['Open File']);
    assert.equal(stage.server.requests.length, 0);
  });

  it('of a file that is gone say so', async () => {
    await start();
    await summarizeFile(vscode.Uri.file(join(stage.folder, 'gone.ts')));
    assert.match((await lastMessage()).text, /gone\.ts cannot be read/);
  });

  it('of a file longer than the window read all of it, in parts', async () => {
    await start();
    const lines = Array.from(
      { length: 3_000 },
      (_, i) => `Step ${i} waits for its turn in line.\n`,
    );
    await stage.file('long.md', lines.join(''));
    await summarizeFile();
    await eventually(
      () => /^deep · local/m.test(stage.answerDocument().getText()),
      () => `the envelope line in: ${stage.answerDocument().getText()}`,
    );
    const sent = JSON.stringify(stage.server.requests.map(({ body }) => body as unknown));
    const read = new Set(sent.match(/Step \d+ waits/g));
    assert.equal(read.size, 3_000);
    assert.deepEqual(stage.shown, []);
  });

  it('of a 2 MB line without an end read all of it, in parts', async function () {
    this.timeout(120_000);
    await start();
    await stage.file('line.json', `[${'"the limiter admits two calls", '.repeat(62_500)}"end"]`);
    await summarizeFile();
    await eventually(
      () => /^deep · local/m.test(stage.answerDocument().getText()),
      () => `the envelope line in: ${stage.answerDocument().getText()}`,
      100_000,
    );
    assert.ok(stage.server.requests.filter((r) => r.path === '/api/chat').length > 30);
    assert.doesNotMatch(stage.answerDocument().getText(), /Not read|shortened/);
    assert.deepEqual(stage.shown, []);
  });

  it('of a file whose bytes are not of its encoding say so', async () => {
    await start();
    await stage.file(
      'old.txt',
      Buffer.from('Gr\xfc\xdfe an alle, die in der Schlange warten.', 'latin1'),
    );
    await summarizeFile();
    await eventually(
      () => /^Characters of old\.txt that are not utf8/m.test(stage.answerDocument().getText()),
      () => `the note in: ${stage.answerDocument().getText()}`,
    );
  });

  it('of a 5 MB selection are refused before anything is sent, and offer the first part', async () => {
    await start();
    const text = 'The server took 12 ms to answer request 4711.\n'.repeat(112_000);
    await stage.file('huge.log', text, true);
    stage.answer = ({ buttons }) => buttons.find((b) => b === 'Summarize the First Part');
    await summarizeSelection();
    const message = await lastMessage();
    assert.match(message.text, /too long for hermes3:8b/);
    assert.ok(message.buttons.includes('Open Setting'));
    const document = stage.answerDocument();
    await eventually(
      () => document.getText().includes('input shortened'),
      'the shortened summary',
      20_000,
    );
    assert.match(document.getText(), /Only the first part of the text was read/);
  });

  it('two at once both arrive, the second after the first', async () => {
    await start({ tokenMs: 5 });
    await stage.set({ maxConcurrent: 1 });
    await stage.file('a.ts', CODE, true);
    const first = summarizeSelection();
    await stage.server.waitForRequest((r) => r.path === '/api/chat');
    selectAll(vscode.window.activeTextEditor!);
    const second = summarizeSelection();
    await Promise.all([first, second]);
    const calls = (await stage.log()).map((l) => l['envelope'] as { queued_ms: number });
    assert.equal(calls.length, 2);
    assert.ok((calls[1]?.queued_ms ?? 0) > 0);
    const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs);
    const answers = tabs.filter(({ label }) => label === 'Summary of a.ts, selection');
    assert.equal(answers.length, 2, 'each has a document of its own');
  });

  it('with Ollama not running offer to start it, and Try Again works once it runs', async () => {
    await start();
    await stage.server.stop();
    await stage.file('limiter.ts', CODE, true);
    let restarted: Promise<void> | undefined;
    stage.answer = ({ buttons }) => {
      restarted = stage.server.start();
      return buttons.find((b) => b === 'Try Again');
    };
    await summarizeSelection();
    const message = await lastMessage();
    assert.match(
      message.text,
      /Ollama cannot be reached at 127\.0\.0\.1:\d+: nothing is listening there/,
    );
    assert.deepEqual(message.buttons, ['Start Ollama', 'Try Again', 'Open Setting']);
    await restarted;
    const document = stage.answerDocument();
    await eventually(
      () => /^instant · local/m.test(document.getText()),
      'the answer of the second try',
    );
    assert.equal(stage.shown.length, 1);
  });

  it('with no models pulled offer the pull, then answer', async () => {
    await start({
      models: [],
      pullable: [defineModel({ name: 'hermes3:8b', parameterSize: '8.0B' })],
    });
    await stage.file('limiter.ts', CODE, true);
    stage.answer = ({ buttons }) => buttons.find((b) => b === 'Pull hermes3:8b');
    await summarizeSelection();
    assert.match((await lastMessage()).text, /no models are pulled|hermes3:8b is ready/);
    await eventually(
      () => /^instant · local/m.test(stage.answerDocument().getText()),
      'the answer',
    );
    assert.deepEqual(
      stage.shown.map((s) => s.kind),
      ['error', 'information'],
    );
  });

  it('with the model missing name those that are there', async () => {
    await start();
    await stage.set({ 'tiers.instant': 'nope:3b' });
    await stage.file('limiter.ts', CODE, true);
    await summarizeSelection();
    const message = await lastMessage();
    assert.match(message.text, /nope:3b is not installed/);
    assert.match(message.text, /Installed: hermes3:8b/);
    assert.deepEqual(message.buttons, ['Pull nope:3b', 'Select Profile']);
  });

  it('can be stopped; the document keeps what came and says that it is incomplete', async () => {
    await start({ tokenMs: 50 });
    await stage.file('limiter.ts', CODE, true);
    const run = summarizeSelection();
    await stage.server.waitForRequest((r) => r.path === '/api/chat');
    await eventually(
      () => stage.api.intern.running[0]?.phase?.phase === 'writing',
      'the first token',
    );
    await vscode.commands.executeCommand(COMMANDS.stopCall);
    await run;
    await eventually(() => stage.answerDocument().getText().includes('Stopped by you'), 'the note');
    await stage.server.whenIdle();
    assert.equal(stage.server.stats.active, 0);
    assert.deepEqual(stage.shown, [], 'a cancel is no error');
  });

  it('can be run again with another model, which stays', async () => {
    await start();
    await stage.file('limiter.ts', CODE, true);
    await summarizeSelection();
    const { uri } = stage.answerDocument();
    const undo = choosing([/^qwen3:14b$/]);
    try {
      await vscode.commands.executeCommand(COMMANDS.retryAnswerWithModel, uri);
    } finally {
      undo();
    }
    await vscode.commands.executeCommand(COMMANDS.retryAnswer, uri);
    const models = stage.server.requests
      .filter((r) => r.path === '/api/chat')
      .map(({ body }) => (body as { model: string }).model);
    assert.deepEqual(models, ['hermes3:8b', 'qwen3:14b', 'qwen3:14b']);
    await eventually(() => stage.answerDocument().getText().includes('local · qwen3:14b'), 'it');
    const lines = (await stage.log()) as { envelope: { model_requested?: string } }[];
    assert.deepEqual(
      lines.map(({ envelope }) => envelope.model_requested),
      [undefined, 'local/qwen3:14b', 'local/qwen3:14b'],
    );
  });

  it('can be run again and copied', async () => {
    await start();
    await stage.file('limiter.ts', CODE, true);
    await summarizeSelection();
    const { uri } = stage.answerDocument();
    await vscode.commands.executeCommand(COMMANDS.retryAnswer, uri);
    assert.equal(stage.server.requests.filter((r) => r.path === '/api/chat').length, 2);
    await vscode.env.clipboard.writeText('');
    await vscode.commands.executeCommand(COMMANDS.copyAnswer, uri);
    const copied = await vscode.env.clipboard.readText();
    assert.ok(copied.length > 10 && !copied.includes('tok/s'));
  });
});
