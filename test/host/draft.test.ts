import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { COMMANDS, SCHEMES } from '../../src/host/ids';
import { ComputedEngine } from '../support/ollama/computed';
import type { EnginePiece, EngineRequest, EngineResult } from '../support/ollama/engine';
import { eventually, Stage } from './support';

const CODE = `export function double(n: number): number {
  return n + n;
}

export const two = 2;
`;

describe('drafts', () => {
  let stage: Stage;
  let editor: vscode.TextEditor;

  beforeEach(async () => {
    stage = await Stage.open();
    editor = await stage.file('double.ts', CODE);
    editor.selection = new vscode.Selection(0, 0, 3, 0);
    stage.typed = 'Check that n is finite';
  });

  afterEach(() => stage.dispose());

  const tab = () => {
    const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
    return input instanceof vscode.TabInputTextDiff && input.modified.scheme === SCHEMES.draft
      ? input
      : undefined;
  };
  const draftText = () =>
    vscode.workspace.textDocuments.find((d) => d.uri.scheme === SCHEMES.draft)?.getText() ?? '';

  async function write(): Promise<void> {
    await vscode.commands.executeCommand(COMMANDS.draftFromSelection);
    await eventually(() => stage.shown.some((s) => s.text.startsWith('Draft ready')), 'the draft');
    await eventually(
      () => draftText() !== CODE && draftText().endsWith('export const two = 2;\n'),
      'the preview',
    );
  }

  it('are shown against the file, which does not change', async () => {
    await write();
    assert.ok(tab(), 'a difference is open');
    assert.equal(editor.document.getText(), CODE);
    assert.equal(editor.document.isDirty, false);
    assert.deepEqual(stage.shown[0]?.buttons, ['Accept', 'Discard', 'Try Again']);
    assert.match(stage.shown[0]?.text ?? '', /workhorse · local · hermes3:8b/);
    const body = JSON.stringify(stage.server.requests.find((r) => r.path === '/api/chat')?.body);
    assert.match(body, /Check that n is finite/);
  });

  it('change the file when accepted, and only the selection', async () => {
    await write();
    const proposed = draftText();
    await vscode.commands.executeCommand(COMMANDS.acceptDraft);
    assert.equal(editor.document.getText(), proposed);
    assert.ok(proposed.endsWith('\nexport const two = 2;\n'));
    assert.equal(tab(), undefined, 'the preview is closed');
    await vscode.commands.executeCommand('undo');
    assert.equal(editor.document.getText(), CODE, 'one undo takes it back');
  });

  it('leave the file alone when discarded', async () => {
    await write();
    await vscode.commands.executeCommand(COMMANDS.discardDraft);
    assert.equal(editor.document.getText(), CODE);
    assert.equal(tab(), undefined);
  });

  it('can be tried again with another instruction', async () => {
    await write();
    stage.typed = 'Rename it to twice';
    await vscode.commands.executeCommand(COMMANDS.retryDraft);
    await eventually(() => stage.shown.length === 2, 'the second draft');
    const bodies = stage.server.requests
      .filter((r) => r.path === '/api/chat')
      .map((r) => JSON.stringify(r.body));
    assert.equal(bodies.length, 2);
    assert.match(bodies[1] ?? '', /Rename it to twice/);
  });

  it('follow their text when the file changed elsewhere', async () => {
    await write();
    await change((edit) =>
      edit.insert(editor.document.uri, new vscode.Position(0, 0), '// first line\n'),
    );
    await vscode.commands.executeCommand(COMMANDS.acceptDraft);
    assert.match(editor.document.getText(), /^\/\/ first line\n/);
    assert.ok(!editor.document.getText().includes('return n + n'));
  });

  it('are refused when the text they replace has changed, and can be copied', async () => {
    await write();
    await change((edit) =>
      edit.replace(editor.document.uri, new vscode.Range(1, 0, 1, 15), '  return 2 * n;'),
    );
    const before = editor.document.getText();
    stage.answer = ({ buttons }) => buttons.find((b) => b === 'Copy Draft');
    await vscode.commands.executeCommand(COMMANDS.acceptDraft);
    assert.equal(editor.document.getText(), before);
    assert.match(stage.shown.at(-1)?.text ?? '', /has changed where the draft belongs/);
    assert.ok(tab(), 'the preview stays open');
    assert.ok((await vscode.env.clipboard.readText()).length > 0);
  });

  it('of a file that was deleted meanwhile can still be copied', async () => {
    await write();
    await vscode.env.clipboard.writeText('');
    stage.answer = ({ buttons }) => buttons.find((b) => b === 'Copy Draft');
    const { openTextDocument } = vscode.workspace;
    const workspace = vscode.workspace as unknown as Record<string, unknown>;
    // A real one may be deleted before this, and its document lives on as long as the preview shows it.
    workspace['openTextDocument'] = async (given: vscode.Uri) =>
      given.scheme === 'file' ? Promise.reject(new Error('gone')) : openTextDocument(given);
    try {
      assert.equal(await vscode.commands.executeCommand(COMMANDS.acceptDraft), false);
    } finally {
      workspace['openTextDocument'] = openTextDocument;
    }
    assert.match(stage.shown.at(-1)?.text ?? '', /^double\.ts cannot be read any more\. Nothing/);
    assert.ok((await vscode.env.clipboard.readText()).length > 0);
  });

  it('that fail leave nothing behind', async () => {
    await stage.server.stop();
    await vscode.commands.executeCommand(COMMANDS.draftFromSelection);
    await eventually(() => stage.shown.length > 0 && !tab(), 'the message, and the preview closed');
    assert.match(stage.shown[0]?.text ?? '', /cannot be reached/);
    assert.equal(editor.document.getText(), CODE);
    await stage.server.start();
  });

  it('are accepted once, however often they are asked to be', async () => {
    await write();
    const proposed = draftText();
    await Promise.all([
      vscode.commands.executeCommand(COMMANDS.acceptDraft),
      vscode.commands.executeCommand(COMMANDS.acceptDraft),
    ]);
    assert.equal(editor.document.getText(), proposed);
    assert.equal(stage.shown.length, 1, 'the second one complains');
  });

  it('that are tried again are not touched by the message of the try before', async () => {
    let dismiss!: () => void;
    const window = vscode.window as unknown as Record<string, unknown>;
    const original = window['showErrorMessage'];
    window['showErrorMessage'] = () => new Promise<void>((resolve) => (dismiss = resolve));
    try {
      stage.server.faults.next({
        match: (r) => r.path === '/api/chat',
        reply: { status: 500, body: {} },
      });
      const started = vscode.commands.executeCommand(COMMANDS.draftFromSelection);
      await eventually(() => dismiss as unknown, 'the message');
      await vscode.commands.executeCommand(COMMANDS.retryDraft);
      await eventually(() => stage.shown.some((s) => s.text.startsWith('Draft ready')), 'a draft');
      dismiss();
      await started;
      assert.ok(tab(), 'the new draft is gone');
    } finally {
      window['showErrorMessage'] = original;
    }
  });

  it('whose preview is closed while they are written are no longer written', async () => {
    stage.server.faults.next({ match: (r) => r.path === '/api/chat', hang: true });
    const started = vscode.commands.executeCommand(COMMANDS.draftFromSelection);
    await eventually(() => tab() && stage.api.intern.running.length === 1, 'the call');
    await vscode.commands.executeCommand('workbench.action.closeActiveEditor');
    await eventually(() => stage.api.intern.running.length === 0, 'the end of the call');
    await started;
    assert.equal(stage.shown.length, 0);
    assert.equal(editor.document.getText(), CODE);
  });

  it('go into a file with CRLF as its lines', async () => {
    editor = await stage.file('crlf.ts', CODE.replaceAll('\n', '\r\n'));
    editor.selection = new vscode.Selection(0, 0, 3, 0);
    await vscode.commands.executeCommand(COMMANDS.draftFromSelection);
    await eventually(() => stage.shown.some((s) => s.text.startsWith('Draft ready')), 'the draft');
    await vscode.commands.executeCommand(COMMANDS.acceptDraft);
    const text = editor.document.getText();
    assert.ok(!text.includes('return n + n'));
    assert.doesNotMatch(text, /[^\r]\n/);
    assert.ok(text.endsWith('\r\nexport const two = 2;\r\n'));
  });

  it('without an instruction do nothing', async () => {
    stage.typed = undefined;
    await vscode.commands.executeCommand(COMMANDS.draftFromSelection);
    assert.equal(tab(), undefined);
    assert.equal(stage.server.requests.length, 0);
  });

  it('at a place without a selection insert there', async () => {
    editor.selection = new vscode.Selection(3, 0, 3, 0);
    await vscode.commands.executeCommand(COMMANDS.draftFromSelection);
    await eventually(() => stage.shown.some((s) => s.text.startsWith('Draft ready')), 'the draft');
    await vscode.commands.executeCommand(COMMANDS.acceptDraft);
    const text = editor.document.getText();
    assert.ok(
      text.startsWith('export function double') && text.endsWith('export const two = 2;\n'),
    );
    assert.ok(text.length > CODE.length);
  });

  async function change(build: (edit: vscode.WorkspaceEdit) => void): Promise<void> {
    const edit = new vscode.WorkspaceEdit();
    build(edit);
    assert.ok(await vscode.workspace.applyEdit(edit));
  }
});

/** Writes this, whatever it is asked. */
class Writer extends ComputedEngine {
  constructor(private readonly text: string) {
    super();
  }

  override async generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult> {
    for (const text of this.text.split(/(?<=\n)/)) await onPiece({ kind: 'text', text });
    return { promptTokens: await this.countPrompt(request), outputTokens: 1, doneReason: 'stop' };
  }
}

describe('the syntax of drafts', () => {
  let stage: Stage;

  afterEach(async () => {
    await stage.set({ 'draft.checkSyntax': undefined });
    await stage.dispose();
  });

  /** A draft of the whole file. */
  async function drafted(
    name: string,
    content: string,
    draft: string,
    settings: Record<string, unknown> = {},
  ): Promise<vscode.Uri> {
    stage = await Stage.open({ engine: new Writer(draft) });
    await stage.set(settings);
    const { document } = await stage.file(name, content, true);
    stage.typed = 'Write it anew';
    await vscode.commands.executeCommand(COMMANDS.draftFromSelection);
    await eventually(() => stage.shown.length > 0, 'the draft');
    assert.match(stage.shown[0]?.text ?? '', /^Draft ready/);
    return document.uri;
  }
  const warning = () => stage.shown.find(({ kind }) => kind === 'warning');
  const isShown = () => eventually(warning, () => `a warning: ${JSON.stringify(seen())}`, 15_000);
  const preview = () =>
    vscode.workspace.textDocuments.findLast((d) => d.uri.scheme === SCHEMES.draft)?.uri;
  const errorsOf = (uri: vscode.Uri | undefined) =>
    uri ? vscode.languages.getDiagnostics(uri).map(({ source, message }) => [source, message]) : [];
  const seen = () => errorsOf(preview());

  const broken: [language: string, name: string, content: string, draft: string, RegExp][] = [
    [
      'TypeScript',
      'a.ts',
      CODE,
      'export function half(n: number {\n  return n / 2;\n}\n',
      /line 1|Line 1/,
    ],
    [
      'JavaScript',
      'a.js',
      'const a = 1;\n',
      'const a = (1;\n',
      /Line 1: ',' expected|Line 1: '\)'/,
    ],
    ['JSON', 'a.json', '{ "a": 1 }\n', '{\n  "a": 1,,\n  "b": 2\n}\n', /Line 2: Property expected/],
    [
      'HTML',
      'a.html',
      '<script>var a = 1;</script>\n',
      '<script>var a = (1;</script>\n',
      /Line 1: /,
    ],
    ['CSS', 'a.css', 'a { color: red; }\n', 'a { color: ; }\n', /Line 1: property value expected/],
  ];
  for (const [language, name, content, draft, place] of broken) {
    it(`is looked at in ${language}, and what is new is told`, async () => {
      const uri = await drafted(name, content, draft);
      const { text, buttons } = await isShown();
      assert.match(text, /^The draft has (an error|\d+ errors) that a\.\w+ does not have\. /);
      assert.match(text, place);
      assert.deepEqual(buttons, ['Try Again']);
      await vscode.commands.executeCommand(COMMANDS.acceptDraft);
      const document = await vscode.workspace.openTextDocument(uri);
      assert.equal(document.getText(), draft, 'it can be accepted all the same');
    });
  }

  it('is not complained of where the file has the same errors', async () => {
    await drafted('b.ts', 'const a = ;\nconst b = 2;\n', 'const a = ;\nconst b = 3;\n');
    await eventually(() => seen().length > 0, 'the errors of the preview', 15_000);
    await quiet();
    assert.equal(warning(), undefined);
  });

  it('is not complained of where it is right, though a preview has no imports', async () => {
    await drafted('c.ts', CODE, "import { gone } from './gone';\nexport const c: number = gone;\n");
    await quiet();
    assert.equal(warning(), undefined);
  });

  it('is not looked at when nobody wants that', async () => {
    const settings = { 'draft.checkSyntax': false };
    await drafted('d.json', '{ "a": 1 }\n', '{ "a": 1,, }\n', settings);
    await eventually(() => seen().length > 0, 'the errors of the preview', 15_000);
    await quiet();
    assert.equal(warning(), undefined);
  });

  it('is not told of a draft that was accepted before anybody looked', async () => {
    await drafted('e.json', '{ "a": 1 }\n', '{ "a": 1,, }\n');
    await vscode.commands.executeCommand(COMMANDS.acceptDraft);
    await quiet();
    assert.equal(warning(), undefined);
  });

  /** Longer than the check waits once it has been told something; the editor has no event for silence. */
  const quiet = () => new Promise((resolve) => setTimeout(resolve, 2_000));
});
