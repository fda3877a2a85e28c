import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { COMMANDS } from '../../src/host/ids';
import { eventually, Stage } from './support';

const NOTE = 'The limiter admits two calls at once. The others wait in line until one ends.\n';

describe('Summarize Files', () => {
  let stage: Stage;
  let folder: string;

  beforeEach(async () => {
    const root = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
    assert.ok(root);
    folder = await mkdtemp(join(root, 'summarize-'));
  });

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
    await stage.dispose();
  });

  const at = (...names: string[]) => vscode.Uri.file(join(folder, ...names));
  const write = (name: string, content: string | Uint8Array) =>
    writeFile(join(folder, name), content);
  const summarize = (...uris: vscode.Uri[]) =>
    vscode.commands.executeCommand(COMMANDS.summarizeFiles, uris[0], uris);
  const prompts = () => stage.server.requests.filter(({ path }) => path === '/api/chat');
  const sent = () => JSON.stringify(prompts().map(({ body }) => body as unknown));
  const answer = async (): Promise<string> => {
    const text = () => stage.answerDocument().getText();
    await eventually(
      () => /^deep · local/m.test(text()),
      () => `an answer in: ${text()} ${JSON.stringify(stage.shown)}`,
      30_000,
    );
    return text();
  };

  it('reads a folder in one prompt when it fits, and says what it read and what it did not', async () => {
    stage = await Stage.open();
    await mkdir(join(folder, 'src'));
    await write('README.md', NOTE);
    await write('src/limiter.ts', 'export const limit = 2;\n');
    await write('picture.png', Buffer.from([0x89, 0x50, 0, 0]));
    await write('old.txt', Buffer.from('Gr\xfc\xdfe\n', 'latin1'));
    await write('.env', 'KEY=the secret of the house\n');
    await summarize(at());
    const text = await answer();
    assert.equal(prompts().length, 1);
    assert.match(sent(), /export const limit/);
    assert.match(sent(), /Grüße/);
    assert.doesNotMatch(sent(), /secret of the house/);
    assert.match(text, /\*\*Read:\*\* .*README\.md, .*old\.txt, .*limiter\.ts/);
    assert.match(text, /Left out \(not text\): .*picture\.png\./);
    assert.match(text, /Left out \(hidden or installed\): .*\.env\./);
    assert.match(text, /Not UTF-8, and read as Windows-1252: .*old\.txt\./);
    assert.match(stage.answerDocument().fileName, /Summary of 3 files/);
    assert.equal((await stage.log())[0]?.['tool'], 'summarize_deep');
  });

  it('reads the files that are marked, and no others', async () => {
    stage = await Stage.open();
    for (const name of ['a.md', 'b.md', 'c.md']) await write(name, `${name}: ${NOTE}`);
    await summarize(at('a.md'), at('c.md'));
    await answer();
    assert.match(sent(), /a\.md: The limiter/);
    assert.match(sent(), /c\.md: The limiter/);
    assert.doesNotMatch(sent(), /b\.md/);
  });

  it('reads all of 500 files in parts, and names the one that is too many', async () => {
    stage = await Stage.open();
    const name = (i: number) => `${1_000 + i}.md`;
    for (let i = 0; i < 501; i++) await write(name(i), `File ${i} of many. ${NOTE.repeat(3)}`);
    await summarize(at());
    const text = await answer();
    assert.equal(new Set(sent().match(/File \d+ of many/g)).size, 500);
    assert.match(text, /1000\.md.* and 470 more files$/m);
    assert.match(text, /Left out \(more than 500 files\): .*1500\.md\.$/m);
    assert.doesNotMatch(text, /Not read/);
  });

  it('tells how far it is, and stops at once when it is told to', async () => {
    stage = await Stage.open({ tokenMs: 20 });
    for (let i = 0; i < 20; i++) await write(`${i}.md`, NOTE.repeat(200));
    const running = summarize(at());
    await eventually(() => {
      const phase = stage.api.intern.running[0]?.phase;
      return phase?.phase === 'steps' && phase.done >= 2;
    }, 'two parts');
    await eventually(
      () => /^part \d+ of \d+$/m.test(stage.answerDocument().getText()),
      'the progress in the document',
    );
    await vscode.commands.executeCommand(COMMANDS.stopCall);
    await running;
    await eventually(() => stage.answerDocument().getText().includes('Stopped by you'), 'the note');
    await stage.server.whenIdle();
    assert.equal(stage.server.stats.active, 0);
    assert.deepEqual(stage.shown, []);
  });

  it('says so when there is nothing to read', async () => {
    stage = await Stage.open();
    await write('picture.png', Buffer.from([0x89, 0x50, 0, 0]));
    await summarize(at('picture.png'));
    const message = await eventually(() => stage.shown.at(-1), 'a message');
    assert.match(message.text, /nothing to read\. Left out \(not text\): .*picture\.png/);
    assert.equal(prompts().length, 0);
  });
});
