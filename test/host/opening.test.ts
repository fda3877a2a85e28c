import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { cancelledError, type Intern, type RunOptions } from '../../src/core';
import { Answers } from '../../src/host/answers';
import { EXTENSION_ID } from '../../src/host/ids';
import { LogDocuments } from '../../src/host/log';
import { eventually, replacing } from './support';

type Provider = Answers | LogDocuments;

/**
 * An editor that is still opening a document, deaf to its changes meanwhile. What a real one misses depends on the
 * moment, and so this one stands in for it.
 */
describe('a document that changes while it is being opened', () => {
  let provider: Provider;
  let shown: string;
  let finishOpening: () => void;
  const undo: (() => void)[] = [];

  const replace = (...what: Parameters<typeof replacing>): void =>
    void undo.push(replacing(...what));

  const changed = (): Promise<void> =>
    new Promise((resolve) => provider.onDidChange(() => resolve()));

  // The extension has documents of its own to register, while it starts.
  before(() => vscode.extensions.getExtension(EXTENSION_ID)?.activate());

  beforeEach(() => {
    let isOpen = false;
    const read = async (uri: vscode.Uri): Promise<void> => {
      shown = await provider.provideTextDocumentContent(uri);
    };
    const opened = new Promise<void>((resolve) => {
      finishOpening = () => {
        isOpen = true;
        resolve();
      };
    });
    shown = '';
    replace(vscode.workspace, {
      registerTextDocumentContentProvider: (_scheme: string, given: Provider) => {
        provider = given;
        return given.onDidChange((uri) => void (isOpen && read(uri)));
      },
      openTextDocument: async (uri: vscode.Uri) => {
        await read(uri);
        const lineAt = () => ({ range: new vscode.Range(0, 0, 0, 0) });
        return { uri, lineCount: 1, lineAt };
      },
    });
    replace(vscode.languages, { setTextDocumentLanguage: () => undefined });
    replace(vscode.window, {
      showTextDocument: async (document: vscode.TextDocument) => {
        await opened;
        return { document, revealRange: () => undefined };
      },
      showQuickPick: async () => [],
    });
  });

  afterEach(() => {
    provider.dispose();
    for (const restore of undo.splice(0).reverse()) restore();
  });

  it('shows how far an answer is, though nothing more happens', async () => {
    let told!: RunOptions;
    let cancel!: () => void;
    const run = (_job: string, _input: unknown, options: RunOptions) => {
      told = options;
      return new Promise((_, reject) => (cancel = () => reject(cancelledError())));
    };
    const answers = new Answers({ run } as unknown as Intern);
    const request = { title: 'Summary', progress: 'Summarizing', task: 'Summarize' };
    const ended = answers.start({ ...request, job: 'summarize_fast', input: { text: 'One.' } });
    await eventually(() => shown.includes('starting'), 'the document');
    const heard = changed();
    told.onPhase?.({ phase: 'queued', position: 2 });
    await heard;
    assert.ok(!shown.includes('queued'), 'the editor is deaf');
    finishOpening();
    await eventually(
      () => shown.includes('queued, 2nd'),
      () => shown,
    );
    cancel();
    await ended;
  });

  it('shows the latest entry of a live log, though no other comes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'intern-opening-'));
    const logPath = join(folder, 'log.ndjson');
    const line = (tool: string) =>
      `${JSON.stringify({ kind: 'call', ts: '2026-01-01T00:00:00.000Z', tool })}\n`;
    await writeFile(logPath, line('draft'));
    const listen = () => new vscode.Disposable(() => undefined);
    const flush = () => Promise.resolve();
    const log = new LogDocuments({ config: { logPath }, listen, flush } as unknown as Intern);
    const ended = log.show(true);
    await eventually(() => shown.includes('draft'), 'the document');
    const heard = changed();
    await appendFile(logPath, line('extract'));
    await heard;
    assert.ok(!shown.includes('extract'), 'the editor is deaf');
    finishOpening();
    await ended;
    await eventually(
      () => shown.includes('extract'),
      () => shown,
    );
    await rm(folder, { recursive: true });
  });
});
