import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { COMMANDS, SCHEMES } from '../../src/host/ids';
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
